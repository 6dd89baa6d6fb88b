package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/devbroker"
	"github.com/hookmux/hookmux/mux/host"
)

//go:embed demo.yaml
var demoConfig string

// demoPlugins are the providers of demo.yaml and what the reader is told of them.
var demoPlugins = []struct{ name, job string }{
	{"login", "team Accounts: who may log in"},
	{"topics", "team Data: who may use which topic, and what is in it"},
	{"presence", "team Operations: writes down who comes and goes"},
}

const (
	// demoPatience bounds every wait; a claim that needs it all is wrong.
	demoPatience = 10 * time.Second
	// demoLimit bounds the whole story, which takes about a second.
	demoLimit = time.Minute
)

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show what hookmux does, with a broker and plugins of its own",
		Long: `demo starts an MQTT broker that calls ExHook as EMQX does, hookmux with the
example plugins login, topics and presence, and a few MQTT clients. It tells what
they did, what happened, who decided that and why, and checks every word of it.
Then it stays up for clients of your own, until Ctrl-C.

It exits with status 1 if something that it shows did not come true.`,
		Example: `  hookmux demo
  hookmux demo --mqtt 127.0.0.1:0    on a free port
  hookmux demo --once                only the story, then the end`,
		Args: cobra.NoArgs,
	}
	once := cmd.Flags().Bool("once", false, "end after the story")
	mqtt := cmd.Flags().String("mqtt", "127.0.0.1:1883", "`address` of the broker; port 0 is a free one")
	plugins := cmd.Flags().String("plugins", "", "`folder` of the programs login, topics and presence (default that of hookmux)")
	verbose := cmd.Flags().BoolP("verbose", "v", false, "show the log on standard error, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal()
		defer stop()
		d := &demo{out: newPage(cmd.OutOrStdout()), log: new(journal)}
		if *verbose {
			d.log.also = cmd.ErrOrStderr()
		}
		err := d.run(ctx, *mqtt, *plugins, *once)
		if err != nil && ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return cmd
}

// demo is all that a demo runs. What it starts, undo ends, last first.
type demo struct {
	out    *page
	log    *journal
	dir    string // config, log and presence file
	app    *app.App
	broker *devbroker.Broker
	undo   []func()
}

func (d *demo) run(ctx context.Context, mqtt, plugins string, once bool) (err error) {
	defer func() {
		told := d.dir != ""
		for i := len(d.undo) - 1; i >= 0; i-- {
			d.undo[i]()
		}
		switch {
		case told && err != nil && ctx.Err() == nil:
			err = fmt.Errorf("%w\nthe log is %s", err, d.path("hookmux.log"))
		case told:
			_ = os.RemoveAll(d.dir)
		}
	}()
	if plugins, err = findPlugins(plugins); err != nil {
		return err
	}
	if err := d.start(ctx, mqtt, plugins); err != nil {
		return err
	}
	d.introduce()

	story, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	if err := newStory(d).tell(story); err != nil || once {
		return err
	}
	d.log.forget()
	d.invite()
	<-ctx.Done()
	d.out.line("")
	d.out.line("Stopping: clients are disconnected, the plugins end, %s is removed.", d.dir)
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// findPlugins makes the folder of the plugins absolute, and says what is missing.
func findPlugins(dir string) (string, error) {
	var err error
	if dir == "" {
		dir, err = os.Executable()
		dir = filepath.Dir(dir)
	} else {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("look for the example plugins: %w", err)
	}
	var missing []string
	for _, p := range demoPlugins {
		if s, err := os.Stat(filepath.Join(dir, p.name)); err != nil || !s.Mode().IsRegular() {
			missing = append(missing, p.name)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("the example plugins (%s) are not in %s: run `make demo` or `make build`, or name their folder with --plugins",
			strings.Join(missing, ", "), dir)
	}
	return dir, nil
}

// start starts hookmux as a user would have it, from a file, and the broker.
func (d *demo) start(ctx context.Context, mqtt, plugins string) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "hookmux-demo-"); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	if err := writeConfig(d.path("hookmux.yaml"), plugins); err != nil {
		return fmt.Errorf("write the demo's config: %w", err)
	}
	cfg, err := config.Load(d.path("hookmux.yaml"))
	if err != nil {
		return err
	}
	file, err := os.Create(d.path("hookmux.log"))
	if err != nil {
		return fmt.Errorf("write the demo's log: %w", err)
	}
	d.undo = append(d.undo, func() { _ = file.Close() })
	d.log.file = file
	log := newLogger(cfg.Log, cfg.Log.Level, d.log)

	d.app = app.New(cfg, app.Options{
		Log: log, Version: shortVersion(), Reaper: reaperCommand(), ConfigPath: d.path("hookmux.yaml"),
		Load: func() (*config.Config, error) { return config.Load(d.path("hookmux.yaml")) },
	})
	if err := d.app.Start(); err != nil {
		return err
	}
	d.undo = append(d.undo, d.app.Stop)
	if err := d.waitUp(ctx); err != nil {
		return err
	}

	d.broker, err = devbroker.Start(context.WithoutCancel(ctx), devbroker.Config{
		Listen: mqtt, ExHook: "http://" + d.app.Addr(), Logger: log.With("by", "broker"),
		AuthzCache: -1, // so that every publish of the story is asked about
	})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is taken, perhaps by another MQTT broker; take a free port with --mqtt 127.0.0.1:0 (make demo ARGS=\"--mqtt 127.0.0.1:0\")", mqtt)
	case err != nil:
		return fmt.Errorf("start the broker on %s: %w", mqtt, err)
	}
	d.undo = append(d.undo, func() { _ = d.broker.Close() })
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	return d.broker.WaitLoaded(ctx)
}

