package mux

import (
	"context"
	"sync"
	"time"
)

// Limited is the context of a question to a provider: Parent, which is the
// broker's, with a deadline. A Conn that has other means to keep the deadline can
// watch Parent alone: then what makes a context with a deadline dear, a timer and
// a place among its parent's children, is never made.
type Limited struct {
	Parent   context.Context //nolint:containedctx // it is what this is about
	deadline time.Time

	mu     sync.Mutex
	inner  context.Context //nolint:containedctx // made when somebody looks
	cancel context.CancelFunc
	over   bool
}

// newLimited is context.WithDeadline, later. end must be called.
func newLimited(parent context.Context, deadline time.Time) *Limited {
	if theirs, ok := parent.Deadline(); ok && theirs.Before(deadline) {
		deadline = theirs
	}
	return &Limited{Parent: parent, deadline: deadline}
}

func (l *Limited) end() {
	l.mu.Lock()
	l.over = true
	cancel := l.cancel
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// context is the ordinary one behind l.
func (l *Limited) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		l.inner, l.cancel = context.WithDeadline(l.Parent, l.deadline)
		if l.over {
			l.cancel()
		}
	}
	return l.inner
}

// Deadline implements context.Context.
func (l *Limited) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *Limited) Done() <-chan struct{} { return l.context().Done() }

// Err implements context.Context.
func (l *Limited) Err() error {
	l.mu.Lock()
	going := l.inner == nil && !l.over
	l.mu.Unlock()
	if going && l.Parent.Err() == nil && time.Now().Before(l.deadline) {
		return nil
	}
	return l.context().Err()
}

// Value implements context.Context. The context package finds its own by it.
func (l *Limited) Value(key any) any { return l.context().Value(key) }
