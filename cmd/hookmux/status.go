package main

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running hookmux is doing, and what is wrong",
		Long: `status shows the providers in the order in which they are asked, what is wrong with
them and why, and the EMQX nodes that send events.

  WAITING    events that wait for it, in its     DELIVERED  notifications that it handled
             lane or stored
  DECIDED    logins, permissions and messages    LOST       notifications that it never will
             that it answered
  MISSING    those for which it gave no answer, so that its on_failure decided`,
		Args: cobra.NoArgs,
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		printStatus(cmd.OutOrStdout(), &s, time.Now())
		return nil
	}
	return cmd
}

func newProviders() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "providers [NAME]",
		Short: "Show the providers of a running hookmux, or all about one",
		Args:  cobra.MaximumNArgs(1),
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if len(args) == 0 {
			if *asJSON {
				return printJSON(out, map[string][]admin.Provider{"providers": s.Providers})
			}
			printProviders(out, &s, time.Now())
			return nil
		}
		i := slices.IndexFunc(s.Providers, func(p admin.Provider) bool { return p.Name == args[0] })
		switch {
		case i < 0:
			return fmt.Errorf("there is no provider %s; there are: %s", named(args[0]), strings.Join(providerNames(s.Providers), ", "))
		case *asJSON:
			return printJSON(out, s.Providers[i])
		}
		printProvider(out, &s, &s.Providers[i], time.Now())
		return nil
	}
	return cmd
}

func providerNames(providers []admin.Provider) (names []string) {
	for i := range providers {
		names = append(names, providers[i].Name)
	}
	return names
}

func printStatus(out io.Writer, s *admin.Status, now time.Time) {
	fmt.Fprintf(out, "hookmux %s, %s, serves %s, up for %s\n\nPROVIDERS\n", s.Version, cmp.Or(s.Config, "no config file"), s.Listen, short(now.Sub(s.Started)))
	printProviders(out, s, now)
	about := func(heading string, what func(*admin.Provider) []string) {
		for i := range s.Providers {
			p := &s.Providers[i]
			for _, w := range what(p) {
				fmt.Fprintf(out, "%s  %s %s\n", heading, p.Name, behind("    ", w))
				heading = ""
			}
		}
	}
	about("\nWHAT IS WRONG\n", func(p *admin.Provider) []string { return append(troubles(p), backlog(s, p, now)...) })
	if s.StoredError != "" {
		fmt.Fprintf(out, "\nWHAT IS STORED is not known: %s\n", clean(s.StoredError))
	}
	for _, st := range s.Stored {
		if st.Orphaned {
			fmt.Fprintf(out, "\nSTORED FOR NOBODY: %s, %s of %s, which no provider of the config is told durably: hookmux spool list\n",
				plural(int(st.Events), "event"), plural(int(st.Dead), "dead letter"), clean(st.Provider))
		}
	}
	about("\nWHAT HAS HAPPENED\n", losses)
	fmt.Fprintln(out, "\nBROKERS")
	for i := range s.Brokers {
		b := &s.Brokers[i]
		fmt.Fprintf(out, "  %s  EMQX %s, sends %s\n", clean(b.Node), clean(b.Version), plural(len(b.Hooks), "hook"))
		if len(b.Missing) > 0 {
			fmt.Fprintf(out, "    does not send %s: hookmux emqx register has it do so\n", strings.Join(b.Missing, ", "))
		}
	}
	if len(s.Brokers) == 0 {
		fmt.Fprintln(out, "  none has loaded hookmux")
	}
}

func printProviders(out io.Writer, s *admin.Status, now time.Time) {
	columns(out, func(w io.Writer) {
		fmt.Fprintln(w, "  NAME\tSTATUS\tFOR\tPID\tRESTARTS\tWAITING\tDECIDED\tMISSING\tDELIVERED\tLOST")
		for i := range s.Providers {
			p := &s.Providers[i]
			pid := "-"
			if p.Pid != 0 {
				pid = fmt.Sprint(p.Pid)
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", p.Name, p.Status, now.Sub(p.Since).Round(time.Second), pid,
				p.Restarts, p.WaitingEvents+int64(storedFor(s, p.Name).Events), sum(p.Decided), sum(p.Missing), p.Delivered, lost(p))
		}
	})
}

// troubles are what is wrong with a provider now, each a sentence that begins behind its
// name. A provider that is not up has one.
func troubles(p *admin.Provider) (out []string) {
	why := clean(p.LastError)
	switch {
	case p.Status == "disabled":
		out = append(out, fmt.Sprintf("is disabled by an operator: its on_failure decides, and notifications wait; hookmux enable %s starts it", p.Name))
	case p.Draining:
		out = append(out, fmt.Sprintf("is being drained: %s; hookmux enable %s takes it back", draining(p), p.Name))
	case p.Status == "restarting" || p.Status == "quarantined" || p.Status == "starting" && why != "":
		what := "does not stay up"
		if cause, ok := strings.CutPrefix(why, "start: "); ok {
			what, why = "does not start", cause
		}
		if p.Kind == "remote" {
			what = "is not reached"
		}
		switch p.Status {
		case "quarantined":
			what += ", and is tried once a minute"
		case "starting":
			what += ", and is being tried again"
		}
		out = append(out, what+": "+cmp.Or(why, "nobody knows why"))
	case p.Status != "up":
		out = append(out, "is "+p.Status)
	}
	for _, problem := range p.Problems {
		out = append(out, "has a setting that this machine does not allow: "+clean(problem))
	}
	for _, what := range slices.Sorted(maps.Keys(p.Breakers)) {
		if state := p.Breakers[what]; state != "closed" {
			out = append(out, fmt.Sprintf("failed too often: the breaker for %s is %s", what, state))
		}
	}
	if !p.HooksKnown {
		out = append(out, "has never started, so every hook it might decide follows its on_failure; list its hooks in the config to narrow that")
	}
	return out
}

