package mux

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	// Notify delivers a notification and returns once it has been handled. EventID
	// of ctx is that of a durable one.
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
	// blocks. The provider handles those of one client one after another. eventID is
	// that of a durable event, for which more may wait; else "". After ErrNotSent or
	// ErrNoRoom it will not be sent.
	Post(id uint64, h Hook, client, req []byte, eventID string, timeout time.Duration) error
	// Cancel says that nobody waits for a reply any more.
	Cancel(id uint64)
}

// Provider is one answerer of events under one Spec: its guard, its lane, and
// the connection that its host gives it. A Provider never changes its Spec;
// With makes the next one, which carries on where this one is.
type Provider struct {
	spec   Spec
	grants grants
	slots  *semaphore.Weighted
	link   atomic.Pointer[link] // nil while down
	next   *Link                // what SetProviders connects it to
	wants  []HookSpec           // what to ask it; guarded by mu
	*running
}

// running is what a provider keeps whatever becomes of its Spec.
type running struct {
	log        *slog.Logger
	lane       *lane
	stats      Stats
	now        atomic.Pointer[Provider] // the one that is in place
	linkUp     notifier                 // tells when there is a new link
	failLog    [numReasons]rateLimit
	putBackLog rateLimit
	retryLog   rateLimit
	durable    atomic.Pointer[durable] // nil: it has no Queue
	failure    atomic.Pointer[Failure] // the latest of a stored event

	held   atomic.Bool // an operator has taken it out of service
	paused atomic.Bool // and what waits is not delivered either

	recorder Recorder // set before the first event

	retiring atomic.Pointer[[]*Link] // replaced and not yet settled; nil for none

	mu       sync.Mutex // guards what follows, and changes of now and its link
	declared []HookSpec // what it declared last
	known    bool       // declared is what it said since we started
	changed  func()     // told after wants changed
}

// current is the Provider that is in place.
func (r *running) current() *Provider { return r.now.Load() }

// NewProvider makes a provider that is down. Close ends it.
func NewProvider(spec Spec, log *slog.Logger) *Provider {
	r := &running{log: log.With("provider", spec.Name)}
	r.lane = newLane(r)
	p := r.under(spec)
	p.wants = p.spec.beforeStart()
	r.now.Store(p)
	return p
}

// With is the provider under another Spec, to be put in place by
// Mux.SetProviders: it keeps the name, connection, lane and counters. Only one of them
// can be closed.
func (p *Provider) With(spec Spec) *Provider {
	spec.Name = p.spec.Name
	return p.under(spec)
}

func (r *running) under(spec Spec) *Provider {
	p := &Provider{spec: spec.withDefaults(), grants: spec.grants(), running: r}
	p.slots = semaphore.NewWeighted(int64(p.spec.Concurrency))
	return p
}

// Name is the provider's name in the config.
func (p *Provider) Name() string { return p.spec.Name }

// Spec is what the provider was made from, defaults filled in.
func (p *Provider) Spec() Spec { return p.spec }

// Assume has the provider count for these hooks, which it declared in an earlier
// life, until it has started. Call it before SetProviders.
func (p *Provider) Assume(declared []HookSpec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wants, err := p.spec.wants(declared); err == nil && !p.known && p.spec.Hooks == nil {
		p.declared, p.wants = declared, wants
	}
}

// Accepts says why the provider cannot be served under this Spec, if it declares
// what it declared last.
func (p *Provider) Accepts() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return nil
	}
	_, err := p.spec.wants(p.declared)
	return err
}

// Up makes conn the provider's connection, in short for NewLink and Link.Up.
func (p *Provider) Up(conn Conn, declared []HookSpec) error { return p.NewLink(conn, declared).Up() }

// Down takes the provider's connection away, in short for Link.Down.
func (p *Provider) Down() {
	if lk := p.current().link.Load(); lk != nil {
		lk.Down()
	}
}

// StillDecides says whether the provider, if it declares this, still wants each
// valued hook that it decided before and that may not pass without it, and of a
// message hook the same topics: a restart must not open a hole.
func (p *Provider) StillDecides(declared []HookSpec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current().stillDecides(declared)
}

func (p *Provider) stillDecides(declared []HookSpec) error {
	if !p.known {
		return nil
	}
	for _, before := range p.wants {
		h := before.Hook
		if !p.spec.holds(h) {
			continue
		}
		i := slices.IndexFunc(declared, func(w HookSpec) bool { return w.Hook == h })
		if i < 0 {
			return fmt.Errorf("it decided %s before and does not declare it any more; if that is meant, list its hooks in the config, without this one", h)
		}
		if lost, ok := before.lost(declared[i].Topics); ok {
			return fmt.Errorf("it decided %s before for topics that it does not declare any more (%s); if that is meant, list its hooks in the config, this one with the topics that are left", h, lost)
		}
	}
	return nil
}

// IsUp says whether the provider has a connection.
func (p *Provider) IsUp() bool { return p.link.Load() != nil }

// Wants is what the provider is asked, and whether that is known: before its
// first start, without `hooks` in the config or news of an earlier life, it is
// every valued hook.
func (p *Provider) Wants() (wants []HookSpec, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wants, p.declared != nil || p.spec.Hooks != nil
}

// Declared is what the provider has declared since hookmux started, and whether
// it has.
func (p *Provider) Declared() (declared []HookSpec, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.declared, p.known
}

// Drain takes no more notifications, delivers the waiting ones until ctx ends,
// and counts the rest as dropped. Close need not wait after it. What is stored stays
// stored.
func (p *Provider) Drain(ctx context.Context) {
	var all sync.WaitGroup
	if d := p.durable.Load(); d != nil {
		all.Go(func() { d.close(ctx) })
	}
	p.lane.close(ctx)
	all.Wait()
}

// Close delivers what waits in the lane until ctx ends, counts the rest as
// dropped, and stops all of the provider's goroutines.
func (p *Provider) Close(ctx context.Context) {
	p.Drain(ctx)
	p.Down()
}

// Stats are the provider's counters.
func (p *Provider) Stats() *Stats { return &p.stats }

// Waiting is how many events and bytes wait in the lane.
func (p *Provider) Waiting() (events, bytes int64) { return p.lane.waiting() }

// Failure is why a stored event was not handled.
type Failure struct {
	Time  time.Time
	Error string
}

// LastFailure is the latest failure of an event that was to be delivered durably; nil if there
// was none.
func (p *Provider) LastFailure() *Failure { return p.failure.Load() }

// Stats counts what became of events. Notifications: once a lane is empty,
// Sent is Delivered plus all of Dropped.
type Stats struct {
	Sent      atomic.Int64             // notifications meant for the provider
	Delivered atomic.Int64             // handled without an error
	Dropped   [numReasons]atomic.Int64 // lost, by Reason

	Decided [NumHooks]atomic.Int64   // answers to valued hooks
	Missing [numReasons]atomic.Int64 // decisions without an answer, by Reason
	Late    atomic.Int64             // replies to events that were given up before
	PutBack [NumChanges]atomic.Int64 // what it changed in a message without a grant, by Change
	// Redacted is requests from which something was taken out for the provider.
	Redacted atomic.Int64
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
