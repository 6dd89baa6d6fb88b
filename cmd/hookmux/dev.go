package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/cmd/hookmux/internal/scaffold"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/devbroker"
	"github.com/hookmux/hookmux/mux/host"
)

func newDev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Run a plugin with a broker, and restart it on every change",
		Long: `dev builds the plugin in a folder, by default this one, and runs hookmux with the
folder's hookmux.yaml and an MQTT broker that calls ExHook as EMQX does. When a file
in the folder changes, it builds anew and puts the new plugin in the old one's place,
without a client noticing. When the build or the new plugin fails, it says why, and
the old one goes on.

What it builds with follows from the folder: ` + builds() + `.
Hidden files and the folders of dependencies and build output are not watched, nor is
what hookmux and plugins write there: spool.dir, the state file, logs (*.log) and
databases (*.db, *.sqlite).

Of hookmux.yaml, listen is not used: nobody but this broker reaches hookmux. Without
spool.dir, what is delivered durably is stored in a temporary folder.`,
		Example: `  hookmux dev
  hookmux dev topic-rules --mqtt 127.0.0.1:2883
  hookmux dev --build 'make -s plugin'`,
		Args: cobra.MaximumNArgs(1),
	}
	d := &dev{}
	cmd.Flags().StringVar(&d.mqtt, "mqtt", "127.0.0.1:1883", "`address` of the broker; port 0 is a free one")
	build := cmd.Flags().String("build", "", "a shell `command` that builds the plugin")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			dir = args[0]
		}
		var err error
		if d.dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		d.out, d.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
		d.lang = scaffold.Of(d.dir)
		if *build != "" {
			d.lang = &scaffold.Language{Build: [][]string{{"sh", "-c", *build}}}
		}
		ctx, stop := untilSignal()
		defer stop()
		err = d.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return cmd
}

// builds says what each language is built with, for the help.
func builds() string {
	var out []string
	for _, l := range scaffold.Languages {
		for _, c := range l.Build {
			out = append(out, fmt.Sprintf("%s: %s", l.Sign, strings.Join(c, " ")))
		}
	}
	return strings.Join(out, "; ")
}

// dev is what a hookmux dev runs.
type dev struct {
	dir, mqtt string
	lang      *scaffold.Language // nil: there is nothing to build
	out, err  io.Writer

	written atomic.Pointer[[]string] // paths that hookmux itself writes to
	app     *app.App
	broker  *devbroker.Broker
}

