// Package app puts hookmux together: it makes the engine, the providers' hosts
// and the server from a config, starts them, and stops them in reverse.
//
// Use:
//
//	a, err := app.New(cfg, app.Options{Log: log})
//	err = a.Start()
//	defer a.Stop()
//
// Start listens before the plugins have started: a broker that connects early
// is kept waiting, not refused, because EMQX lets everybody in while nobody
// answers its first call.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/server"
)

// Options are what does not come from the config.
type Options struct {
	Log     *slog.Logger
	Version string
	// Reaper is the command that calls host.Reap, without the instance's id.
	// Empty: nothing outlives us to end grandchildren of a hookmux that was killed.
	Reaper []string
	// Host tunes supervision, for tests. Mux, Log, Version, TempDir and Reaper
	// are set here.
	Host host.Options
	// DrainTimeout bounds the delivery of waiting notifications at the end.
	// Default 5 s.
	DrainTimeout time.Duration
}

// providerHost is a plugin's or a remote's host.
type providerHost interface {
	Run(ctx context.Context)
	Settled() <-chan struct{}
	State() host.State
}

// App is a whole hookmux. It lives from Start to Stop, once.
type App struct {
	cfg  *config.Config
	opts Options
	log  *slog.Logger

	mux       *mux.Mux
	providers []*mux.Provider
	hosts     []providerHost
	server    *server.Server
	listener  net.Listener

	serveErr chan error
	undo     []func() // what Stop does, last first
}

// New makes an App and starts nothing.
func New(cfg *config.Config, opts Options) *App {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.DrainTimeout == 0 {
		opts.DrainTimeout = 5 * time.Second
	}
	return &App{cfg: cfg, opts: opts, log: opts.Log, serveErr: make(chan error, 1)}
}

// Start listens and starts the providers. When it fails, nothing is left of
// it; else Stop must be called.
func (a *App) Start() (err error) {
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	if a.listener, err = net.Listen("tcp", a.cfg.Listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen: %s is taken, perhaps by another hookmux (address already in use)", a.cfg.Listen)
		}
		return fmt.Errorf("listen: %w", err)
	}
	a.undo = append(a.undo, func() { _ = a.listener.Close() })

	a.mux = mux.New(mux.Options{Timeout: a.cfg.Timeout, Defaults: a.cfg.Default, Strategy: a.cfg.Strategy, Log: a.log})
	if err := a.makeHosts(); err != nil {
		return err
	}
	a.mux.SetProviders(a.providers)

	a.server = server.New(a.mux)
	go func() { a.serveErr <- a.server.Serve(a.listener) }()
	a.undo = append(a.undo, func() {
		// No call under way takes longer, so none is cut off.
		ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Timeout+time.Second)
		defer cancel()
		a.server.Stop(ctx)
	})
	a.log.Info("listening for brokers", "address", a.listener.Addr().String(), "providers", len(a.providers))
	return nil
}

// makeHosts starts a host for each provider, and has the mux wait until each
// has had its first chance.
func (a *App) makeHosts() error {
	opts, err := a.hostOptions()
	if err != nil {
		return err
	}
	for i := range a.cfg.Providers {
		c := &a.cfg.Providers[i]
		p := mux.NewProvider(c.Spec, a.log)
		a.undo = append(a.undo, func() { closeNow(p) })
		h, err := newHost(c, p, opts)
		if err != nil {
			return fmt.Errorf("provider %s: %w", c.Name, err)
		}
		a.providers = append(a.providers, p)
		a.hosts = append(a.hosts, h)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, h := range a.hosts {
		running.Go(func() { h.Run(ctx) })
	}
	running.Go(func() {
		for _, h := range a.hosts {
			<-h.Settled()
		}
		a.mux.SetReady()
	})
	a.undo = append(a.undo, func() {
		a.drain()
		cancel()
		running.Wait()
	})
	return nil
}

// hostOptions starts the reaper and makes the folder for the plugins' sockets,
// which nobody else may enter.
func (a *App) hostOptions() (host.Options, error) {
	opts := a.opts.Host
	opts.Mux, opts.Log, opts.Version = a.mux, a.log, a.opts.Version
	var err error
	if opts.TempDir, err = host.TempDir(); err != nil {
		return opts, fmt.Errorf("make a folder for the plugins' sockets: %w", err)
	}
	a.undo = append(a.undo, func() { _ = os.RemoveAll(opts.TempDir) })
	if opts.Reaper, err = host.StartReaper(a.opts.Reaper, opts.TempDir); err != nil {
		return opts, err
	}
	a.undo = append(a.undo, opts.Reaper.Close)
	return opts, nil
}

func newHost(c *config.Provider, p *mux.Provider, opts host.Options) (providerHost, error) {
	if c.IsRemote() {
		return host.NewRemote(p, c.URL, opts)
	}
	return host.NewPlugin(p, host.PluginSpec{
		Command:      c.Command,
		Dir:          c.Dir,
		Env:          c.Env,
		Config:       c.Config,
		StartTimeout: c.StartTimeout,
		Process:      host.ProcessSpec(c.Process),
	}, opts), nil
}

// drain delivers what waits in the lanes, as far as the time reaches.
func (a *App) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), a.opts.DrainTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range a.providers {
		all.Go(func() { p.Drain(ctx) })
	}
	all.Wait()
}

func closeNow(p *mux.Provider) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.Close(ctx)
}

// Stop takes no more events, delivers the waiting notifications, takes leave of
// the providers and ends the plugins, each on a clock. It may be called once.
func (a *App) Stop() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		a.undo[i]()
	}
	a.undo = nil
}

// Run starts, serves until ctx ends, and stops.
func (a *App) Run(ctx context.Context) error {
	if err := a.Start(); err != nil {
		return err
	}
	defer a.Stop()
	select {
	case <-ctx.Done():
		a.log.Info("stopping")
		return nil
	case err := <-a.serveErr:
		if err == nil {
			err = errors.New("the server ended by itself")
		}
		return err
	}
}

// Addr is where brokers connect, once started.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Ready is closed when every provider has had its first chance to start.
func (a *App) Ready() <-chan struct{} { return a.mux.Ready() }

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
	var out []ProviderState
	for i, p := range a.providers {
		s := ProviderState{Name: p.Name(), State: a.hosts[i].State(), Stats: p.Stats()}
		s.Wants, s.Known = p.Wants()
		out = append(out, s)
	}
	return out
}
