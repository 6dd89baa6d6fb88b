// Fleet shows the plugins that hookmux brings at work together: a thousand simulated
// devices log in, publish, come back and are refused, while their logins are checked
// against a database, and who was online and every message is stored in it. At the end
// it asks the database whether all of it is there, each message exactly once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// options are how large the fleet is and where it goes.
type options struct {
	devices  int
	messages int    // of each device
	dir      string // with the databases
	programs string // the folder of hookmux and its plugins
	config   string // hookmux.yaml
	mqtt     string // where an EMQX listens; empty: a small broker is started
	kill     bool   // kill plugins meanwhile
	quiet    bool   // no progress bar
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.devices, "devices", 1000, "how many there are")
	f.IntVar(&o.messages, "messages", 20, "of each")
	f.StringVar(&o.dir, "dir", "", "`folder` for the databases, which stay there (default one that is removed)")
	f.StringVar(&o.programs, "programs", "bin", "`folder` of hookmux and its plugins, from make build")
	f.StringVar(&o.config, "config", "examples/fleet/hookmux.yaml", "hookmux's config")
	f.StringVar(&o.mqtt, "mqtt", "", "`address` of an EMQX that has this hookmux as its ExHook server (default a small broker of its own)")
	f.BoolVar(&o.kill, "kill", true, "kill plugins while the devices are at work")
	f.BoolVar(&o.quiet, "quiet", false, "no progress bar")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.devices < 2 || o.messages < 2 {
		return errors.New("at least 2 devices with 2 messages each")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "fleet-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(o.dir) }()
	}
	for _, path := range []*string{&o.dir, &o.programs, &o.config} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := makeUsers(ctx, o); err != nil {
		return err
	}
	s, err := start(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	done, err := drive(ctx, o, s, stderr)
	if err != nil {
		return err
	}
	return check(ctx, o, done, stdout)
}
