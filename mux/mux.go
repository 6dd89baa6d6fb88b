package mux

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultEventTimeout is how long a broker waits for an answer at most.
const DefaultEventTimeout = 4 * time.Second

// Options are what all events share. Reconfigure changes Timeout,
// Defaults and Strategy.
type Options struct {
	// Timeout bounds one event, all providers together; a broker's own deadline
	// bounds it further. Default 4 s.
	Timeout time.Duration
	// Defaults are the answers to access hooks about which no provider has an
	// opinion: true allows. A hook without one is answered IGNORE.
	Defaults map[Hook]bool
	// Strategy is how the answers to each access hook are merged.
	Strategy [NumHooks]Strategy
	// Peer says over which connection a call came, any text that no other has. It is
	// asked only during ExpectDoubles.
	Peer func(ctx context.Context) string
	// Recorder is told what becomes of events; nil costs nothing.
	Recorder Recorder
	// Spool keeps what is delivered durably. Without one, none of it can be stored.
	Spool Spool
	// Log gets what operators must know. Default: slog.Default().
	Log *slog.Logger
}

// Mux fans events out to providers and merges their answers. All methods may
// be called from any goroutine.
type Mux struct {
	log      *slog.Logger
	recorder Recorder
	table    atomic.Pointer[table]
	doubles  atomic.Pointer[doubles] // nil: no event comes twice
	brokers  registrations

	mu        sync.Mutex // serialises changes of the table
	readyOnce sync.Once
	ready     chan struct{}
	malformed rateLimit
	tooLarge  rateLimit
	panics    rateLimit
}

// New makes a Mux without providers. Until SetReady it keeps brokers waiting,
// within their deadline.
func New(opts Options) *Mux {
	setDefault(&opts.Timeout, DefaultEventTimeout)
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	m := &Mux{log: opts.Log, recorder: opts.Recorder, ready: make(chan struct{})}
	m.table.Store(newTable(nil, opts))
	return m
}

// SetProviders puts the providers in place, in chain order. drained is closed
// once no event is under way any more that still goes to those of before: only
// then can they be closed without a loss.
func (m *Mux) SetProviders(providers []*Provider) (drained <-chan struct{}) {
	return m.swap(func(old *table) *table {
		m.install(providers, old.opts.Spool)
		return newTable(providers, old.opts)
	})
}

// Reconfigure is SetProviders with other Options, of which Log and Recorder stay
// as they are.
// An event sees all of the change or nothing of it.
func (m *Mux) Reconfigure(opts Options, providers []*Provider) (drained <-chan struct{}) {
	setDefault(&opts.Timeout, DefaultEventTimeout)
	return m.swap(func(*table) *table {
		m.install(providers, opts.Spool)
		return newTable(providers, opts)
	})
}

// install puts in place what is new of each provider, and its connection.
func (m *Mux) install(providers []*Provider, spool Spool) {
	before := m.table.Load().users
	for _, p := range providers {
		if replaced := p.install(m.rebuild, m.recorder, spool); replaced != nil {
			go replaced.settle(before.gone)
		}
	}
}

// Providers are the providers in chain order.
func (m *Mux) Providers() []*Provider { return m.table.Load().providers }

// rebuild makes a new table after a provider has said what it wants.
func (m *Mux) rebuild() {
	m.swap(func(old *table) *table { return newTable(old.providers, old.opts) })
}

// swap puts a new table in place; drained is closed when no event is under way
// with the old one, or one before it.
func (m *Mux) swap(next func(old *table) *table) (drained <-chan struct{}) {
	m.mu.Lock()
	old := m.table.Load()
	t := next(old)
	m.table.Store(t)
	old.users.replacedBy(t.users)
	m.mu.Unlock()
	m.warnGrown(t)
	return old.users.gone
}

// enter is the table for one event, which ends with table.users.leave.
func (m *Mux) enter() *table {
	for {
		t := m.table.Load()
		t.users.enter()
		if m.table.Load() == t {
			return t
		}
		t.users.leave() // replaced meanwhile, perhaps drained
	}
}

// SetReady says that every provider has had its first chance to start: from
// now on one that is down follows its failure policy. Calls after the first do
// nothing.
func (m *Mux) SetReady() { m.readyOnce.Do(func() { close(m.ready) }) }

// Ready is closed by SetReady.
func (m *Mux) Ready() <-chan struct{} { return m.ready }

func (m *Mux) isReady() bool {
	select {
	case <-m.ready:
		return true
	default:
		return false
	}
}

