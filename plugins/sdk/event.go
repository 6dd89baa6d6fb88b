package sdk

import (
	"context"
	"sync"
	"time"
)

// event is one event of a stream of app protocol 2, and the context of its
// method: most methods never look at theirs, so what makes a context dear, a
// timer and a place among its parent's children, is made when it is asked for.
type event struct {
	id      uint64
	hook    uint64
	method  method
	request []byte // a view into the batch it came in
	eventID string // of a durable notification
	// timeoutUs is set of notifications only: their time runs from when the
	// method is called.
	timeoutUs uint64
	deadline  time.Time
	stream    context.Context //nolint:containedctx // the parent

	mu     sync.Mutex
	inner  context.Context //nolint:containedctx // made when asked for
	cancel context.CancelFunc
	over   bool
}

// end cancels the context: the method has returned, or nobody waits any more.
func (e *event) end() {
	e.mu.Lock()
	e.over = true
	cancel := e.cancel
	e.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// context is the ordinary one behind e.
func (e *event) context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inner == nil {
		if e.deadline.IsZero() {
			e.inner, e.cancel = context.WithCancel(e.stream)
		} else {
			e.inner, e.cancel = context.WithDeadline(e.stream, e.deadline)
		}
		if e.over {
			e.cancel()
		}
	}
	return e.inner
}

// Deadline implements context.Context.
func (e *event) Deadline() (time.Time, bool) { return e.deadline, !e.deadline.IsZero() }

// Done implements context.Context.
func (e *event) Done() <-chan struct{} { return e.context().Done() }

// Err implements context.Context.
func (e *event) Err() error {
	e.mu.Lock()
	going := e.inner == nil && !e.over
	e.mu.Unlock()
	if going && e.stream.Err() == nil && (e.deadline.IsZero() || time.Now().Before(e.deadline)) {
		return nil
	}
	return e.context().Err()
}

// Value implements context.Context. The context package finds its own by it,
// to see why this one ended and to tie others to it without a goroutine.
func (e *event) Value(key any) any {
	if key == (eventIDKey{}) {
		return e.eventID
	}
	e.mu.Lock()
	inner := e.inner
	e.mu.Unlock()
	if inner == nil && e.Err() == nil {
		return e.stream.Value(key)
	}
	return e.context().Value(key)
}
