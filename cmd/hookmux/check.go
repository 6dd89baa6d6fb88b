package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
)

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the config and the providers, and show who is asked what",
		Long: `check reads the config and reports everything that is wrong with it. Then it
starts every plugin and connects to every remote as run would, without
listening for EMQX, prints which provider is asked about which hook in which
order, and stops them again.

It exits with status 1 if the config or a provider is not right. A warning is
no error: it tells of a setup that may not do what you want.`,
		Example: `  hookmux check
  hookmux check --explain                 with timeouts, failure policies and the rest, hook by hook
  hookmux check -c new.yaml --no-start    only read the file, start nothing`,
		Args: onlyConfig,
	}
	file := configFlag(cmd)
	noStart := cmd.Flags().Bool("no-start", false, "only check the file; start and ask no provider")
	explain := cmd.Flags().Bool("explain", false, "for each hook, show also timeouts, failure policies, grants, and how the answers become one")
	verbose := cmd.Flags().BoolP("verbose", "v", false, "show what hookmux and the plugins log meanwhile")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, path, err := loadConfig(*file)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s: the file is right, with %s\n\n", path, plural(len(cfg.Providers), "provider"))
		c := &checkup{cfg: cfg, started: !*noStart}
		if *noStart {
			c.fromConfig()
		} else {
			log := slog.New(slog.DiscardHandler)
			if *verbose {
				log = newLogger(cfg.Log, cfg.Log.Level, cmd.ErrOrStderr())
			}
			if err := c.start(log); err != nil {
				return err
			}
		}
		c.printProviders(out)
		c.printHooks(out, *explain)
		for _, w := range append(c.warnings(), c.hints()...) {
			fmt.Fprintf(out, "\nwarning: %s\n", w)
		}
		if c.down > 0 {
			return fmt.Errorf("%s not right, see above", plural(c.down, "provider"))
		}
		return nil
	}
	return cmd
}

// checkup is what check finds out.
type checkup struct {
	cfg     *config.Config
	started bool // the providers were asked, not only the config
	lines   []string
	wants   [][]mux.HookSpec // of each provider
	known   []bool           // whether wants is what the provider will be asked
	down    int

	problems []string // what the host does not allow
}

func (c *checkup) fromConfig() {
	for i := range c.cfg.Providers {
		p := &c.cfg.Providers[i]
		c.lines = append(c.lines, "not asked")
		c.wants = append(c.wants, p.Hooks)
		c.known = append(c.known, p.Hooks != nil)
	}
}

// fromProviders takes what the providers of a running hookmux want.
func (c *checkup) fromProviders(states []app.ProviderState) {
	for i := range c.cfg.Providers {
		p := &c.cfg.Providers[i]
		at := slices.IndexFunc(states, func(s app.ProviderState) bool { return s.Name == p.Name })
		if at < 0 { // of a config that is on its way out
			states, at = append(states, app.ProviderState{Name: p.Name}), len(states)
		}
		c.wants = append(c.wants, states[at].Wants)
		c.known = append(c.known, states[at].Known)
	}
}

func (c *checkup) start(log *slog.Logger) error {
	ctx, stop := untilSignal()
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	states, err := app.Check(ctx, c.cfg, app.Options{Log: log, Version: shortVersion(), Reaper: reaperCommand()})
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case err != nil && len(states) == 0:
		return err
	}
	for _, s := range states {
		for _, problem := range s.Problems {
			c.problems = append(c.problems, fmt.Sprintf("the host does not allow what provider %s is to have: %s.", s.Name, problem))
		}
		line := string(s.Status)
		if s.Status != host.Up {
			c.down++
			line = "NOT RIGHT: it did not come up in time"
			if s.LastErr != "" {
				line = "NOT RIGHT: " + strings.ReplaceAll(s.LastErr, "\n", "\n    ")
			}
		}
		c.lines = append(c.lines, line)
		c.wants = append(c.wants, s.Wants)
		c.known = append(c.known, s.Known)
	}
	return nil
}

// patience is how long the slowest provider may take, and some time to spare.
func (c *checkup) patience() time.Duration {
	longest := host.DefaultStartTimeout
	for i := range c.cfg.Providers {
		longest = max(longest, c.cfg.Providers[i].StartTimeout)
	}
	return longest + 5*time.Second
}

func (c *checkup) printProviders(out io.Writer) {
	fmt.Fprintln(out, "PROVIDERS")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range c.cfg.Providers {
		p := &c.cfg.Providers[i]
		kind := "plugin"
		if p.IsRemote() {
			kind = "remote"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Name, kind, c.lines[i])
	}
	_ = w.Flush()
}

// printHooks prints who is asked about each hook, in order.
func (c *checkup) printHooks(out io.Writer, explain bool) {
	fmt.Fprintln(out, "\nHOOKS")
	if explain {
		c.explain(out)
	} else {
		c.printChains(out)
	}
	var unknown []string
	for i := range c.cfg.Providers {
		if !c.known[i] {
			unknown = append(unknown, c.cfg.Providers[i].Name)
		}
	}
	switch {
	case len(unknown) > 0:
		fmt.Fprintf(out, "  what %s will answer is not known before it has started\n", strings.Join(unknown, ", "))
	case !slices.ContainsFunc(c.wants, func(w []mux.HookSpec) bool { return len(w) > 0 }):
		fmt.Fprintln(out, "  none: no provider wants to be asked anything")
	}
}

// printChains prints a line for each hook.
func (c *checkup) printChains(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, h := range mux.Hooks() {
		chain := strings.Join(c.asked(h, false), c.arrow(h))
		if allow, ok := c.cfg.Default[h]; ok {
			word := mux.Deny.String()
			if allow {
				word = mux.Allow.String()
			}
			chain = strings.TrimPrefix(chain+", then default: "+word, ", then ")
		}
		if watch := c.asked(h, true); len(watch) > 0 {
			chain = strings.TrimPrefix(chain+"; observed by "+strings.Join(watch, ", "), "; ")
		}
		if chain != "" {
			fmt.Fprintf(w, "  %s\t%s\n", h, chain)
		}
	}
	_ = w.Flush()
}

// arrow is what stands between the names of those who answer a hook.
func (c *checkup) arrow(h mux.Hook) string {
	switch s := c.cfg.Strategy[h]; {
	case !h.Valued():
		return ", " // told beside each other
	case s == mux.All:
		return " and "
	case s == mux.Any:
		return " or "
	}
	return ", then "
}

// asked is who answers a hook, or observes it.
func (c *checkup) asked(h mux.Hook, observe bool) (names []string) {
	for i, wants := range c.wants {
		if !c.known[i] {
			continue // what it counts for until it starts says nothing about later
		}
		p := &c.cfg.Providers[i]
		for _, w := range wants {
			if w.Hook == h && observe == (p.Observe && h.Valued()) {
				names = append(names, p.Name+onTopics(w.Topics))
			}
		}
	}
	return names
}

// hooked says whether EMQX is told to ask about a hook.
func (c *checkup) hooked(h mux.Hook) bool {
	_, hasDefault := c.cfg.Default[h]
	return hasDefault || len(c.asked(h, false))+len(c.asked(h, true)) > 0
}

func onTopics(topics []string) string {
	if len(topics) == 0 {
		return ""
	}
	return " (" + strings.Join(topics, " ") + ")"
}