// waitUp waits until every plugin has started, and says which has not.
func (d *demo) waitUp(ctx context.Context) error {
	select {
	case <-d.app.Ready():
	case <-time.After(host.DefaultStartTimeout + demoPatience):
	case <-ctx.Done():
	}
	for _, p := range d.app.Providers() {
		if p.Status != host.Up {
			return fmt.Errorf("the plugin %s did not start: %s", p.Name, p.LastErr)
		}
	}
	return ctx.Err()
}

// writeConfig fills in where the plugins are; the rest of demo.yaml is as it is.
func writeConfig(path, plugins string) error {
	t, err := template.New("demo.yaml").Funcs(template.FuncMap{"plugin": func(name string) string {
		quoted, _ := json.Marshal(filepath.Join(plugins, name)) // a JSON string is one of YAML
		return strings.ReplaceAll(string(quoted), "${", "$${")
	}}).Parse(demoConfig)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o600) // it has passwords in it
}

func (d *demo) provider(name string) app.ProviderState {
	for _, p := range d.app.Providers() {
		if p.Name == name {
			return p
		}
	}
	return app.ProviderState{}
}

// introduce says what is running.
func (d *demo) introduce() {
	o := d.out
	o.line("%s", o.bold("Three teams, three plugins, one broker"))
	o.line("")
	row := func(what, where, does string) { o.line("  %-10s %-17s %s", what, where, does) }
	row("broker", d.broker.Addr(), "takes MQTT clients, and calls ExHook as EMQX 5.10 does")
	row("hookmux", d.app.Addr(), "is the broker's one ExHook server, asks the plugins and merges")
	for _, p := range demoPlugins {
		row("  "+p.name, fmt.Sprintf("pid %d", d.provider(p.name).Pid), p.job)
	}
	row("config", d.path("hookmux.yaml"), "")
	row("log", d.path("hookmux.log"), "")
	o.line("")
}

// invite shows what the reader can try. Each line works as it is pasted, so
// what there is to say about it stands above it.
func (d *demo) invite() {
	o := d.out
	ip, port, _ := net.SplitHostPort(d.broker.Addr())
	at := " -h " + ip
	if port != "1883" {
		at += " -p " + port
	}
	hookmux, with := "hookmux", " -c "+shellQuote(d.path("hookmux.yaml"))
	if exe, err := os.Executable(); err == nil {
		hookmux = shellQuote(exe)
	}
	o.line("")
	o.line("%s", o.bold("It stays up. Try this in other terminals (mosquitto-clients):"))
	for _, try := range []struct{ what, command string }{
		{"alice, who may read everything; leave it running", "mosquitto_sub" + at + " -u alice -P wonderland -v -t 'sensors/#'"},
		{"arrives with its unit", "mosquitto_pub" + at + " -u bob -P builder -t sensors/attic/raw -m 19"},
		{"never arrives", "mosquitto_pub" + at + " -u bob -P builder -t sensors/attic/log -m 'password=1234'"},
		{"refused: not bob's topic", "mosquitto_pub" + at + " -V 5 -q 1 -u bob -P builder -t admin/restart -m now"},
		{"refused: wrong password", "mosquitto_pub" + at + " -u alice -P guess -t sensors/attic/raw -m 19"},
		{"why was that refused?", hookmux + " explain" + with},
		{"who is up, and what is wrong; also tail, providers, reload and others", hookmux + " status" + with},
		{"crash a plugin, and see it come back", fmt.Sprintf("kill -9 %d; tail -f %s", d.provider("topics").Pid, shellQuote(d.path("hookmux.log")))},
	} {
		o.line("  %s", o.dim(try.what))
		o.line("    %s", try.command)
	}
	o.line("%s", o.bold("Ctrl-C ends everything."))
}

func shellQuote(s string) string {
	if !strings.ContainsAny(s, " \t'\"\\$&;|<>()*?[]#~`!{}") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