func (d *dev) run(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	// Before the first build, so that no change is missed.
	changes, err := watchTree(ctx, d.dir, d.writes)
	if err != nil {
		return fmt.Errorf("watch %s: %w", d.dir, err)
	}
	for {
		if err = d.setUp(ctx, changes); err == nil {
			err = d.build(ctx)
		}
		if err == nil {
			break
		}
		fmt.Fprintf(d.out, "%v\nwaiting for a change\n", err)
		if d.next(ctx, changes) == nil {
			return ctx.Err()
		}
	}
	spool, err := os.MkdirTemp("", "hookmux-dev")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(spool) }()
	log := newLogger(cfg.Log, cfg.Log.Level, d.err)
	d.app = app.New(cfg, app.Options{Log: log, Version: shortVersion(), Reaper: reaperCommand(), Spool: spool})
	if err := d.app.Start(); err != nil {
		return err
	}
	defer d.app.Stop()
	select {
	case <-d.app.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	d.broker, err = devbroker.Start(context.WithoutCancel(ctx), devbroker.Config{
		Listen: d.mqtt, ExHook: "http://" + d.app.Addr(), Logger: log.With("by", "broker"), AuthzCache: -1,
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken, perhaps by another MQTT broker; take a free port with --mqtt 127.0.0.1:0", d.mqtt)
	}
	if err != nil {
		return fmt.Errorf("start the broker on %s: %w", d.mqtt, err)
	}
	defer func() { _ = d.broker.Close() }()
	fmt.Fprintf(d.out, "MQTT clients connect to %s. Ctrl-C ends everything.\n", d.broker.Addr())
	d.show()

	for {
		changed := d.next(ctx, changes)
		if changed == nil {
			return nil
		}
		fmt.Fprintf(d.out, "changed: %s\n", shortList(changed, 3))
		if err := d.replace(ctx); err != nil {
			fmt.Fprintf(d.out, "%v\nwhat ran before goes on\n", err)
			continue
		}
		d.show()
	}
}

// load reads the config. Nobody but our own broker is to find this hookmux.
func (d *dev) load() (*config.Config, error) {
	cfg, _, err := loadConfig(filepath.Join(d.dir, "hookmux.yaml"))
	if err != nil {
		return nil, err
	}
	cfg.Listen = "127.0.0.1:0"
	d.written.Store(&[]string{cfg.Spool.Dir, cfg.State, cfg.Admin.Listen})
	return cfg, nil
}

// writes says whether a path is hookmux's own to write to.
func (d *dev) writes(path string) bool { return slices.Contains(*d.written.Load(), path) }

// next waits for changes, until there have been none for a moment. It returns the
// names of the files, or nil when ctx has ended.
func (d *dev) next(ctx context.Context, changes <-chan change) []string {
	const moment = 150 * time.Millisecond
	var batch []change // the first of each file
	var quiet <-chan time.Time
	for {
		select {
		case c := <-changes:
			if !slices.ContainsFunc(batch, func(b change) bool { return b.path == c.path }) {
				batch = append(batch, c)
			}
			quiet = time.After(moment)
		case <-quiet:
			var names []string
			for _, c := range batch {
				if _, err := os.Lstat(c.path); err != nil && c.isNew {
					continue // an editor's temporary file, which came and went
				}
				if rel, err := filepath.Rel(d.dir, c.path); err == nil {
					c.path = rel
				}
				names = append(names, c.path)
			}
			if names != nil {
				return names
			}
			batch = nil
		case <-ctx.Done():
			return nil
		}
	}
}

// replace builds anew and puts the new plugins in the old ones' place.
func (d *dev) replace(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	if err := d.build(ctx); err != nil {
		return err
	}
	before := d.pids()
	if _, err := d.app.Apply(ctx, cfg); err != nil {
		return err
	}
	after := d.pids()
	for i := range cfg.Providers {
		p := &cfg.Providers[i]
		if pid, ran := before[p.Name]; ran && pid == after[p.Name] && !p.IsRemote() {
			// Its config is as it was, but its program may not be.
			if err := d.app.Restart(ctx, p.Name); err != nil {
				return fmt.Errorf("restart %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

func (d *dev) pids() map[string]int {
	pids := make(map[string]int)
	for _, p := range d.app.Providers() {
		pids[p.Name] = p.Pid
	}
	return pids
}

// setUp fetches what the plugin needs, once.
func (d *dev) setUp(ctx context.Context, changes <-chan change) error {
	if d.lang == nil || d.lang.Missing(d.dir) == nil {
		return nil
	}
	if err := d.commands(ctx, d.lang.Missing(d.dir)); err != nil {
		return err
	}
	for { // its own files are no reason to build twice
		select {
		case <-changes:
		case <-time.After(100 * time.Millisecond):
			return nil
		}
	}
}

func (d *dev) build(ctx context.Context) error {
	if d.lang == nil {
		return nil
	}
	return d.commands(ctx, d.lang.Build)
}

func (d *dev) commands(ctx context.Context, commands [][]string) error {
	for _, c := range commands {
		line := strings.Join(c, " ")
		start := time.Now()
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Dir = d.dir
		text, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s%s: %w", text, line, err)
		}
		fmt.Fprintf(d.out, "%s (%s)\n", line, time.Since(start).Round(10*time.Millisecond))
	}
	return nil
}

// show says how the providers are, once that is known.
func (d *dev) show() {
	settled := func(p app.ProviderState) bool { return p.Status != host.Starting }
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if all(d.app.Providers(), settled) {
			break
		}
	}
	for _, p := range d.app.Providers() {
		if p.Status != host.Up {
			fmt.Fprintf(d.out, "%s is %s: %s\n", p.Name, p.Status, p.LastErr)
			continue
		}
		var hooks []string
		for _, w := range p.Wants {
			hooks = append(hooks, w.Hook.String())
		}
		fmt.Fprintf(d.out, "%s is up, pid %d: %s\n", p.Name, p.Pid, strings.Join(hooks, " "))
	}
}

func all[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(e T) bool { return !ok(e) })
}

func shortList(names []string, most int) string {
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
