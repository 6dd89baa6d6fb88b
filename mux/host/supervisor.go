package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/hookmux/hookmux/mux"
)

// Options are what all hosts of one hookmux share. The zero value of every
// field but Mux is good.
type Options struct {
	Mux     *mux.Mux
	Log     *slog.Logger
	Version string // hookmux's own, told to providers
	TempDir string // where sockets go; must be short. Default: os.TempDir()
	Reaper  *Reaper
	OnUp    func() // called after a provider has come up
	// OnDown is called after a provider has gone down, or has not come up.
	OnDown func(provider string, why Cause)

	// FirstDelay and MaxDelay are the shortest and longest pause before a
	// restart. Defaults 100 ms and 10 s.
	FirstDelay, MaxDelay time.Duration
	// StableAfter is how long a run must last for the pauses to start anew.
	// Default 30 s.
	StableAfter time.Duration
	// QuarantineAfter is how many runs in a row may end sooner than that before
	// the plugin is only tried every QuarantinePace. Defaults 6 and 1 min.
	QuarantineAfter int
	QuarantinePace  time.Duration
	// HealthEvery is the pause between health checks, HealthTimeout what one may
	// take, HealthMisses how many in a row end the process. Defaults 2 s, 2 s, 3.
	HealthEvery, HealthTimeout time.Duration
	HealthMisses               int
	// StopStep bounds each step of stopping a plugin. Default 2 s.
	StopStep time.Duration
}

