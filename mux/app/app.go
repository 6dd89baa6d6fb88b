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
//
// Reload and Restart change what runs without a loss: new processes are started
// beside the old ones, everything is put in place at once, and the old ones come to
// their end. When any of it fails, nothing has changed.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/observe"
	"github.com/hookmux/hookmux/mux/secure"
	"github.com/hookmux/hookmux/mux/server"
	"github.com/hookmux/hookmux/mux/spool"
	"github.com/hookmux/hookmux/mux/trail"
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
	// Load reads the config anew, for Reload.
	Load func() (*config.Config, error)
	// OnConfig is told of the config that Start and each reload put in place, for
	// what is not App's business: the log's level, the garbage collector.
	OnConfig func(*config.Config)
	// Admin and State are the paths to use when the config names none; "" for
	// neither. What cannot be had there is done without, with a warning.
	Admin, State string
	// Spool is the directory for what is delivered durably, when the config names none.
	Spool string
	// ConfigPath is shown to operators.
	ConfigPath string
	// Unwatched has nothing counted or remembered of events: neither metrics nor the
	// trail. It is for measuring what they cost.
	Unwatched bool
	// DrainTimeout bounds the delivery of waiting notifications at the end.
	// Default 5 s.
	DrainTimeout time.Duration
}

// App is a whole hookmux. It lives from Start to Stop, once.
type App struct {
	opts Options
	log  *slog.Logger

	trail   *trail.Trail
	metrics *observe.Metrics
	tracing *observe.Tracing // nil: none

	// From Start to Stop.
	since    time.Time
	mux      *mux.Mux
	hostOpts host.Options
	server   *server.Server
	tls      atomic.Pointer[brokerTLS]
	admin    *admin.Server  // nil: there is none
	adminTLS *secure.Source // nil: it has none
	listener net.Listener
	serveErr chan error
	started  chan struct{}   // closed when Start is through
	life     context.Context // ends when Stop begins, and any reload with it
	end      context.CancelFunc
	hosts    context.Context // ends when the plugins are to stop
	running  sync.WaitGroup  // hosts, and providers that are being removed
	undo     []func()        // what Stop does, last first

	state       *state // nil: nothing is remembered
	stateFailed sync.Once

	// turn is held by who changes what follows, one after another; Stop keeps it.
	turn     chan struct{}
	endWatch context.CancelFunc         // nil: the config is not watched
	rewatch  chan struct{}              // has the watch look at what the config refers to now
	leaving  map[string]<-chan struct{} // removed providers; closed when they are gone

	mu    sync.Mutex // guards what follows
	cfg   *config.Config
	units []*unit      // in chain order
	spool *spool.Spool // nil: nothing is delivered durably
}

// New makes an App and starts nothing.
func New(cfg *config.Config, opts Options) *App {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.DrainTimeout == 0 {
		opts.DrainTimeout = 5 * time.Second
	}
	if opts.OnConfig == nil {
		opts.OnConfig = func(*config.Config) {}
	}
	a := &App{
		cfg: cfg, opts: opts, log: opts.Log, trail: trail.New(cfg.Trail),
		serveErr: make(chan error, 1), started: make(chan struct{}), rewatch: make(chan struct{}, 1), turn: make(chan struct{}, 1), leaving: make(map[string]<-chan struct{}),
	}
	a.metrics = newMetrics(a)
	a.life, a.end = context.WithCancel(context.Background())
	return a
}