// awaitReady reports whether the providers have settled in time.
func (m *Mux) awaitReady(ctx context.Context) bool {
	ctx, cancel := context.WithDeadline(ctx, m.deadline(ctx))
	defer cancel()
	select {
	case <-m.ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// Dispatch answers an event of a broker: an encoded ValuedResponse for a
// valued hook, an empty message for a notification. It always answers, and
// before ctx's deadline.
func (m *Mux) Dispatch(ctx context.Context, ev Event) (response []byte) {
	if d := m.doubles.Load(); d != nil {
		return d.dispatch(ctx, m, ev)
	}
	return m.dispatch(ctx, ev)
}

func (m *Mux) dispatch(ctx context.Context, ev Event) (response []byte) {
	if m.recorder != nil {
		start := time.Now()
		ev.told = start.Sub(epoch)
		defer func() { m.recorder.Answered(ctx, &ev, time.Since(start)) }()
	}
	defer func() {
		if r := recover(); r != nil {
			if ok, _ := m.panics.allow(); ok {
				m.log.Error("bug in hookmux: event refused", "hook", ev.Hook.String(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			}
			response = denial(&ev)
		}
	}()
	if ev.malformed {
		if ok, held := m.malformed.allow(); ok {
			m.log.Warn("a broker sent a request that is no protobuf message: refused", "hook", ev.Hook.String(), "bytes", len(ev.Body), "more_like_it", held)
		}
		return m.refuse(ctx, &ev)
	}
	// Not ready in time: who is still down follows its failure policy.
	ready := m.isReady() || !ev.excess && m.awaitReady(ctx)
	t := m.enter()
	defer t.users.leave()
	if !ready && len(t.providers) == 0 {
		return m.refuse(ctx, &ev) // whose policy to follow, nobody has said yet
	}
	if !ev.Hook.Valued() {
		m.notify(ctx, &ev, t.routes[ev.Hook])
		return emptySuccess
	}
	return m.decide(ctx, &ev, t)
}

// deadline is when the answer has to be ready: the smaller of the broker's and
// our own, less a reserve for the way back.
func (m *Mux) deadline(ctx context.Context) time.Time {
	now := time.Now()
	d := now.Add(m.table.Load().opts.Timeout)
	if theirs, ok := ctx.Deadline(); ok {
		left := theirs.Sub(now)
		if ours := now.Add(left - reserve(left)); ours.Before(d) {
			d = ours
		}
	}
	return d
}

// reserve is what the way back to the broker may take: a twentieth of the
// time, between 2 and 250 ms.
func reserve(left time.Duration) time.Duration {
	return min(max(left/20, 2*time.Millisecond), 250*time.Millisecond)
}

// notify hands a notification to all who want it. One that may block for a
// provider does not hold up the others.
func (m *Mux) notify(ctx context.Context, ev *Event, routes []route) {
	var blocking []telling
	seen := views{ev: ev}
	for i := range routes {
		r := &routes[i]
		switch {
		case ev.Hook.HasTopics() && !r.takes(ev.topic), !r.p.inScope(ev):
		case ev.excess && r.p.mayBlock(ev.Hook) && r.p.spec.Delivery[ev.Hook] != Durable:
			r.p.lose(ev, ReasonOverload, errExcess)
		case r.p.mayBlock(ev.Hook):
			blocking = append(blocking, telling{r.p, seen.shownTo(r)})
		default:
			r.p.lane.push(ctx, seen.shownTo(r))
		}
	}
	if blocking != nil {
		m.notifyBlocking(ctx, blocking)
	}
}

// telling is a notification and whom it is for.
type telling struct {
	p  *Provider
	ev *Event
}

func (m *Mux) notifyBlocking(ctx context.Context, blocking []telling) {
	ctx, cancel := context.WithDeadline(ctx, m.deadline(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for _, b := range blocking[1:] {
		wg.Go(func() { b.tell(ctx) })
	}
	blocking[0].tell(ctx)
	wg.Wait()
}

func (b telling) tell(ctx context.Context) {
	switch d := b.p.spec.Delivery[b.ev.Hook]; {
	case d == Durable:
		b.p.storeNotification(ctx, b.ev)
	case d == Sync && !b.p.lane.busy(b.ev): // what waits since delivery was async is not overtaken
		b.p.notifySync(ctx, b.ev)
	default:
		b.p.lane.push(ctx, b.ev)
	}
}

// mayBlock says whether a notification can make the broker wait.
func (p *Provider) mayBlock(h Hook) bool {
	return p.spec.Delivery[h] != Async || p.spec.Lane.Overflow == Block
}

// notifySync delivers one notification while the broker waits.
func (p *Provider) notifySync(ctx context.Context, ev *Event) {
	p.stats.Sent.Add(1)
	l := p.link.Load()
	switch {
	case p.held.Load():
		p.lane.drop(ev, ReasonDown, ErrHeld)
		return
	case l == nil:
		p.lane.drop(ev, ReasonDown, nil)
		return
	}
	if r, _, err := p.notify(ctx, l, ev); r != ReasonNone {
		p.lane.drop(ev, r, err)
		return
	}
	p.handled(ev)
}

// denial refuses an event without asking anyone; a notification is acknowledged.
func denial(ev *Event) []byte {
	switch hooks[ev.Hook].kind {
	case access:
		return boolResponse(typeStop, false)
	case message:
		return messageResponse(typeStop, refuse(ev.msg))
	default:
		return emptySuccess
	}
}
