package config

import (
	"os"
	"strings"
	"testing"
)

// The options table in README.md is what the parser's tables say. Renew it with
// make generate.
func TestOptionsTable(t *testing.T) {
	t.Parallel()
	const file, begin, end = "README.md", "<!-- options: make generate -->\n", "<!-- end of options -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no %q … %q", file, begin, end)
	}
	want := optionsTable()
	switch {
	case table == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the options in README.md are not those of the tables: run make generate. Want:\n%s", want)
	}
}

// optionsTable is Markdown with a row for each key that has a value of its own.
func optionsTable() string {
	var b strings.Builder
	head := func() { b.WriteString("\n| key | what it is | value | default |\n|---|---|---|---|\n") }
	var rows func(prefix string, keys []key)
	rows = func(prefix string, keys []key) {
		for _, k := range keys {
			if k.value.keys != nil && !k.value.list {
				rows(prefix+k.name+".", k.value.keys())
				continue
			}
			def := ""
			switch {
			case k.required:
				def = "none: it must be there"
			case k.def != "":
				def = "`" + k.def + "`"
			}
			b.WriteString("| `" + prefix + k.name + "` | " + cell(k.doc) + " | " + cell(k.value.expects) + " | " + def + " |\n")
		}
	}
	head()
	rows("", new(Config).keys())
	b.WriteString("\nOf each of `providers`:\n")
	head()
	rows("", new(Provider).keys())
	return b.String() + "\n"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
