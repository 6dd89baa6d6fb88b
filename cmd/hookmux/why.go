package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say why a client was refused",
		Long: `explain looks up the last decisions of a running hookmux and says, of each, who refused
it and why: which provider said what, why one did not answer and what its on_failure made
of that, and how to go on. Those that are alike are told once.

It shows refusals; if there are none, decisions that lacked an answer; if there are none,
the last decision. hookmux keeps the last ones of each kind (key trail in the config).`,
		Example: `  hookmux explain --client sensor-7
  hookmux explain --client sensor-7 --topic 'sites/#' --last 10
  hookmux explain --provider login --answer unanswered`,
		Args: cobra.NoArgs,
	}
	client := adminFlags(cmd)
	asJSON := jsonFlag(cmd)
	var q trail.Query
	filterFlags(cmd, &q.Client, &q.Hook, &q.Provider, &q.Topic)
	cmd.Flags().StringVar(&q.Answer, "answer", "", "only decisions with this `answer`: "+strings.Join(trail.AnswerWords(), ", "))
	last := cmd.Flags().Int("last", 3, "explain the last `N` that differ")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := q.Check(); err != nil {
			return err
		}
		if *last < 1 {
			return errors.New("--last: at least 1")
		}
		c, err := client()
		if err != nil {
			return err
		}
		e, err := newExplanation(cmd.Context(), c, q, *last)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), e)
		}
		e.print(cmd.OutOrStdout())
		return nil
	}
	return cmd
}

func filterFlags(cmd *cobra.Command, client, hook, provider, topic *string) {
	cmd.Flags().StringVar(client, "client", "", "only of this client `id`")
	cmd.Flags().StringVar(hook, "hook", "", "only of this `hook`, such as client.authenticate")
	cmd.Flags().StringVar(provider, "provider", "", "only those that this `provider` was asked or told about")
	cmd.Flags().StringVar(topic, "topic", "", "only of topics that match this `filter`")
}

// explanation is what explain finds out.
type explanation struct {
	Summary string      `json:"summary"`
	Cases   []*incident `json:"cases"` // newest first
}

// incident is decisions that are alike.
type incident struct {
	Headline string          `json:"headline"`
	Then     string          `json:"then,omitempty"` // it is no longer so
	Because  []string        `json:"because"`
	GoOn     string          `json:"go_on,omitempty"`
	Count    int             `json:"count"`
	Since    time.Time       `json:"since"`    // the first
	Decision *trail.Decision `json:"decision"` // the last
}

// newExplanation asks hookmux.
func newExplanation(ctx context.Context, c *admin.Client, q trail.Query, last int) (*explanation, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	answers := []string{trail.AnswerRefused, trail.AnswerUnanswered, ""}
	if q.Answer != "" {
		answers = []string{q.Answer}
	}
	q.Limit = trail.MaxLimit
	for _, q.Answer = range answers {
		if q.Answer == "" {
			q.Limit = 1
		}
		found, err := c.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(found.Decisions) > 0 {
			w := &witness{&s, time.Now()}
			e := &explanation{summary(&q, len(answers) > 1), w.cases(found.Decisions, last)}
			if q.Answer == trail.AnswerRefused {
				err = e.whatCameAfter(ctx, c, w)
			}
			return e, err
		}
		if q.Answer == answers[len(answers)-1] {
			return &explanation{nothingFound(&q, found, &s), []*incident{}}, nil
		}
	}
	return nil, nil // not reached: answers is not empty
}