// Start listens and starts the providers. When it fails, nothing is left of
// it; else Stop must be called.
func (a *App) Start() (err error) {
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	a.since = time.Now()
	if a.listener, err = net.Listen("tcp", a.cfg.Listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen: %s is taken, perhaps by another hookmux (address already in use)", a.cfg.Listen)
		}
		return fmt.Errorf("listen: %w", err)
	}
	a.undo = append(a.undo, func() { _ = a.listener.Close() })
	serverOpts, err := a.serverOptions()
	if err != nil {
		return err
	}
	a.openState()
	if err := a.startTracing(); err != nil {
		return err
	}
	a.undo = append(a.undo, a.closeSpool)
	if err := a.openSpool(a.cfg); err != nil {
		return err
	}
	if err := a.startProviders(); err != nil {
		return err
	}

	a.server = server.New(a.mux, serverOpts)
	go func() { a.serveErr <- a.server.Serve(a.listener) }()
	a.undo = append(a.undo, func() {
		// No call under way takes longer, so none is cut off.
		ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Timeout+time.Second)
		defer cancel()
		a.server.Stop(ctx)
	})
	if err := a.startAdmin(); err != nil {
		return err
	}
	a.opts.OnConfig(a.cfg)
	a.setWatch(a.cfg)
	close(a.started)
	a.log.Info("listening for brokers", "address", a.listener.Addr().String(), "providers", len(a.units))
	return nil
}

// startProviders starts a host for each provider, and has the mux wait until
// each has had its first chance.
func (a *App) startProviders() error {
	a.mux = mux.New(a.muxOptions(a.cfg))
	if err := a.makeHostOptions(); err != nil {
		return err
	}
	var cancel context.CancelFunc
	a.hosts, cancel = context.WithCancel(context.Background())
	a.undo = append(a.undo, func() {
		a.drain()
		cancel()
		a.running.Wait()
		for _, u := range a.units {
			closeNow(u.provider)
		}
	})
	for i := range a.cfg.Providers {
		u, err := a.newUnit(&a.cfg.Providers[i], mux.NewProvider(a.cfg.Providers[i].Spec, a.log))
		if err != nil {
			return err
		}
		if a.state != nil {
			if a.state.recall(u) {
				a.startOff(u)
			}
		}
		a.units = append(a.units, u)
	}
	a.mux.SetProviders(providersOf(a.units))
	var hosts []providerHost
	for _, u := range a.units {
		if !u.off {
			a.run(u)
			hosts = append(hosts, u.host)
		}
	}
	a.running.Go(func() {
		for _, h := range hosts {
			<-h.Settled()
		}
		a.mux.SetReady()
	})
	return nil
}

func (a *App) muxOptions(cfg *config.Config) mux.Options {
	opts := mux.Options{Timeout: cfg.Timeout, Defaults: cfg.Default, Strategy: cfg.Strategy, Recorder: a.recorder(), Peer: server.Peer, Log: a.log}
	if s := a.openedSpool(); s != nil {
		opts.Spool = s
	}
	return opts
}

// makeHostOptions starts the reaper and makes the folder for the plugins'
// sockets, which nobody else may enter.
func (a *App) makeHostOptions() (err error) {
	opts := a.opts.Host
	opts.Mux, opts.Log, opts.Version, opts.OnUp, opts.OnDown = a.mux, a.log, a.opts.Version, a.noteState, a.wentDown
	if opts.TempDir, err = host.TempDir(); err != nil {
		return fmt.Errorf("make a folder for the plugins' sockets: %w", err)
	}
	a.undo = append(a.undo, func() { _ = os.RemoveAll(opts.TempDir) })
	if opts.Reaper, err = host.StartReaper(a.opts.Reaper, opts.TempDir); err != nil {
		return err
	}
	a.undo = append(a.undo, opts.Reaper.Close)
	a.hostOpts = opts
	return nil
}

// drain delivers what waits in the lanes, as far as the time reaches.
func (a *App) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), a.opts.DrainTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, u := range a.units {
		all.Go(func() { u.provider.Drain(ctx) })
	}
	all.Wait()
}

func closeNow(p *mux.Provider) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.Close(ctx)
}

// Stop takes no more events, delivers the waiting notifications, takes leave of
// the providers and ends the plugins, each on a clock. A reload under way is broken
// off. It may be called once.
func (a *App) Stop() {
	a.end()
	a.turn <- struct{}{}
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

// Config is the config that is in place. Nobody may change it.
func (a *App) Config() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cfg
}

// Ready is closed when every provider has had its first chance to start.
func (a *App) Ready() <-chan struct{} { return a.mux.Ready() }
