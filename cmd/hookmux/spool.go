package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
)

func newSpool() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Show and mend what a running hookmux stores for providers with delivery durable",
		Long: `spool is about events that are delivered durably: those that wait in the store, and the
dead letters, which a provider did not handle in all their tries (spool.tries).

A dead letter is kept until somebody decides: retry has it delivered once more, under the
same id and behind what waits; drop removes it for good.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSpoolList(), newSpoolShow(), newSpoolRetry(), newSpoolDrop())
	return cmd
}

func newSpoolList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PROVIDER]",
		Short: "Show how much is stored, or the dead letters of a provider",
		Long: `list shows how much is stored for each provider. With a provider, it lists its dead
letters, oldest first.

orphaned is what is stored for a provider that is not in the config any more, or has no
delivery durable; it is delivered if the provider comes back, or dropped by
hookmux spool drop --orphan.`,
		Args: cobra.MaximumNArgs(1),
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	most := cmd.Flags().Int("limit", 100, "list so many dead letters at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		out, now := cmd.OutOrStdout(), time.Now()
		if len(args) == 0 {
			stored, err := c.Stored(cmd.Context())
			switch {
			case err != nil:
				return err
			case *asJSON:
				return printJSON(out, map[string][]admin.Stored{"providers": stored})
			}
			printStored(out, stored, now)
			return nil
		}
		dead, err := c.Dead(cmd.Context(), args[0], *most)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(out, map[string][]admin.DeadLetter{"dead": dead})
		}
		printDead(out, args[0], dead, *most, now)
		return nil
	}
	return cmd
}

func printStored(out io.Writer, stored []admin.Stored, now time.Time) {
	if len(stored) == 0 {
		fmt.Fprintln(out, "nothing is stored")
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROVIDER\tWAITING\tSIZE\tOLDEST\tDEAD LETTERS\tSIZE\tOLDEST\t")
	for _, s := range stored {
		note := ""
		if s.Orphaned {
			note = "orphaned"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\n", clean(s.Provider), s.Events, bytesText(s.Bytes), since(s.Oldest, now), s.Dead, bytesText(s.DeadBytes), since(s.OldestDead, now), note)
	}
	_ = w.Flush()
}

func since(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	return ago(*t, now)
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	switch {
	case n == 0:
		return "-"
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func printDead(out io.Writer, provider string, dead []admin.DeadLetter, most int, now time.Time) {
	if len(dead) == 0 {
		fmt.Fprintf(out, "%s has no dead letters\n", clean(provider))
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tDIED\tHOOK\tCLIENT\tTOPIC\tTRIES\tERROR")
	for _, d := range dead {
		topic := "-"
		if d.Topic != "" {
			topic = named(d.Topic)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", clean(d.ID), ago(d.Died, now), clean(d.Hook), named(d.Client), topic, d.Tries, cut(d.Error))
	}
	_ = w.Flush()
	if len(dead) == most {
		fmt.Fprintf(out, "and perhaps more: these are the oldest %d (--limit)\n", most)
	}
}

// cut is the beginning of a text from outside.
func cut(s string) string {
	const most = 80
	if line := []rune(oneLine(s)); len(line) > most {
		return string(line[:most]) + "…"
	}
	return oneLine(s)
}

func newSpoolShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a dead letter", Args: cobra.ExactArgs(1)}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	payload := cmd.Flags().Bool("payload", false, "show the whole event, with what is in the message; it may be confidential")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		d, err := c.DeadLetter(cmd.Context(), args[0], *payload)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return printJSON(out, d)
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range [][2]string{
			{"id", d.ID}, {"provider", d.Provider}, {"hook", d.Hook}, {"client", named(d.Client)}, {"topic", named(d.Topic)},
			{"told", d.Time.Format(time.RFC3339)}, {"died", d.Died.Format(time.RFC3339)},
			{"tries", fmt.Sprint(d.Tries)}, {"size", fmt.Sprintf("%d bytes", d.Bytes)}, {"error", behind("\t", clean(d.Error))},
		} {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
		_ = w.Flush()
		if *payload {
			text, err := eventText(d.Hook, d.Request)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "event\n%s\n", clean(text))
		}
		return nil
	}
	return cmd
}

func newSpoolRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry ID | --all PROVIDER",
		Short: "Have a dead letter delivered once more, or all of a provider",
		Args:  cobra.MaximumNArgs(1),
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	all := cmd.Flags().String("all", "", "all dead letters of this `provider`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 1) == (*all != "") {
			return errors.New("give the id of a dead letter, or --all and a provider; hookmux spool list shows them")
		}
		c, err := client()
		if err != nil {
			return err
		}
		n, err := c.MoveDead(cmd.Context(), "retry", *all, first(args))
		return moved(cmd, n, err, *asJSON, "will be delivered once more")
	}
	return cmd
}

func newSpoolDrop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drop ID | --all PROVIDER | --orphan PROVIDER",
		Short: "Remove a dead letter for good, or all of a provider, or all that is stored for one that is gone",
		Args:  cobra.MaximumNArgs(1),
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	all := cmd.Flags().String("all", "", "all dead letters of this `provider`")
	orphan := cmd.Flags().String("orphan", "", "all that is stored for this `provider`, which must be gone")
	yes := cmd.Flags().Bool("yes", false, "really do it: what is dropped is lost")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		given := 0
		for _, s := range []string{first(args), *all, *orphan} {
			if s != "" {
				given++
			}
		}
		if given != 1 {
			return errors.New("give the id of a dead letter, or --all or --orphan and a provider; hookmux spool list shows them")
		}
		if !*yes {
			return errors.New("what is dropped is lost for good: add --yes if that is meant")
		}
		c, err := client()
		if err != nil {
			return err
		}
		var n int
		if *orphan != "" {
			n, err = c.DropOrphan(cmd.Context(), *orphan)
		} else {
			n, err = c.MoveDead(cmd.Context(), "drop", *all, first(args))
		}
		return moved(cmd, n, err, *asJSON, "dropped")
	}
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// moved says what became of so many events.
func moved(cmd *cobra.Command, n int, err error, asJSON bool, what string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("broken off: some may be done")
	case err != nil:
		return err
	case asJSON:
		return printJSON(cmd.OutOrStdout(), admin.Moved{Events: n})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", plural(n, "event"), what)
	return nil
}