func (o Options) withDefaults() Options {
	for v, d := range map[*time.Duration]time.Duration{
		&o.FirstDelay:     100 * time.Millisecond,
		&o.MaxDelay:       10 * time.Second,
		&o.StableAfter:    30 * time.Second,
		&o.QuarantinePace: time.Minute,
		&o.HealthEvery:    2 * time.Second,
		&o.HealthTimeout:  2 * time.Second,
		&o.StopStep:       2 * time.Second,
	} {
		if *v == 0 {
			*v = d
		}
	}
	if o.QuarantineAfter == 0 {
		o.QuarantineAfter = 6
	}
	if o.HealthMisses == 0 {
		o.HealthMisses = 3
	}
	if o.OnUp == nil {
		o.OnUp = func() {}
	}
	if o.OnDown == nil {
		o.OnDown = func(string, Cause) {}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Reaper == nil {
		o.Reaper, _ = StartReaper(nil, "")
	}
	return o
}

// Status is what a provider's host is doing.
type Status string

// The statuses.
const (
	Starting    Status = "starting"
	Up          Status = "up"
	Restarting  Status = "restarting"  // waiting to start again
	Quarantined Status = "quarantined" // the same, at a slow pace
	Stopped     Status = "stopped"
)

// State is a snapshot of a provider's host.
type State struct {
	Status   Status
	Since    time.Time
	Pid      int    // of a plugin that runs
	Restarts int    // starts after the first
	LastErr  string // why it last ended or failed to start; empty if it never did
	Cause    Cause  // of LastErr
	// Problems are what the host does not allow of PluginSpec.Process, each with
	// its key and why.
	Problems []string
}

// Plugin hosts one plugin. Make it with NewPlugin and call Run once; Prepare
// may come before.
type Plugin struct {
	provider *mux.Provider
	spec     PluginSpec
	opts     Options
	log      *slog.Logger
	settled  chan struct{}
	prepared *child // by Prepare, until Run takes it
	retired  retirement

	mu    sync.Mutex
	state State
}

// NewPlugin makes the host of a plugin that is not started yet.
func NewPlugin(p *mux.Provider, spec PluginSpec, opts Options) *Plugin {
	if spec.StartTimeout == 0 {
		spec.StartTimeout = DefaultStartTimeout
	}
	opts = opts.withDefaults()
	return &Plugin{
		provider: p, spec: spec, opts: opts, log: opts.Log.With("provider", p.Name()),
		settled: make(chan struct{}), state: State{Status: Starting, Since: time.Now()},
	}
}

// Prepare starts the plugin, asks what it wants and whether it is well, so that
// Mux.SetProviders puts it in place; after that Run must be called, or else
// Discard. When it fails, nothing is left of it.
func (h *Plugin) Prepare(ctx context.Context) (declared []mux.HookSpec, err error) {
	c, err := startChild(ctx, h.provider, h.spec, h.opts.Reaper.nextID(h.provider.Name()), h.opts.TempDir, h.log)
	if err != nil {
		return nil, err
	}
	if err = h.load(ctx, c); err == nil {
		if err = c.healthy(ctx, h.opts.HealthTimeout); err != nil {
			err = fmt.Errorf("it started, but its health check failed: %w", err)
		}
	}
	if err == nil {
		err = h.provider.StartWith(c.link)
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	h.prepared = c
	return c.declared, nil
}

// Discard stops what Prepare started.
func (h *Plugin) Discard() {
	if h.prepared != nil {
		h.prepared.stop(h.opts.Version, h.opts.StopStep)
	}
}

// Retire has Run end once another connection has taken over from the plugin's and
// nothing is under way over it; from now on it is not started again.
func (h *Plugin) Retire() { h.retired.retire() }

// Settled is closed when the first start has succeeded or failed.
func (h *Plugin) Settled() <-chan struct{} { return h.settled }

// State is what the host is doing now.
func (h *Plugin) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

func (h *Plugin) set(status Status, change func(*State)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state.Status != status {
		h.state.Status, h.state.Since = status, time.Now()
	}
	if change != nil {
		change(&h.state)
	}
}

// Run keeps the plugin running until ctx ends, then stops it and returns when
// its process is gone.
func (h *Plugin) Run(ctx context.Context) {
	starting, cancel := h.retired.context(ctx)
	defer cancel()
	delays := newDelays(h.opts)
	unstable := 0
	for run := 0; starting.Err() == nil || h.prepared != nil; run++ {
		h.set(Starting, func(s *State) { s.Restarts = run })
		upSince, err := h.once(ctx, starting)
		if starting.Err() != nil {
			if err != nil && ctx.Err() == nil && !upSince.IsZero() {
				h.log.Warn("the plugin's old process ended before it had finished", "error", err)
			}
			break
		}
		if !upSince.IsZero() && time.Since(upSince) >= h.opts.StableAfter {
			unstable = 0
			delays.Reset()
		}
		unstable++
		delay, status := delays.NextBackOff(), Restarting
		if unstable >= h.opts.QuarantineAfter {
			status, delay = Quarantined, jitter(h.opts.QuarantinePace)
		}
		h.set(status, func(s *State) { s.Pid, s.LastErr, s.Cause = 0, err.Error(), causeOf(err) })
		h.opts.OnDown(h.provider.Name(), causeOf(err))
		oneLine := strings.ReplaceAll(err.Error(), "\n  |", " |")
		h.log.Error("plugin is down", "error", oneLine, "now", string(status), "next_start_in", delay.Round(time.Millisecond), "failed_runs", unstable)
		h.settle() // last, so that who waits for it sees all of the above
		select {
		case <-time.After(delay):
		case <-starting.Done():
		}
	}
	h.settle()
	h.set(Stopped, func(s *State) { s.Pid = 0 })
}

// settle is called by Run's goroutine only.
func (h *Plugin) settle() {
	select {
	case <-h.settled:
	default:
		close(h.settled)
	}
}

// newDelays are growing, jittered pauses between starts.
func newDelays(o Options) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = o.FirstDelay, o.MaxDelay, 2
	return b
}

// jitter is d, give or take a fifth, so that plugins do not restart in step.
func jitter(d time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.RandomizationFactor = d, 0.2
	return b.NextBackOff()
}

// once runs the plugin from start to end, and says since when it was up, if ever,
// and why it ended. It is not started any more once starting has ended.
func (h *Plugin) once(ctx, starting context.Context) (upSince time.Time, err error) {
	c := h.prepared
	if h.prepared = nil; c == nil {
		c, err = startChild(starting, h.provider, h.spec, h.opts.Reaper.nextID(h.provider.Name()), h.opts.TempDir, h.log)
		if err != nil {
			return upSince, fmt.Errorf("start: %w", err)
		}
		if err = h.load(starting, c); err == nil {
			err = h.retired.unless(c.link.Up)
		}
		if err != nil {
			c.kill()
			return upSince, causedBy(CauseStart, fmt.Errorf("start: %w", err))
		}
	}
	upSince = time.Now()
	h.set(Up, func(s *State) { s.Pid, s.Problems = c.proc.pid(), c.proc.limits.problems })
	h.log.Info("plugin is up", "pid", c.proc.pid(), "protocol", c.client.NegotiatedVersion(), "hooks", describe(c.declared))
	h.opts.OnUp()
	sctx, cancel := context.WithTimeout(ctx, h.spec.StartTimeout)
	showBrokers(sctx, c.conn, h.opts.Mux)
	cancel()
	h.settle() // who waits for that may have a broker load at once, which would then be told of twice

	err = h.watch(ctx, c)
	c.link.Down()
	if err == nil { // no longer needed
		c.stop(h.opts.Version, h.opts.StopStep)
		h.log.Info("plugin stopped", "pid", c.proc.pid())
		return upSince, nil
	}
	c.kill()
	if c.proc.ranOut { // which may show as a hang first
		err = h.ended(c)
	}
	return upSince, err
}

// load asks what the plugin wants and makes its link.
func (h *Plugin) load(ctx context.Context, c *child) (err error) {
	lctx, cancel := context.WithTimeout(ctx, h.spec.StartTimeout)
	defer cancel()
	if c.declared, err = load(lctx, c.conn, h.opts.Version); err != nil {
		select {
		case <-c.proc.exited:
			return h.ended(c)
		default:
			return err
		}
	}
	c.link = h.provider.NewLink(c.conn, c.declared)
	return nil
}

// describe is the hooks as a log attribute.
func describe(wants []mux.HookSpec) string {
	var names []string
	for _, w := range wants {
		names = append(names, w.Hook.String())
	}
	return strings.Join(names, " ")
}

// watch returns nil when ctx ends or the plugin is no longer needed, and else why
// it is done for.
func (h *Plugin) watch(ctx context.Context, c *child) error {
	tick := time.NewTicker(h.opts.HealthEvery)
	defer tick.Stop()
	misses := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.link.Settled():
			return nil
		case <-c.proc.exited:
			return h.ended(c)
		case <-c.broken:
			return h.brokenBy(c)
		case <-tick.C:
		}
		if err := c.proc.limits.overLimit(c.proc.pid()); err != nil {
			return causedBy(CauseMemory, err)
		}
		err := c.healthy(ctx, h.opts.HealthTimeout)
		if err == nil || ctx.Err() != nil {
			misses = 0
			continue
		}
		select {
		case <-c.proc.exited:
			return h.ended(c)
		default:
		}
		if misses++; misses >= h.opts.HealthMisses {
			return causedBy(CauseHang, fmt.Errorf("it hung: %d health checks in a row failed (%w), so its process group was killed", misses, err))
		}
	}
}

// brokenBy says why a plugin whose streams have ended is done for. Mostly that
// is because its process has, which takes a moment to be known.
func (h *Plugin) brokenBy(c *child) error {
	if c.exitsWithin(h.opts.HealthTimeout) {
		return h.ended(c)
	}
	return causedBy(CauseHang, fmt.Errorf("it cannot be talked to any more, so its process group was killed: %w", c.conn.(*streamConn).brokeBy))
}

func (h *Plugin) ended(c *child) error {
	cause, how := CauseCrash, c.proc.how()
	if c.proc.ranOut {
		cause = CauseMemory
	}
	if strings.HasSuffix(how, "SIGKILL") { // from outside: what it printed is not the cause
		return causedBy(cause, errors.New("it "+how))
	}
	return causedBy(cause, errors.New("it "+how+c.proc.lastWords(8)))
}