// whatCameAfter says that a client that was refused no longer is.
func (e *explanation) whatCameAfter(ctx context.Context, c *admin.Client, w *witness) error {
	for _, i := range e.Cases {
		q := trail.Query{Client: i.Decision.Client, Hook: i.Decision.Hook, Topic: i.Decision.Topic, Limit: 1}
		if q.Client == "" || q.Check() != nil {
			continue // it cannot be asked for: it is cut, or no broker would send it
		}
		found, err := c.Search(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range found.Decisions {
			if d.ID > i.Decision.ID && d.Answer != "deny" && d.Answer != "drop" {
				i.Then = fmt.Sprintf("Since then it %s: %s, %s.", became(d), d.Time.Local().Format(time.DateTime), ago(d.Time, w.now))
			}
		}
	}
	return nil
}

// about is what was looked for.
func about(q *trail.Query) string {
	var parts []string
	for _, p := range []struct{ what, value string }{{"client", q.Client}, {"hook", q.Hook}, {"provider", q.Provider}, {"topic", q.Topic}} {
		if p.value != "" {
			parts = append(parts, p.what+" "+named(p.value))
		}
	}
	return strings.Join(parts, ", ")
}

// summary says what the cases are, where that is not what one expects.
func summary(q *trail.Query, chosen bool) string {
	who := cmp.Or(about(q), "anybody")
	switch {
	case chosen && q.Answer == trail.AnswerUnanswered:
		return fmt.Sprintf("No refusal is known of %s, but decisions that lacked an answer.", who)
	case chosen && q.Answer == "":
		return fmt.Sprintf("No refusal is known of %s. The last decision:", who)
	}
	return ""
}

// nothingFound says what that can mean.
func nothingFound(q *trail.Query, found *trail.Found, s *admin.Status) string {
	what := "no decision"
	if q.Answer != "" {
		what = "no decision with the answer " + q.Answer
	}
	text := fmt.Sprintf("hookmux knows of %s about %s", what, cmp.Or(about(q), "anybody"))
	if found.Kept > 0 {
		text += fmt.Sprintf(": none of the %d that it keeps", found.Kept)
	}
	text += ".\n"
	switch {
	case found.Limit == 0:
		return text + "It keeps none: the config says trail: {size: 0}."
	case len(s.Brokers) == 0:
		return text + "No EMQX node has loaded hookmux, so none asks it: see the ExHook server in EMQX's dashboard."
	case q.Client != "":
		return text + "If the client was refused, EMQX did so without asking hookmux (its own authenticators, authorization sources,\nlimits or listeners), or asked about another client id, or it is too long ago: key trail in the config."
	}
	return text
}

// witness is what is known now of those who decided.
type witness struct {
	status *admin.Status
	now    time.Time
}

// cases groups decisions, which are newest first.
func (w *witness) cases(decisions []*trail.Decision, last int) (out []*incident) {
	known := make(map[string]*incident)
	for _, d := range decisions {
		key := alike(d)
		c := known[key]
		if c == nil {
			c = &incident{Decision: d}
			known[key] = c
			if len(out) < last {
				c.Headline, c.Because, c.GoOn = w.headline(d), w.because(d), w.goOn(d)
				out = append(out, c)
			}
		}
		c.Count++
		c.Since = d.Time
	}
	return out
}

// alike is the same for decisions that are worth telling once.
func alike(d *trail.Decision) string {
	parts := []string{d.Client, d.Hook, d.Topic, d.Action, d.Answer, d.By}
	for i := range d.Asked {
		a := &d.Asked[i]
		parts = append(parts, a.Provider, a.Verdict, a.Reason, a.Policy)
	}
	return strings.Join(parts, "\x00")
}

func (e *explanation) print(out io.Writer) {
	if e.Summary != "" {
		fmt.Fprintln(out, e.Summary)
	}
	for i, c := range e.Cases {
		if i > 0 || e.Summary != "" {
			fmt.Fprintln(out)
		}
		c.print(out)
	}
}

func (c *incident) print(out io.Writer) {
	fmt.Fprintln(out, c.Headline)
	if c.Count > 1 {
		fmt.Fprintf(out, "%d of these are kept, the first from %s.\n", c.Count, c.Since.Local().Format(time.DateTime))
	}
	if c.Then != "" {
		fmt.Fprintln(out, c.Then)
	}
	fmt.Fprintln(out)
	for _, b := range c.Because {
		fmt.Fprintf(out, "  %s\n", behind("  ", b))
	}
	if len(c.Decision.Asked) > 1 {
		c.printAsked(out)
	}
	if c.GoOn != "" {
		fmt.Fprintf(out, "\n  To go on: %s\n", behind("  ", c.GoOn))
	}
}

// printAsked is everybody's part.
func (c *incident) printAsked(out io.Writer) {
	fmt.Fprintln(out)
	columns(out, func(w io.Writer) {
		fmt.Fprintln(w, "  ASKED\tANSWER\tTOOK\t")
		for i := range c.Decision.Asked {
			a := &c.Decision.Asked[i]
			answer, more := a.Verdict, ""
			switch {
			case a.Unneeded:
				answer, more = "not waited for", "it was decided before"
			case a.Reason != "":
				more = fmt.Sprintf("%s; on_failure: %s", reason(a.Reason, a.Error), a.Policy)
			case a.Verdict == "ignore":
				answer = "no opinion"
			case a.Final:
				more = "final"
			}
			if len(a.Changed) > 0 {
				more = "changed " + strings.Join(a.Changed, ", ")
			}
			fmt.Fprintf(w, "  %d %s\t%s\t%s\t%s\n", i+1, a.Provider, answer, micros(a.TookUs), more)
		}
	})
}

// oneLine is a text from outside in a line.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
