package mux

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/sony/gobreaker/v2"
)

// Link is one connection of a provider: it lasts as long as one process. Make it
// with Provider.NewLink; it is put in place by Up, or by Mux.SetProviders as what
// a Provider is to StartWith.
type Link struct {
	r        *running
	conn     Conn
	declared []HookSpec
	outbox   *outbox       // nil when conn is no Streamer
	calls    *users        // notifications under way that are not in the outbox
	gone     chan struct{} // closed by Down
	down     bool          // guarded by r.mu
	settled  chan struct{}
}

// link is how a Provider uses its connection. A fresh process starts with closed
// breakers.
type link struct {
	*Link
	decisions [NumHooks]*gobreaker.TwoStepCircuitBreaker[struct{}] // nil for what it does not decide
	notify    *gobreaker.TwoStepCircuitBreaker[struct{}]
	hide      [NumHooks]redactions // what it may not see
}

// NewLink makes a connection that is not used yet. declared is what
// OnProviderLoaded answered.
func (p *Provider) NewLink(conn Conn, declared []HookSpec) *Link {
	l := &Link{
		r: p.running, conn: conn, declared: declared,
		calls: newUsers(), gone: make(chan struct{}), settled: make(chan struct{}),
	}
	if s, ok := conn.(Streamer); ok {
		l.outbox = newOutbox(p.lane, s)
		s.Replies(l.replied)
	}
	return l
}

// replied takes the reply to a posted notification to who posted it.
func (l *Link) replied(id uint64, err error) {
	if id&1 == 0 {
		l.outbox.replied(id, err)
	} else if d := l.r.durable.Load(); d != nil {
		d.replied(id, err)
	}
}

// Up puts the connection in the place of one that is gone. An error says why
// the provider cannot be served, and leaves it down.
func (l *Link) Up() error {
	r := l.r
	r.mu.Lock()
	p := r.current()
	wants, err := p.spec.wants(l.declared)
	if err == nil {
		err = p.stillDecides(l.declared)
	}
	if err != nil {
		r.mu.Unlock()
		return err
	}
	p.wants, r.declared, r.known = wants, l.declared, true
	changed := r.changed
	r.mu.Unlock()
	// The route table first, so that it is not asked by an old one.
	if changed != nil {
		changed()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p = r.current()
	if wants, err = p.spec.wants(l.declared); err != nil { // its Spec has just changed
		return err
	}
	p.wants = wants
	p.setLink(p.use(l, nil))
	return nil
}

// StartWith has SetProviders connect the provider, under its Spec, over l. A
// connection that is in place is taken over from: what is under way there comes to its
// end, and no client's notifications overtake each other.
func (p *Provider) StartWith(l *Link) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wants, err = p.spec.wants(l.declared)
	p.next = l
	return err
}

// Down says that the connection is gone, or will be at once: decisions follow the
// failure policy, notifications wait in the lane. What the provider wants stays
// known.
func (l *Link) Down() {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.goDown()
	if p := l.r.current(); p.link.Load() != nil && p.link.Load().Link == l {
		p.link.Store(nil)
	}
}

func (l *Link) goDown() {
	if l.down {
		return
	}
	l.down = true
	close(l.gone)
	if l.outbox != nil {
		l.outbox.close(ReasonDown, ErrDown)
	}
	if d := l.r.durable.Load(); d != nil {
		d.linkDown(l)
	}
}

// Settled is closed when another connection has taken over and nothing is under
// way over this one any more.
func (l *Link) Settled() <-chan struct{} { return l.settled }

// setLink puts lk in place, with r.mu held.
func (p *Provider) setLink(lk *link) {
	if old := p.link.Swap(lk); old != nil {
		old.goDown()
	}
	p.linkUp.broadcast()
}

// use is how p uses the connection l, with the breakers of old, if they still fit.
func (p *Provider) use(l *Link, old *link) *link {
	if l.down {
		return nil
	}
	lk := &link{Link: l, hide: p.spec.redactions(p.wants)}
	for _, w := range p.wants {
		if h := w.Hook; h.Valued() && !p.spec.Observe {
			if old != nil && old.decisions[h] != nil {
				lk.decisions[h] = old.decisions[h]
			} else {
				lk.decisions[h] = p.newBreaker(h.String())
			}
		}
	}
	if old != nil {
		lk.notify = old.notify
	} else {
		lk.notify = p.newBreaker("notifications")
	}
	return lk
}

