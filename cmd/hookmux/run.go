package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
)

func newRun() *cobra.Command { return newRunWith(func(*app.Options) {}) }

// newRunWith is run with other Options of the App.
func newRunWith(change func(*app.Options)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start the providers and serve EMQX",
		Long: `run starts the providers and serves EMQX until SIGTERM or SIGINT (Ctrl-C); then
it delivers the notifications that wait, stops the plugins and exits with
status 0. A second signal ends it at once. It logs to standard error.

SIGHUP, as "hookmux reload", has it read the config anew: what changed is put in
place while events go on, and only providers whose process changed get a new one.
If any of it fails, nothing has changed, and the log says why.

Start it before EMQX: while EMQX has never reached its ExHook server, it lets
every client in.`,
		Args: onlyConfig,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, path, err := loadConfig(*file)
		if err != nil {
			return err
		}
		stderr := newPatientWriter(cmd.ErrOrStderr())
		defer stderr.Close()
		level := new(slog.LevelVar)
		log := newLogger(cfg.Log, level, stderr)
		untune := func() {}
		defer func() { untune() }()
		var warned warner
		defer warned.wait()
		var told sync.WaitGroup
		defer told.Wait()
		ctx, stop := untilSignal()
		defer stop()
		var a *app.App
		systemd := sync.OnceFunc(func() { told.Go(func() { tellSystemd(ctx, a, log) }) })
		opts := app.Options{
			Log: log, Version: shortVersion(), Reaper: reaperCommand(),
			ConfigPath: path, Admin: defaultAdmins(path)[0], State: defaultState(path), Spool: defaultSpool(path),
			Load: func() (*config.Config, error) {
				cfg, _, err := loadConfig(path)
				return cfg, err
			},
			OnConfig: func(cfg *config.Config) {
				level.Set(cfg.Log.Level)
				untune()
				untune = app.TuneGC(cfg)
				warned.about(ctx, a, cfg, log)
				systemd()
			},
		}
		change(&opts)
		a = app.New(cfg, opts)
		level.Set(cfg.Log.Level)
		log.Info("hookmux starts", "version", shortVersion(), "config", path)
		defer onHangup(func() { _, _ = a.Reload(ctx) })() // which logs what came of it
		return a.Run(ctx)
	}
	return cmd
}

// untilSignal is a context that ends with the first SIGTERM or SIGINT. The
// second has its usual effect.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// onHangup calls f for every SIGHUP, which would else end the process without a
// word, until stop is called.
func onHangup(f func()) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangups {
			f()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

const reaperName = "reaper"

// newReaper is what hookmux starts beside itself; see host.Reaper.
func newReaper() *cobra.Command {
	return &cobra.Command{
		Use:    reaperName + " INSTANCE FOLDER",
		Short:  "End an instance's plugins once standard input ends; hookmux starts this itself",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		Run:    func(cmd *cobra.Command, args []string) { host.Reap(cmd.InOrStdin(), args[0], args[1]) },
	}
}
