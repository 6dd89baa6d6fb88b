package trail

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// DefaultSize is Options.Size by default.
const DefaultSize = 2000

// Options are how much is remembered.
type Options struct {
	// Size is how many decisions are kept of each kind: refusals, those that lacked an
	// answer, and all others. Default 2000; negative: none.
	Size int
	// Sample is of how many decisions of the third kind one is kept. Default 1: all.
	Sample int
	// Payloads has the beginning of messages' payloads kept, and shown to followers.
	Payloads bool
}

// Trail remembers decisions and tells followers of events. It is a mux.Recorder.
// All methods may be called from any goroutine.
type Trail struct {
	store     atomic.Pointer[store]
	ids       atomic.Uint64
	followers atomic.Pointer[[]*Follower] // nil: nobody follows

	mu sync.Mutex // serialises changes of followers and store
}

// New makes an empty Trail.
func New(opts Options) *Trail {
	t := new(Trail)
	t.Configure(opts)
	return t
}

// Configure changes the Options. With another Size, what was kept is forgotten.
func (t *Trail) Configure(opts Options) {
	if opts.Size == 0 {
		opts.Size = DefaultSize
	}
	opts.Size, opts.Sample = max(opts.Size, 0), max(opts.Sample, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	next := &store{opts: opts}
	if old := t.store.Load(); old != nil && old.opts.Size == opts.Size {
		next.rings = old.rings
	} else {
		for i := range next.rings {
			next.rings[i] = &ring{slots: make([]slot, opts.Size)}
		}
	}
	t.store.Store(next)
}

// store is where decisions are kept.
type store struct {
	opts   Options
	passed atomic.Uint64 // decisions of the third kind
	rings  [numKinds]*ring
}

// kind of a decision: each has a ring of its own.
const (
	kindRefused = iota
	kindUnanswered
	kindPassed

	numKinds
)

// ring is where to keep the decision; nil for nowhere.
func (s *store) ring(d *mux.Decision) *ring {
	switch {
	case s.opts.Size == 0:
		return nil
	case refused(d.Answer):
		return s.rings[kindRefused]
	case unanswered(d):
		return s.rings[kindUnanswered]
	case s.opts.Sample > 1 && s.passed.Add(1)%uint64(s.opts.Sample) != 1:
		return nil
	}
	return s.rings[kindPassed]
}

// ring keeps the last records of one kind.
type ring struct {
	slots []slot
	next  atomic.Uint64 // how many there have been
}

type slot struct {
	mu  sync.Mutex
	seq uint64 // which record of the ring is in it, from 1; 0: none
	record
}

// put keeps a record, in the place of the oldest.
func (r *ring) put(set func(*record)) {
	seq := r.next.Add(1)
	s := &r.slots[(seq-1)%uint64(len(r.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq > seq {
		return // we were so slow that a later one is here
	}
	s.seq = seq
	set(&s.record)
}

// each calls f with each record, newest first, until it answers false. A record is
// f's until it returns.
func (r *ring) each(f func(*record) bool) {
	newest := r.next.Load()
	for i := range min(newest, uint64(len(r.slots))) {
		seq := newest - i
		s := &r.slots[(seq-1)%uint64(len(r.slots))]
		s.mu.Lock()
		more := s.seq != seq || f(&s.record) // else it is being written, or has been overwritten
		s.mu.Unlock()
		if !more {
			return
		}
	}
}

func (r *ring) kept() int { return int(min(r.next.Load(), uint64(len(r.slots)))) }

// Decided implements mux.Recorder.
func (t *Trail) Decided(_ context.Context, d *mux.Decision) {
	s := t.store.Load()
	followers := t.followers.Load()
	ring := s.ring(d)
	if ring == nil && followers == nil {
		return
	}
	subject := d.Event.Subject()
	id := t.ids.Add(1)
	if ring != nil {
		ring.put(func(r *record) { r.set(id, d, &subject, s.opts.Payloads) })
	}
	if followers == nil {
		return
	}
	var made *Decision // once for all followers, and only if one has room
	for _, f := range *followers {
		if f.wantsDecision(d, &subject) && f.hasRoom() {
			if made == nil {
				var r record
				r.set(id, d, &subject, s.opts.Payloads)
				made = r.decision(s.opts.Payloads)
			}
			f.offer(Event{Decision: made})
		}
	}
}

// Notified implements mux.Recorder.
func (t *Trail) Notified(n *mux.Notification) {
	followers := t.followers.Load()
	if followers == nil {
		return
	}
	t.tell(*followers, n)
}

func (t *Trail) tell(followers []*Follower, n *mux.Notification) {
	subject := n.Event.Subject()
	var made *Notification
	for _, f := range followers {
		if f.wantsNotification(n, &subject) && f.hasRoom() {
			if made == nil {
				made = notification(n, &subject, t.store.Load().opts.Payloads)
			}
			f.offer(Event{Notification: made})
		}
	}
}

// delivered is the outcome of a notification that was handled.
const delivered = "delivered"

func notification(n *mux.Notification, s *mux.Subject, payloads bool) *Notification {
	var t texts
	t.set(s, payloads)
	out := &Notification{
		Time: n.Start, Hook: n.Event.Hook.String(), Provider: n.Provider, Outcome: delivered, TookUs: n.Took.Microseconds(),
		Node: t.string(textNode), Client: t.string(textClient), Username: t.string(textUsername), Topic: t.string(textTopic),
		Payload: t.payload(), PayloadSize: t.payloadSize,
	}
	if n.Reason != mux.ReasonNone {
		out.Outcome = n.Reason.String()
	}
	if n.Err != nil {
		out.Error = cutText(n.Err.Error(), maxError)
	}
	return out
}

// Answered implements mux.Recorder.
func (t *Trail) Answered(context.Context, *mux.Event, time.Duration) {}

// BreakerChanged implements mux.Recorder.
func (t *Trail) BreakerChanged(string, string, string) {}
