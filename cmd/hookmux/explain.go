package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
)

// explain prints, hook by hook, all that decides what becomes of an event.
func (c *checkup) explain(out io.Writer) {
	var blocks []string
	hooks := make(map[string][]string) // by block: notifications mostly go the same ways
	for _, h := range mux.Hooks() {
		var b strings.Builder
		c.explainHook(&b, h)
		block := b.String()
		if block == "" {
			continue
		}
		if _, ok := hooks[block]; !ok {
			blocks = append(blocks, block)
		}
		hooks[block] = append(hooks[block], h.String())
	}
	for _, block := range blocks {
		fmt.Fprintf(out, "\n%s\n%s", wrapped(hooks[block], 76), block)
	}
}

// explainHook prints what becomes of an event of one hook; nothing if nobody
// wants it.
func (c *checkup) explainHook(out io.Writer, h mux.Hook) {
	var deciding, told []row
	for i := range c.cfg.Providers {
		p := &c.cfg.Providers[i]
		if !c.known[i] {
			continue
		}
		for _, w := range c.wants[i] {
			switch {
			case w.Hook != h:
			case h.Valued() && !p.Observe:
				deciding = append(deciding, append(decider(p, w), c.scope(i, w)...))
			default:
				told = append(told, append(listener(p, w), c.scope(i, w)...))
			}
		}
	}
	if len(deciding) > 0 {
		how := ""
		switch c.cfg.Strategy[h] {
		case mux.Chain:
			how = "asked one after another, each with the value so far"
			number(deciding)
		case mux.All:
			how = "asked at the same time, all who have an opinion must allow"
		case mux.Any:
			how = "asked at the same time, it is enough that one allows"
		}
		fmt.Fprintf(out, "  %s; %s for all together\n", how, c.cfg.Timeout)
		table(out, deciding)
		switch allow, ok := c.cfg.Default[h]; {
		case ok && allow:
			fmt.Fprintln(out, "    default: allow, if nobody has an opinion")
		case ok:
			fmt.Fprintln(out, "    default: deny, if nobody has an opinion")
		case h.Access():
			fmt.Fprintln(out, "    no default: EMQX decides, if nobody has an opinion")
		}
	}
	if len(told) > 0 {
		if h.Valued() {
			fmt.Fprintln(out, "  told of the decision")
		} else {
			fmt.Fprintln(out, "  told of it")
		}
		table(out, told)
	}
}

// row is one provider's line of a table. A column that is empty for all is
// left out.
type row [][2]string // heading, text

func decider(p *config.Provider, w mux.HookSpec) row {
	return row{
		{"", "-"}, // or its number
		{"PROVIDER", p.Name},
		{"TIMEOUT", cmp.Or(p.Timeout, mux.DefaultTimeout).String()},
		{"WITHOUT AN ANSWER", policies(p.OnFailure[w.Hook])},
		{"PURE", pure(p, w)},
		{"MAY CHANGE", mayChange(p, w.Hook)},
	}
}

// pure says whether the provider may be asked ahead of its turn.
func pure(p *config.Provider, w mux.HookSpec) string {
	if p.Pure != nil && *p.Pure || p.Pure == nil && w.Pure {
		return "yes"
	}
	return ""
}

func listener(p *config.Provider, w mux.HookSpec) row {
	how := fmt.Sprintf("%s, up to %d waiting, then %s", p.Delivery[w.Hook], cmp.Or(p.Lane.Events, mux.DefaultLaneEvents), p.Lane.Overflow)
	switch d := p.Delivery[w.Hook]; {
	case d == mux.Durable:
		how = d.String() + ", EMQX waits until it is stored"
	case d == mux.Sync && !w.Hook.Valued():
		how = fmt.Sprintf("%s, EMQX waits up to %s", d, cmp.Or(p.Timeout, mux.DefaultTimeout))
	}
	return row{
		{"", "-"},
		{"PROVIDER", p.Name},
		{"DELIVERY", how},
	}
}

// scope is which events the provider is asked about, and what of them it is not
// shown.
func (c *checkup) scope(i int, w mux.HookSpec) row {
	p := &c.cfg.Providers[i]
	when := ""
	if p.When != nil {
		when = fmt.Sprint(p.When)
	}
	return row{
		{"HIDDEN", words(p.Hidden(w.Hook, c.wants[i]))},
		{"TOPICS", strings.Join(w.Topics, " ")},
		{"WHEN", when},
	}
}

// mayChange is what of an answer about a message counts, when it is not all.
func mayChange(p *config.Provider, h mux.Hook) string {
	switch {
	case h.Access() || p.MayChange == nil:
		return ""
	case len(p.MayChange) == 0:
		return "nothing"
	}
	return words(p.MayChange)
}

func words[T fmt.Stringer](list []T) string {
	var out []string
	for _, w := range list {
		out = append(out, w.String())
	}
	return strings.Join(out, " ")
}

// number says in which order the providers are asked.
func number(rows []row) {
	for i := range rows {
		rows[i][0][1] = fmt.Sprint(i + 1)
	}
}

func table(out io.Writer, rows []row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(r row, cell int) {
		var cells []string
		for column := range r {
			if slices.ContainsFunc(rows, func(r row) bool { return r[column][1] != "" }) {
				cells = append(cells, r[column][cell])
			}
		}
		fmt.Fprintf(w, "    %s\n", strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	line(rows[0], 0)
	for _, r := range rows {
		line(r, 1)
	}
	_ = w.Flush()
}

// policies says what most causes have, and then which have another.
func policies(p mux.Policies) string {
	causes := make(map[mux.Policy][]string)
	for _, c := range mux.Causes() {
		causes[p[c]] = append(causes[p[c]], c.String())
	}
	words := []mux.Policy{mux.Deny, mux.Ignore, mux.Allow}
	slices.SortStableFunc(words, func(a, b mux.Policy) int { return len(causes[b]) - len(causes[a]) })
	text := words[0].String()
	for _, w := range words[1:] {
		if len(causes[w]) > 0 {
			text += fmt.Sprintf(", %s if %s", w, strings.Join(causes[w], " or "))
		}
	}
	return text
}

// wrapped is a list in lines of a width.
func wrapped(words []string, width int) string {
	var b strings.Builder
	at := 0
	for i, w := range words {
		if i > 0 {
			b.WriteString(",")
			if at += len(w) + 2; at > width {
				b.WriteString("\n")
				at = len(w)
			} else {
				b.WriteString(" ")
			}
		} else {
			at = len(w)
		}
		b.WriteString(w)
	}
	return b.String()
}
