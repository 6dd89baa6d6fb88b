package sdk

import (
	"context"
	"sync"
)

// window bounds what a stream has read and not yet answered. Its reader, which
// is one goroutine, waits for room.
type window struct {
	maxEvents, maxBytes int
	// hysteresis has a reader that waited go on only at half, so that it does
	// not wake up for every event.
	hysteresis bool

	mu            sync.Mutex
	events, bytes int
	waiting       bool
	room          chan struct{} // capacity 1
}

func newWindow(maxEvents, maxBytes int) *window {
	return &window{maxEvents: maxEvents, maxBytes: maxBytes, room: make(chan struct{}, 1)}
}

// enter counts an event with that many bytes.
func (w *window) enter(bytes int) {
	w.mu.Lock()
	w.events++
	w.bytes += bytes
	w.mu.Unlock()
}

// leave takes back what enter has counted.
func (w *window) leave(events, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events -= events
	w.bytes -= bytes
	maxEvents, maxBytes := w.maxEvents, w.maxBytes
	if w.hysteresis {
		maxEvents, maxBytes = maxEvents/2, maxBytes/2
	}
	if w.waiting && w.events < maxEvents && w.bytes < maxBytes {
		w.waiting = false
		w.room <- struct{}{}
	}
}

// full reports whether wait would wait.
func (w *window) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events >= w.maxEvents || w.bytes >= w.maxBytes
}

// wait returns when there is room, or with ctx's error. The first event always
// has room, however large.
func (w *window) wait(ctx context.Context) error {
	w.mu.Lock()
	w.waiting = w.events >= w.maxEvents || w.bytes >= w.maxBytes
	waiting := w.waiting
	w.mu.Unlock()
	if !waiting {
		return nil
	}
	select {
	case <-w.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// empty reports whether everything read has been answered.
func (w *window) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events == 0
}
