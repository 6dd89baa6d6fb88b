package host

import (
	"context"
	"errors"
	"sync"
)

// retirement is whether a host is still to connect its provider, or another host
// has taken its place.
type retirement struct {
	mu      sync.Mutex
	retired bool
	cancel  context.CancelFunc // of context
}

var errRetired = errors.New("another process has taken its place")

func (r *retirement) retire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
	if r.cancel != nil {
		r.cancel()
	}
}

// context ends with parent, or when the host retires.
func (r *retirement) context(parent context.Context) (context.Context, context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithCancel(parent)
	r.cancel = cancel
	if r.retired {
		cancel()
	}
	return ctx, cancel
}

// unless does up, unless the host has retired.
func (r *retirement) unless(up func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retired {
		return errRetired
	}
	return up()
}