// install puts p in place, and gives the connection from which another takes over.
func (p *Provider) install(changed func(), recorder Recorder, spool Spool) (replaced *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = changed
	if p.recorder == nil && recorder != nil { // else it is being read
		p.recorder = recorder
	}
	if spool != nil && p.spec.Delivery.AnyDurable() && p.durable.Load() == nil {
		p.durable.Store(newDurable(p.running, spool.Queue(p.spec.Name)))
	}
	before := p.current()
	old := before.link.Load()
	switch next := p.next; {
	case next != nil:
		p.next = nil
		p.declared, p.known = next.declared, true
		if old != nil {
			replaced = old.Link
			p.setRetiring(append(p.retiringLinks(), replaced))
		}
		p.link.Store(p.use(next, nil))
	case before == p:
		return nil
	default:
		wants, err := p.expected()
		if err != nil {
			// It started anew, as something else, since Accepts was asked.
			p.log.Error("provider does not fit its new config: its failure policy decides", "error", err)
			old = nil
		}
		p.wants = wants
		switch {
		case old == nil:
		case p.spec.Breaker == before.spec.Breaker:
			p.link.Store(p.use(old.Link, old))
		default:
			p.link.Store(p.use(old.Link, nil))
		}
	}
	p.now.Store(p)
	p.linkUp.broadcast()
	p.lane.room.broadcast() // there may be more of it
	return replaced
}

// expected is what to ask the provider by what is known of it.
func (p *Provider) expected() (wants []HookSpec, err error) {
	if p.known || p.declared != nil && p.spec.Hooks == nil {
		if wants, err = p.spec.wants(p.declared); err == nil {
			return wants, nil
		}
	}
	return p.spec.beforeStart(), err
}

// settle waits until nothing is under way over l, which another took over from,
// or l is gone. drained is closed once no event is handled that may still use it.
func (l *Link) settle(drained <-chan struct{}) {
	<-drained
	l.calls.leave()
	if l.outbox != nil {
		l.outbox.retire()
		select {
		case <-l.outbox.empty:
		case <-l.gone:
		}
	}
	select {
	case <-l.calls.gone:
	case <-l.gone:
	}
	l.r.mu.Lock()
	l.r.setRetiring(slices.DeleteFunc(l.r.retiringLinks(), func(o *Link) bool { return o == l }))
	l.r.mu.Unlock()
	close(l.settled)
}

func (r *running) retiringLinks() []*Link {
	if p := r.retiring.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

func (r *running) setRetiring(links []*Link) {
	if len(links) == 0 {
		r.retiring.Store(nil)
		return
	}
	r.retiring.Store(&links)
}

// holdsBack says whether events of the shard are under way over a connection
// that another took over from; then told is closed when that may have changed.
func (r *running) holdsBack(shard int) (told <-chan struct{}) {
	retiring := r.retiring.Load()
	if retiring == nil {
		return nil
	}
	for _, l := range *retiring {
		if l.outbox != nil {
			if told = l.outbox.awaitShard(shard); told != nil {
				return told
			}
		}
	}
	return nil
}

// Breaker is the state of the breaker of a valued hook, or of the
// notifications' for any other and for what it observes: "closed", "open" or "half-open"; "" while down,
// and for a valued hook that the provider does not decide.
func (p *Provider) Breaker(h Hook) string {
	l := p.current().link.Load()
	if l == nil {
		return ""
	}
	b := l.notify
	if h.Valued() {
		b = l.decisions[h] // none if it decides nothing about them
	}
	if b == nil {
		return ""
	}
	return b.State().String()
}

func (p *Provider) newBreaker(what string) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	failures := uint32(p.spec.Breaker.Failures)
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        what,
		Timeout:     p.spec.Breaker.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotItsFault) },
		// Only tells: a call back into the breaker would deadlock.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			level := slog.LevelInfo
			if to == gobreaker.StateOpen {
				level = slog.LevelWarn
			}
			p.log.Log(context.Background(), level, "breaker "+to.String(), "of", what, "was", from.String())
			if p.recorder != nil {
				p.recorder.BreakerChanged(p.spec.Name, what, to.String())
			}
		},
	})
}
