package trail

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hookmux/hookmux/mux"
)

// maxFollowers is how many there may be, since each costs something for every event.
const maxFollowers = 16

// queued is how many events wait for one follower.
const queued = 256

// ErrTooMany is what Follow answers when there are as many followers as there may be.
var ErrTooMany = errors.New("as many as may are following already")

// Event is something that happened; one of its fields is set.
type Event struct {
	Decision     *Decision
	Notification *Notification
}

// Follower gets the events that match its Filter, as they happen. Close ends it.
type Follower struct {
	trail  *Trail
	filter *matcher
	events chan Event
	lost   atomic.Int64
	close  sync.Once
}

// Follow begins to follow events. The filter must be one that Check finds right.
func (t *Trail) Follow(filter Filter) (*Follower, error) {
	f := &Follower{trail: t, filter: newMatcher(filter), events: make(chan Event, queued)}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.following()
	if len(now) >= maxFollowers {
		return nil, ErrTooMany
	}
	now = append(slices.Clone(now), f)
	t.followers.Store(&now)
	return f, nil
}

func (t *Trail) following() []*Follower {
	if p := t.followers.Load(); p != nil {
		return *p
	}
	return nil
}

// Events are what happens. The channel is not closed: who follows knows when to end.
func (f *Follower) Events() <-chan Event { return f.events }

// Lost is how many events were lost since it was asked last, because too many
// waited.
func (f *Follower) Lost() int64 { return f.lost.Swap(0) }

// Close has no more events come.
func (f *Follower) Close() {
	f.close.Do(func() {
		t := f.trail
		t.mu.Lock()
		defer t.mu.Unlock()
		rest := slices.DeleteFunc(slices.Clone(t.following()), func(o *Follower) bool { return o == f })
		if len(rest) == 0 {
			t.followers.Store(nil)
			return
		}
		t.followers.Store(&rest)
	})
}

func (f *Follower) wantsDecision(d *mux.Decision, s *mux.Subject) bool {
	if !f.filter.matches(d.Event.Hook, s.Client, s.Topic) && !f.filter.matches(d.Event.Hook, s.Client, d.Topic) {
		return false
	}
	return f.filter.provider == "" || slices.ContainsFunc(d.Asked, func(a mux.Asked) bool { return a.Provider == f.filter.provider })
}

func (f *Follower) wantsNotification(n *mux.Notification, s *mux.Subject) bool {
	return (f.filter.provider == "" || f.filter.provider == n.Provider) && f.filter.matches(n.Event.Hook, s.Client, s.Topic)
}

// hasRoom counts an event as lost if there is none.
func (f *Follower) hasRoom() bool {
	if len(f.events) < cap(f.events) {
		return true
	}
	f.lost.Add(1)
	return false
}

// offer hands over an event, or counts it as lost.
func (f *Follower) offer(e Event) {
	select {
	case f.events <- e:
	default:
		f.lost.Add(1)
	}
}
