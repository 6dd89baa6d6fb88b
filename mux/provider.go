package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
)

// Conn is one live connection to a provider. Its methods are called from many
// goroutines, return when ctx ends at the latest, and answer ErrDown when the
// provider went away meanwhile, ErrNotSent when it did before it saw the
// event, the context's error when that ended, and something that wraps
// ErrAnswered for an error of the provider's own making.
type Conn interface {
	// Decide asks a valued hook. req is the encoded request, the answer an
	// encoded ValuedResponse.
	Decide(ctx context.Context, h Hook, req []byte) ([]byte, error)
	// Notify delivers a notification and returns once it has been handled.
	Notify(ctx context.Context, h Hook, req []byte) error
}

// Streamer is a Conn that takes notifications without waiting for each to be
// handled.
type Streamer interface {
	Conn
	// Replies sets who is told that a posted notification was handled, or with
	// which error it was not; called once, before the first Post.
	Replies(handled func(id uint64, err error))
	// Post queues a notification to be sent, in the order of the calls, and never
	// blocks. The provider handles those of one client one after another. After
	// ErrNotSent or ErrNoRoom it will not be sent.
	Post(id uint64, h Hook, client, req []byte, timeout time.Duration) error
	// Cancel says that nobody waits for a reply any more.
	Cancel(id uint64)
}

// Provider is one answerer of events, as the engine sees it: its guard, its
// lane, and the connection that its host puts in with Up and takes out with
// Down.
type Provider struct {
	spec  Spec
	log   *slog.Logger
	slots *semaphore.Weighted
	lane  *lane
	stats Stats

	link   atomic.Pointer[link] // nil while down
	linkUp notifier             // tells when there is a new link

	mu      sync.Mutex // guards what follows
	wants   []HookSpec // what to ask it
	known   bool       // wants is what the provider declared
	changed func()     // told after wants changed

	failLog [numReasons]rateLimit
}

// link is what lives as long as one process or connection of a provider:
// a fresh process starts with closed breakers.
type link struct {
	conn      Conn
	decisions [NumHooks]*gobreaker.TwoStepCircuitBreaker[struct{}] // nil for what it does not decide
	notify    *gobreaker.TwoStepCircuitBreaker[struct{}]
	outbox    *outbox       // nil when conn is no Streamer
	gone      chan struct{} // closed by Down
}

// NewProvider makes a provider that is down. Close ends it.
func NewProvider(spec Spec, log *slog.Logger) *Provider {
	p := &Provider{spec: spec.withDefaults(), log: log.With("provider", spec.Name)}
	p.slots = semaphore.NewWeighted(int64(p.spec.Concurrency))
	p.lane = newLane(p)
	p.wants = p.spec.beforeStart()
	return p
}

// Name is the provider's name in the config.
func (p *Provider) Name() string { return p.spec.Name }

// Spec is what the provider was made from, defaults filled in.
func (p *Provider) Spec() Spec { return p.spec }

// Up makes conn the provider's connection. declared is what OnProviderLoaded
// answered; an error says why it cannot be served, and leaves the provider
// down.
func (p *Provider) Up(conn Conn, declared []HookSpec) error {
	for _, d := range declared {
		for _, f := range d.Topics {
			if err := CheckTopicFilter(f); err != nil {
				return fmt.Errorf("it declares %s with an invalid filter: %w", d.Hook, err)
			}
		}
	}
	wants, err := p.spec.effective(declared)
	if err != nil {
		return err
	}
	if err := p.stillDecides(wants); err != nil {
		return err
	}
	l := &link{conn: conn, gone: make(chan struct{})}
	for _, w := range wants {
		if w.Hook.Valued() {
			l.decisions[w.Hook] = p.newBreaker(w.Hook.String())
		}
	}
	l.notify = p.newBreaker("notifications")
	if s, ok := conn.(Streamer); ok {
		l.outbox = newOutbox(p.lane, l.notify, s)
	}

	p.mu.Lock()
	p.wants, p.known = wants, true
	changed := p.changed
	p.mu.Unlock()
	// The route table first, so that it is not asked by an old one.
	if changed != nil {
		changed()
	}
	p.setLink(l)
	p.linkUp.broadcast()
	return nil
}