// storedFor is what waits to be delivered durably to a provider.
func storedFor(s *admin.Status, provider string) admin.Stored {
	for _, st := range s.Stored {
		if st.Provider == provider {
			return st
		}
	}
	return admin.Stored{Provider: provider}
}

// longStored is for how long an event may be stored until somebody should know, and for how
// long a failure counts: it is tried again within that time.
const longStored, failedLately = time.Minute, 2 * time.Minute

// backlog is what is wrong with what is delivered durably to a provider.
func backlog(s *admin.Status, p *admin.Provider, now time.Time) (out []string) {
	st := storedFor(s, p.Name)
	if f := p.LastFailure; f != nil && st.Events > 0 && now.Sub(f.Time) < failedLately {
		out = append(out, fmt.Sprintf("does not handle what is stored for it (%s, the oldest %s), and is tried again: %s", plural(int(st.Events), "event"), since(st.Oldest, now), clean(f.Error)))
	} else if st.Oldest != nil && now.Sub(*st.Oldest) > longStored {
		out = append(out, fmt.Sprintf("is behind: %s (%s) stored for it, the oldest for %s", plural(int(st.Events), "event"), bytesText(st.Bytes), short(now.Sub(*st.Oldest))))
	}
	if st.Dead > 0 {
		out = append(out, fmt.Sprintf("has %s: hookmux spool list %[2]s shows why, hookmux spool retry --all %[2]s has them delivered again", plural(int(st.Dead), "dead letter"), p.Name))
	}
	return out
}

// losses are what has gone wrong with a provider since it was started or added.
func losses(p *admin.Provider) (out []string) {
	if p.Status == "up" && p.LastError != "" {
		out = append(out, fmt.Sprintf("is up again, after %s: %s", plural(p.Restarts, "restart"), clean(p.LastError)))
	}
	if n := sum(p.Missing); n > 0 {
		out = append(out, fmt.Sprintf("gave no answer to %s (%s), so its on_failure decided: hookmux explain --provider %s", plural(int(n), "decision"), counts(p.Missing), p.Name))
	}
	if n := lost(p); n > 0 {
		dropped := maps.Clone(p.Dropped)
		delete(dropped, deadLetter)
		out = append(out, fmt.Sprintf("lost %s (%s)", plural(int(n), "notification"), counts(dropped)))
	}
	if n := p.Dropped[deadLetter]; n > 0 {
		out = append(out, fmt.Sprintf("did not handle %s in all tries, which became dead letters", plural(int(n), "event")))
	}
	return out
}

// deadLetter is the reason of what is dropped and kept.
const deadLetter = "dead_letter"

// lost are the notifications that are gone.
func lost(p *admin.Provider) int64 { return sum(p.Dropped) - p.Dropped[deadLetter] }

// printProvider is all about one.
func printProvider(out io.Writer, s *admin.Status, p *admin.Provider, now time.Time) {
	fmt.Fprintf(out, "%s, a %s, is %s for %s", p.Name, p.Kind, p.Status, short(now.Sub(p.Since)))
	if p.Pid != 0 {
		fmt.Fprintf(out, " (pid %d)", p.Pid)
	}
	fmt.Fprintln(out)
	for _, w := range slices.Concat(troubles(p), backlog(s, p, now), losses(p)) {
		fmt.Fprintf(out, "  it %s\n", behind("    ", w))
	}
	columns(out, func(w io.Writer) {
		fmt.Fprintln(w, "\n  HOOK\tPLACE\tWITHOUT AN ANSWER\tTOPICS\tANSWERS")
		for i := range s.Hooks {
			h := &s.Hooks[i]
			at := slices.IndexFunc(h.Providers, func(o admin.HookProvider) bool { return o.Name == p.Name })
			if at < 0 {
				continue
			}
			hp := &h.Providers[at]
			place, without, answers := "told, "+hp.Delivery, "", ""
			switch {
			case hp.Observe && hp.Delivery == mux.Durable.String():
				place = "told of the decision, durable"
			case hp.Observe:
				place = "told of the decision"
			case h.Valued:
				place, without, answers = fmt.Sprintf("%d of %d", at+1, len(h.Providers)), policyWords(hp.Policy), fmt.Sprint(p.Decided[h.Hook])
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", h.Hook, place, without, clean(strings.Join(hp.Topics, " ")), answers)
		}
	})
	fmt.Fprintf(out, "\n  one answer may take %s; %s so far; %d replies came too late\n", short(time.Duration(p.TimeoutMs)*time.Millisecond), plural(p.Restarts, "restart"), p.Late)
	fmt.Fprintf(out, "  notifications: %d sent, %d delivered, %d lost, %d wait in the lane (%d bytes)\n", p.Sent, p.Delivered, lost(p), p.WaitingEvents, p.WaitingBytes)
	if st := storedFor(s, p.Name); st.Events > 0 {
		fmt.Fprintf(out, "  stored: %s (%s), the oldest %s\n", plural(int(st.Events), "event"), bytesText(st.Bytes), since(st.Oldest, now))
	}
}

// policyWords says what most causes have, and then which have another.
func policyWords(policy map[string]string) string {
	var p mux.Policies
	for _, c := range mux.Causes() {
		p[c], _ = mux.ParsePolicy(policy[c.String()])
	}
	return policies(p)
}

// sortedByCount is the keys, those that there are most of first.
func sortedByCount(by map[string]int64) iter.Seq[string] {
	keys := slices.Sorted(maps.Keys(by))
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(by[b], by[a]) })
	return slices.Values(keys)
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
