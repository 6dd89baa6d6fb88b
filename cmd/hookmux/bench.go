package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/cmd/hookmux/internal/bench"
	"github.com/hookmux/hookmux/mux/app"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure on this machine what hookmux costs",
		Long: `bench measures, with real processes on this machine, what an event costs behind
hookmux: against the same handler called directly, one after another as EMQX
calls several servers, with a slow plugin and with one that is killed again and
again. It takes two to three minutes, and prints a table and one line for each
ratio, "ratio NAME VALUE".

What is compared runs in turns, and a ratio is the median of the pairs, so that
it means something on a busy machine, too. Each plugin counts its events; a
measurement in which one is missing or counted twice gives no ratio, and the
exit status is then 1. A ratio that misses its mark is no error.

With --plugin it measures your plugin in place of the built-in one, which does
nothing. It must answer at least one notification or one of message.publish,
client.authorize and client.authenticate.

Names for --only: ` + strings.Join(bench.Names(), ", ") + `.`,
		Example: `  hookmux bench
  hookmux bench --only sync1_cpu,sync1_p50 --pairs 9
  hookmux bench --plugin "./login -v" --plugin-config login.json
  hookmux bench --growth --plots plots    also how it grows, with a plot of each`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	var o bench.Options
	f.StringSliceVar(&o.Only, "only", nil, "measure only these `NAMES`, separated by commas")
	f.IntVar(&o.Pairs, "pairs", 5, "how many pairs a ratio is the median of")
	f.DurationVar(&o.Duration, "duration", time.Second, "of each measurement")
	f.IntVar(&o.Callers, "callers", 64, "how many call at the same time")
	f.IntVar(&o.Payload, "payload", 256, "`bytes` of a message")
	plugin := f.String("plugin", "", "`COMMAND` of a plugin, with its arguments, to measure in place of the built-in one")
	pluginConfig := f.String("plugin-config", "", "JSON `file` with the plugin's config")
	f.StringVar(&o.Postgres, "postgres", "", "`URL` of a PostgreSQL database, for forward_sql_throughput: two tables, hookmux_bench_…, are made there and dropped")
	f.IntVar(&o.Protocol, "protocol", 0, "app protocol: 1 or 2 (default the highest that the plugin speaks)")
	f.BoolVar(&o.Growth, "growth", false, "measure also throughput against plugins, callers, payload and clients (some minutes)")
	f.StringVar(&o.Plots, "plots", "", "write the plots of --growth to this `folder`, as SVG")
	f.StringVar(&o.Profiles, "cpuprofile", "", "write CPU profiles of hookmux and its plugins to this `folder`; go tool pprof reads them")
	f.BoolVar(&o.JSON, "json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.Self, o.Version = []string{exe}, shortVersion()
		o.Out, o.Progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
		o.Plugin = strings.Fields(*plugin)
		if *pluginConfig != "" {
			if o.PluginConfig, err = readJSON(*pluginConfig); err != nil {
				return err
			}
		}
		ctx, stop := untilSignal()
		defer stop()
		return bench.Run(ctx, o)
	}
	return cmd
}

func readJSON(path string) (json.RawMessage, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("%s is no JSON object: %w", path, err)
	}
	return data, nil
}

// newBenchParts are the processes that bench starts, besides run.
func newBenchParts() []*cobra.Command {
	plugin := &cobra.Command{
		Use: "bench-plugin", Short: "The built-in plugin of bench, which starts it itself", Hidden: true, Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { bench.ServePlugin() },
	}
	direct := &cobra.Command{
		Use: "bench-direct COUNTERS", Short: "The direct server of bench, which starts it itself", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.ServeDirect(args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	// Profiling is not in run itself: there is nothing to be switched on by
	// mistake in what is in service.
	var file string
	var blind bool
	profiled := newRunWith(func(o *app.Options) { o.Unwatched = blind })
	profiled.Use, profiled.Short, profiled.Hidden = "bench-run", "run with a CPU profile or unwatched; bench starts it itself", true
	profiled.Flags().StringVar(&file, "cpuprofile", "", "where to")
	profiled.Flags().BoolVar(&blind, "unwatched", false, "without metrics and the trail")
	run := profiled.RunE
	profiled.RunE = func(cmd *cobra.Command, args []string) error {
		if file == "" {
			return run(cmd, args)
		}
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		err = run(cmd, args)
		pprof.StopCPUProfile()
		return errors.Join(err, f.Close())
	}
	return []*cobra.Command{plugin, direct, profiled}
}
