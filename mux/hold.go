package mux

import (
	"context"
	"errors"
	"time"
)

// ErrHeld is why a provider that an operator took out of service has no answer.
var ErrHeld = errors.New("an operator has disabled it")

// Hold takes the provider out of service, whatever becomes of its connection and its
// Spec: decisions follow its failure policy, with ReasonDown, and notifications wait
// in its lane, behind those that are there already, which are still delivered. Its hooks
// count as before. So a provider that is held lets nothing pass that it would not let
// pass after a crash. What is stored stays so.
func (p *Provider) Hold() {
	p.held.Store(true)
	l := p.lane
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.holding = true
		s.mu.Unlock()
	}
	l.emptied.broadcast()
}

// Release undoes Hold: what waited is delivered, and all else goes to the provider again.
func (p *Provider) Release() {
	l := p.lane
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.holding = false
		s.queue = append(s.queue, s.held...)
		l.held.Add(-int64(len(s.held)))
		s.held = nil
		start := !s.running && !s.closed && s.head < len(s.queue)
		if start {
			s.running = true
			l.workers.Add(1)
		}
		s.mu.Unlock()
		if start {
			go l.drain(i)
		}
	}
	p.held.Store(false)
	p.paused.Store(false)
	p.linkUp.broadcast()
	if d := p.durable.Load(); d != nil {
		signal(d.wake)
	}
}

// Pause has what waits in the lane of a provider that is held wait on, until Release.
func (p *Provider) Pause() { p.paused.Store(true) }

// pausedUntil is nil, or told when the provider may be paused no longer.
func (r *running) pausedUntil() (told <-chan struct{}) {
	if !r.paused.Load() {
		return nil
	}
	told = r.linkUp.wait() // before the second look, so that no change is missed
	if !r.paused.Load() {
		return nil
	}
	return told
}

// Held says whether Hold was called, and Release not since.
func (p *Provider) Held() bool { return p.held.Load() }

// awaitDecided waits until no decision is under way to the provider, which is held,
// or until ctx ends.
func (p *Provider) awaitDecided(ctx context.Context) error {
	p = p.current()
	n := int64(p.spec.Concurrency)
	if err := p.slots.Acquire(ctx, n); err != nil {
		return err
	}
	p.slots.Release(n)
	return nil
}

// lookEvery is how often it is looked whether something is still under way.
const lookEvery = 5 * time.Millisecond

// AwaitIdle waits until nothing is under way to the provider, which is paused, or until
// ctx ends: its connection can then be ended without a loss.
func (p *Provider) AwaitIdle(ctx context.Context) error {
	if err := p.awaitDecided(ctx); err != nil {
		return err
	}
	for p.underWay() {
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// underWay says whether notifications are.
func (p *Provider) underWay() bool {
	if p.durable.Load().flying() > 0 {
		return true
	}
	lk := p.current().link.Load()
	if lk == nil {
		return false
	}
	if lk.calls.n.Load() > 1 { // besides that it is in place
		return true
	}
	if lk.outbox == nil {
		return false
	}
	lk.outbox.mu.Lock()
	defer lk.outbox.mu.Unlock()
	return lk.outbox.events > 0
}

// AwaitDelivered waits until nothing is left of what was in the provider's lane when it
// was held, and of what is stored nothing is under way, or until ctx ends.
func (p *Provider) AwaitDelivered(ctx context.Context) error {
	for l := p.lane; ; {
		changed := l.emptied.wait() // before the look, so that no change is missed
		if l.events.Load() <= l.held.Load() && p.durable.Load().flying() == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hold keeps an event behind what is delivered before the provider is held, with
// s.mu held.
func (l *lane) hold(s *shard, ev *Event) {
	s.held = append(s.held, *ev)
	l.held.Add(1)
	l.emptied.broadcast()
}

// popHeld takes the longest waiting event of those that are held.
func (l *lane) popHeld(s *shard) (ev Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return ev, false
	}
	ev, s.held[0] = s.held[0], Event{}
	s.held = s.held[1:]
	l.held.Add(-1)
	return ev, true
}

// dropHeld drops what is held when the lane is closed.
func (l *lane) dropHeld() {
	for i := range l.shards {
		for {
			ev, ok := l.popHeld(&l.shards[i])
			if !ok {
				break
			}
			l.drop(&ev, ReasonShutdown, nil)
			l.release(&ev)
		}
	}
}
