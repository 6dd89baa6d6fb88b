package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteCheck writes a line for a check, for people; a new section gets its title.
func WriteCheck(w io.Writer, before *Check, c Check) {
	if before == nil || before.Section != c.Section {
		fmt.Fprintf(w, "\n%s\n", c.Section)
	}
	text := strings.ReplaceAll(c.Text, "\n", "\n"+strings.Repeat(" ", 34))
	fmt.Fprintf(w, "  %-7s %-24s %s\n", c.Outcome, c.Name, text)
}

// WriteSummary writes the last line, for people.
func (r *Report) WriteSummary(w io.Writer) {
	var took time.Duration
	for _, c := range r.Checks {
		took += c.Took
	}
	fmt.Fprintf(w, "\n%d checks in %s: %d ok", len(r.Checks)-r.count(Left), took.Round(100*time.Millisecond), r.count(OK))
	if n := r.count(Note); n > 0 {
		fmt.Fprintf(w, ", %d with a note", n)
	}
	if n := r.Failed(); n > 0 {
		fmt.Fprintf(w, ", %d FAILED", n)
	}
	fmt.Fprintln(w)
}
