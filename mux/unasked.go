package mux

import (
	"context"
	"errors"
	"time"
)

// errExcess is why nobody is asked about an event of DispatchUnasked.
var errExcess = errors.New("too many events were under way")

// DispatchUnasked is Dispatch for one event too many: nobody is asked or waited for.
// Every provider is taken for one that is overloaded, so its failure policy decides.
// Notifications go into their lanes as always, and into the store, for which the broker
// waits. But for a provider with delivery sync, or overflow block, they are lost, and so is
// what a durable observer was to be told of a decision; its failure policy decides.
func (m *Mux) DispatchUnasked(ctx context.Context, ev Event) (response []byte) {
	ev.excess = true
	return m.Dispatch(ctx, ev)
}

// TooLarge answers an event that is too large to be read, as why says: what has an
// answer is refused, and a notification is lost for everybody who wants the hook,
// on whatever topic.
func (m *Mux) TooLarge(ctx context.Context, h Hook, why error) (response []byte) {
	now := time.Now()
	ev := NewEvent(h, nil)
	ev.told = now.Sub(epoch)
	if ok, held := m.tooLarge.allow(); ok {
		m.log.Warn("an event is too large: refused, or not passed on", "hook", h.String(), "error", why, "more_like_it", held)
	}
	if m.recorder != nil {
		defer func() { m.recorder.Answered(ctx, &ev, time.Since(now)) }()
	}
	t := m.enter()
	defer t.users.leave()
	lost := t.routes[h]
	if h.Valued() {
		lost = t.observers[h]
	}
	for i := range lost {
		lost[i].p.lose(&ev, ReasonTooLarge, why)
	}
	return m.refuse(ctx, &ev)
}

// lose counts a notification that does not get as far as the lane.
func (p *Provider) lose(ev *Event, r Reason, err error) {
	p.stats.Sent.Add(1)
	p.lane.drop(ev, r, err)
}
