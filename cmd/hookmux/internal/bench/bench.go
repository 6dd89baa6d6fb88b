package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/hookmux/hookmux/proto/handshake"
)

// Options are what a run is to measure, and how.
type Options struct {
	// Self is this program's command line; its subcommands run, bench-run,
	// bench-plugin and bench-direct are the processes under load.
	Self []string
	// Version is printed.
	Version string
	// Only are the names to measure: ratios, "memory", "growth". Empty: all,
	// growth only if asked for.
	Only   []string
	Growth bool
	// Plots is a folder for the plots of growth; empty: none.
	Plots string
	// Profiles is a folder for CPU profiles of hookmux and of the built-in
	// plugins; empty: none.
	Profiles string

	Pairs    int           // of each ratio
	Duration time.Duration // of one measurement
	Callers  int           // that call at the same time
	Payload  int           // bytes of a message
	Protocol int           // app protocol; 0: the highest that the plugin speaks

	// Plugin is the command of the plugin to measure instead of the built-in
	// one, and PluginConfig its config.
	Plugin       []string
	PluginConfig json.RawMessage
	// Postgres is the URL of a database for two tables of the bench's own; empty: there is
	// none, and nothing is measured with it.
	Postgres string

	JSON     bool
	Out      io.Writer // the report
	Progress io.Writer // what is being done
}

// Names are what Options.Only may hold.
func Names() []string {
	var names []string
	for _, r := range ratios {
		names = append(names, r.name)
	}
	return append(names, "memory", "growth")
}

func (o *Options) check() error {
	for _, n := range o.Only {
		if !slices.Contains(Names(), n) {
			return fmt.Errorf("there is nothing to measure by the name of %q; there are %s", n, strings.Join(Names(), ", "))
		}
	}
	switch {
	case runtime.GOOS != "linux":
		return errors.New("the bench reads CPU times from Linux's /proc, and runs there only")
	case o.Pairs < 1 || o.Callers < 1 || o.Payload < 0 || o.Duration <= 0:
		return errors.New("pairs, callers and the duration must be above 0")
	case o.Payload > 4<<20-4096:
		return errors.New("a payload may have 4 MiB less 4 KiB: more is not taken by grpc-go at its defaults")
	case o.Protocol < 0 || o.Protocol > handshake.Stream:
		return fmt.Errorf("there is no app protocol %d, only 1 and 2", o.Protocol)
	}
	return nil
}

func (o *Options) wants(name string) bool {
	if len(o.Only) == 0 {
		return name != "growth" || o.Growth
	}
	return slices.Contains(o.Only, name) || name == "growth" && o.Growth
}

// Run measures and writes the report. Its error says what could not be
// measured, or was wrong; a ratio above what it should be is none.
func Run(ctx context.Context, opts Options) (err error) {
	if err := opts.check(); err != nil {
		return err
	}
	if len(opts.Plugin) > 0 {
		if opts.Plugin, err = absolute(opts.Plugin); err != nil {
			return err
		}
	}
	for _, dir := range []string{opts.Plots, opts.Profiles} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if opts.Profiles, err = profileFolder(opts.Profiles); err != nil {
		return err
	}
	// The load generator shares the machine with what it measures.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	l := &lab{opts: opts, muxes: make(map[int]*system)}
	if l.dir, err = os.MkdirTemp("", "hookmux-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(l.dir) }()
	defer l.close()

	rep := newReport(&opts)
	start := time.Now()
	errs := l.ratios(ctx, rep)
	if opts.wants("memory") && ctx.Err() == nil {
		if err := l.memory(ctx, rep); err != nil {
			errs = append(errs, fmt.Errorf("memory: %w", err))
		}
	}
	if opts.wants("growth") && ctx.Err() == nil {
		if err := l.growth(ctx, rep); err != nil {
			errs = append(errs, fmt.Errorf("growth: %w", err))
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	rep.Took, rep.Protocol = time.Since(start), max(l.protocol(), int64(opts.Protocol))
	if err := rep.write(opts.Out); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// profileFolder is absolute, since the plugins have a working directory of
// their own.
func profileFolder(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	return filepath.Abs(dir)
}

// lab is what a run shares between its measurements.
type lab struct {
	opts    Options
	dir     string
	systems int // hookmuxes started
	files   int // of counters made

	muxes   map[int]*system      // hookmux by plugins
	pures   map[int]*system      // the same with pure ones
	watched map[watching]*system // with one plugin, by who looks on
	direct  *system              // as many direct servers as were needed so far
	round4  map[bool]*system     // hookmux with four plugins, for one round
	rates   map[string]float64

	delivered map[delivered]*system // with one plugin, by its delivery
	natsURL   string                // where the next hookmux stores events; "": itself
	sql       *system               // with forward-sql
}

func (l *lab) close() {
	for _, s := range l.muxes {
		s.stop()
	}
	for _, s := range l.pures {
		s.stop()
	}
	for _, s := range l.watched {
		s.stop()
	}
	for _, s := range l.delivered {
		s.stop()
	}
	l.closePostgres()
	if l.direct != nil {
		l.direct.stop()
	}
}

// protocol is the app protocol that hookmux and the built-in plugin speak.
func (l *lab) protocol() (highest int64) {
	for _, s := range l.muxes {
		for _, c := range s.plugins {
			highest = max(highest, c.protocol.Load())
		}
	}
	return highest
}

func (l *lab) progress(format string, args ...any) {
	fmt.Fprintf(l.opts.Progress, format+"\n", args...)
}

// mux is hookmux with so many plugins, which stays up for the whole run.
func (l *lab) mux(ctx context.Context, plugins int) (*system, error) {
	if s := l.muxes[plugins]; s != nil {
		return s, nil
	}
	s, err := l.hookmux(ctx, plugins, nil)
	if err != nil {
		return nil, err
	}
	l.muxes[plugins] = s
	return s, nil
}

// directs are so many direct servers, which stay up for the whole run.
func (l *lab) directs(ctx context.Context, n int) (*system, error) {
	if l.direct == nil {
		l.direct = new(system)
	}
	for len(l.direct.servers) < n {
		l.direct.name = "direct servers"
		if err := l.addDirect(ctx, l.direct); err != nil {
			return nil, err
		}
	}
	v := l.direct.only(n)
	v.name = fmt.Sprintf("%d direct servers", n)
	return v, nil
}

// load is one of the run's settings, to be adapted.
func (l *lab) load() load {
	return load{duration: l.opts.Duration, callers: l.opts.Callers, clients: defaultClients, payload: l.opts.Payload}
}

const defaultClients = 1000
