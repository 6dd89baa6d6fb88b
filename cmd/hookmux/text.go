package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// clean is a text from outside, such as a client id or a plugin's last words, without
// what would steer a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// named is a client id or a topic in a sentence.
func named(s string) string {
	if s = strings.ReplaceAll(clean(s), "\n", "\uFFFD"); s == "" || strings.ContainsAny(s, " ,:;") {
		return `"` + s + `"`
	}
	return s
}

// short is a duration for people.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return span(d.Round(time.Second))
	}
	return span(d.Round(time.Minute))
}

// span is a duration without zero units behind: 1m, not 1m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// columns is a table whose cells are separated by tabs, without spaces behind.
func columns(out io.Writer, write func(w io.Writer)) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	write(w)
	_ = w.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
}

func micros(us int64) string { return short(time.Duration(us) * time.Microsecond) }

// ago is how long ago something was, in words.
func ago(t, now time.Time) string {
	if d := now.Sub(t).Round(time.Second); d > 0 {
		return short(d) + " ago"
	}
	return "just now"
}

// printJSON is for machines.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// behind has each line after the first begin with indent.
func behind(indent, s string) string { return strings.ReplaceAll(s, "\n", "\n"+indent) }

// counts lists what there is most of first: "down 40, timeout 2".
func counts(by map[string]int64) string {
	var out []string
	for n := range sortedByCount(by) {
		out = append(out, fmt.Sprintf("%s %d", n, by[n]))
	}
	return strings.Join(out, ", ")
}
