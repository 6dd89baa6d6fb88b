package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/secure"
)

// unit is one provider of the config: the engine's side of it and its host.
// Units are not changed but replaced.
type unit struct {
	cfg      *config.Provider
	process  string // processID of cfg
	provider *mux.Provider
	host     providerHost
	tls      *secure.Source     // a remote's files; nil: none
	stop     context.CancelFunc // ends the host
	stopped  <-chan struct{}    // closed when it has ended
	off      bool               // an operator has disabled it: its host has ended
	endDrain context.CancelFunc // not nil: it is being drained, until this is called
}

// providerHost is a plugin's or a remote's host.
type providerHost interface {
	Prepare(ctx context.Context) (declared []mux.HookSpec, err error)
	Discard()
	Run(ctx context.Context)
	Retire()
	Settled() <-chan struct{}
	State() host.State
}

// newUnit makes a unit whose host does not run yet.
func (a *App) newUnit(c *config.Provider, p *mux.Provider) (*unit, error) {
	h, files, err := newHost(c, p, a.hostOpts)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", c.Name, err)
	}
	return &unit{cfg: c, process: processID(c), provider: p, host: h, tls: files}, nil
}

func newHost(c *config.Provider, p *mux.Provider, opts host.Options) (providerHost, *secure.Source, error) {
	if c.IsRemote() {
		return newRemote(c, p, opts)
	}
	return host.NewPlugin(p, host.PluginSpec{
		Command:      c.Command,
		Dir:          c.Dir,
		Env:          c.Env,
		Config:       c.Config,
		ConfigAt:     c.ConfigAt,
		StartTimeout: c.StartTimeout,
		Process:      host.ProcessSpec(c.Process),
	}, opts), nil, nil
}

// run starts the unit's host.
func (a *App) run(u *unit) {
	a.metrics.Expect(u.cfg.Name, causes())
	ctx, cancel := context.WithCancel(a.hosts)
	stopped := make(chan struct{})
	u.stop, u.stopped = cancel, stopped
	a.running.Go(func() {
		defer close(stopped)
		defer cancel()
		u.host.Run(ctx)
	})
}

// processID is a hash of all that a provider's process or connection is made of:
// everything but its mux.Spec, which can change while it runs.
func processID(c *config.Provider) string {
	p := *c
	p.Spec = mux.Spec{Name: c.Name}
	sum := sha256.Sum256(p.Encode())
	return hex.EncodeToString(sum[:])
}

func providersOf(units []*unit) (out []*mux.Provider) {
	for _, u := range units {
		out = append(out, u.provider)
	}
	return out
}

// ProviderState is a snapshot of one provider.
type ProviderState struct {
	Name string
	host.State
	Stats *mux.Stats
	Wants []mux.HookSpec
	Known bool // Wants is what it declared or the config says, not an assumption
}

// Providers are the providers in chain order.
func (a *App) Providers() []ProviderState {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []ProviderState
	for _, u := range a.units {
		s := ProviderState{Name: u.provider.Name(), State: u.host.State(), Stats: u.provider.Stats()}
		s.Wants, s.Known = u.provider.Wants()
		out = append(out, s)
	}
	return out
}
