package sdk

import (
	"context"
	"sync"
)

// window bounds what a stream has read and not yet answered. Its reader, which
// is one goroutine, waits for room; when it has waited, it goes on at half, so
// that a full stream is not read event by event.
type window struct {
	maxEvents, maxBytes int

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
	if w.waiting && w.events <= w.maxEvents/2 && w.bytes <= w.maxBytes/2 {
		w.waiting = false
		w.room <- struct{}{}
	}
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
