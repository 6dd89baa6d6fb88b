package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

func newTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow events as they happen",
		Long: `tail prints a line for each decision, and for each notification that a provider has
handled or lost, until Ctrl-C. No event waits for it: when there are more than it can
show, up to some 2,500 a second, it says how many it has missed.`,
		Example: `  hookmux tail --client sensor-7
  hookmux tail --hook message.publish --topic 'sites/north/#'
  hookmux tail --provider login --json`,
		Args: cobra.NoArgs,
	}
	client := adminFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print each event as a line of JSON")
	var f trail.Filter
	filterFlags(cmd, &f.Client, &f.Hook, &f.Provider, &f.Topic)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.Check(); err != nil {
			return err
		}
		c, err := client()
		if err != nil {
			return err
		}
		ctx, stop := untilSignal()
		defer stop()
		out := cmd.OutOrStdout()
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		following := func() { fmt.Fprintln(cmd.ErrOrStderr(), "following; Ctrl-C ends it") }
		err = c.Follow(ctx, f, following, func(e admin.Followed) error {
			if *asJSON {
				return enc.Encode(e)
			}
			_, err := io.WriteString(out, line(e)+"\n")
			return err
		})
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	return cmd
}

// line is an event for people.
func line(e admin.Followed) string {
	switch {
	case e.Lost != nil:
		return fmt.Sprintf("-- %s missed here: too many at a time; --client, --hook, --provider and --topic make them fewer", plural(int(e.Lost.Events), "event"))
	case e.Decision != nil:
		d := e.Decision
		text := fmt.Sprintf("%s  %s  %s%s  %s", clock(d.Time), d.Hook, named(d.Client), onTopic(d.Action, d.Topic), d.Answer)
		if d.By != "" {
			text += " by " + d.By
		}
		for i := range d.Asked {
			if a := &d.Asked[i]; a.Reason != "" {
				text += fmt.Sprintf(" (%s: %s)", a.Provider, reason(a.Reason, a.Error))
			}
		}
		if d.NewTopic != "" {
			text += ", now to " + named(d.NewTopic)
		}
		return text + "  " + micros(d.TookUs) + payload(d.Payload, d.PayloadSize)
	}
	n := e.Notification
	text := fmt.Sprintf("%s  %s  %s%s  %s: %s", clock(n.Time), n.Hook, named(n.Client), onTopic("", n.Topic), n.Provider, n.Outcome)
	if n.Outcome != "delivered" {
		text = fmt.Sprintf("%s  %s  %s%s  %s: lost, %s", clock(n.Time), n.Hook, named(n.Client), onTopic("", n.Topic), n.Provider, reason(n.Outcome, n.Error))
	}
	return text + "  " + micros(n.TookUs) + payload(n.Payload, n.PayloadSize)
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

func onTopic(action, topic string) string {
	if topic == "" {
		return ""
	}
	return strings.TrimRight("  "+action, " ") + "  " + named(topic)
}

// payload is the beginning of one, in a line.
func payload(b []byte, size int) string {
	if size == 0 {
		return ""
	}
	const most = 64
	shown, more := string(b), ""
	if len(shown) > most || size > len(b) {
		shown, more = shown[:min(most, len(shown))], fmt.Sprintf("… of %d bytes", size)
	}
	return "  " + oneLine(strings.ToValidUTF8(shown, "\uFFFD")) + more
}
