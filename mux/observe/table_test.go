package observe_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/observe"
)

var update = flag.Bool("update", false, "write the table of metrics in README.md anew")

// The table in the README is what there is.
func TestMetricsTable(t *testing.T) {
	families, err := everything(t).Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| metric | labels | what it is |\n|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "hookmux_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		fmt.Fprintf(&b, "| `%s` (%s) | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp())
	}
	const begin, end = "<!-- metrics: go test ./mux/observe -run TestMetricsTable -update -->\n\n", "\n<!-- end of metrics -->"
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), begin)
	table, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Fatal("README.md has lost the marks around its table")
	case table == b.String():
	case *update:
		if err := os.WriteFile("README.md", []byte(before+begin+b.String()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in README.md is stale: go test ./mux/observe -run TestMetricsTable -update")
	}
}

// The guide explains every word that can be a label's value.
func TestGuideHasTheWords(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := slices.Clone(observe.Statuses)
	for r := mux.ReasonNone + 1; int(r) < mux.NumReasons; r++ {
		words = append(words, r.String())
	}
	for v := mux.VerdictIgnore; v <= mux.VerdictDrop; v++ {
		words = append(words, v.String())
	}
	for _, c := range host.Causes() {
		words = append(words, string(c))
	}
	for _, w := range words {
		if !strings.Contains(string(data), "`"+w+"`") {
			t.Errorf("README.md does not say what %s is", w)
		}
	}
}