// stillDecides says whether the provider still wants each valued hook that it
// decided before and that may not pass without it: a restart must not open a hole.
func (p *Provider) stillDecides(wants []HookSpec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return nil
	}
	for _, before := range p.wants {
		h := before.Hook
		if h.Valued() && p.spec.OnFailure[h][ReasonDown] != Ignore && !slices.ContainsFunc(wants, func(w HookSpec) bool { return w.Hook == h }) {
			return fmt.Errorf("it decided %s before and does not declare it any more; if that is meant, restart hookmux", h)
		}
	}
	return nil
}

// Down takes the connection away: decisions follow the failure policy,
// notifications wait in the lane. What the provider wants stays known.
func (p *Provider) Down() {
	p.setLink(nil)
}

func (p *Provider) setLink(l *link) {
	if old := p.link.Swap(l); old != nil {
		close(old.gone)
		if old.outbox != nil {
			old.outbox.close(ReasonDown, ErrDown)
		}
	}
}

// IsUp says whether the provider has a connection.
func (p *Provider) IsUp() bool { return p.link.Load() != nil }

// Wants is what the provider is asked, and whether that is known: before its
// first start, without `hooks` in the config, it is every valued hook.
func (p *Provider) Wants() (wants []HookSpec, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wants, p.known || p.spec.Hooks != nil
}

// Drain takes no more notifications, delivers the waiting ones until ctx ends,
// and counts the rest as dropped. Close need not wait after it.
func (p *Provider) Drain(ctx context.Context) { p.lane.close(ctx) }

// Close delivers what waits in the lane until ctx ends, counts the rest as
// dropped, and stops all of the provider's goroutines.
func (p *Provider) Close(ctx context.Context) {
	p.lane.close(ctx)
	p.Down()
}

// Stats are the provider's counters.
func (p *Provider) Stats() *Stats { return &p.stats }

// Waiting is how many events and bytes wait in the lane.
func (p *Provider) Waiting() (events, bytes int64) { return p.lane.waiting() }

// Breaker is the state of the breaker of a valued hook, or of the
// notifications' for any other: "closed", "open" or "half-open"; "" while down,
// and for a valued hook that the provider does not decide.
func (p *Provider) Breaker(h Hook) string {
	l := p.link.Load()
	if l == nil {
		return ""
	}
	b := l.notify
	if h.Valued() {
		b = l.decisions[h]
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
		// Only logs: a call back into the breaker would deadlock.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			level := slog.LevelInfo
			if to == gobreaker.StateOpen {
				level = slog.LevelWarn
			}
			p.log.Log(context.Background(), level, "breaker "+to.String(), "of", what, "was", from.String())
		},
	})
}

// Stats counts what became of events. Notifications: once a lane is empty,
// Sent is Delivered plus all of Dropped.
type Stats struct {
	Sent      atomic.Int64             // notifications meant for the provider
	Delivered atomic.Int64             // handled without an error
	Dropped   [numReasons]atomic.Int64 // lost, by Reason

	Decided [NumHooks]atomic.Int64   // answers to valued hooks
	Missing [numReasons]atomic.Int64 // decisions without an answer, by Reason
	Late    atomic.Int64             // replies to events that were given up before
}

// DroppedTotal is the notifications lost for any reason.
func (s *Stats) DroppedTotal() (n int64) {
	for i := range s.Dropped {
		n += s.Dropped[i].Load()
	}
	return n
}

// notifier wakes all who wait for a change.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait is a channel that the next broadcast closes.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// rateLimit lets a log line through now and then and counts the ones between.
type rateLimit struct {
	mu      sync.Mutex
	last    time.Time
	between int64
}

// logEvery is how often one provider may log the same kind of failure.
const logEvery = 5 * time.Second

// allow says whether to log now, and how many were held back since the last.
func (r *rateLimit) allow() (ok bool, held int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < logEvery {
		r.between++
		return false, 0
	}
	held, r.between, r.last = r.between, 0, now
	return true, held
}
