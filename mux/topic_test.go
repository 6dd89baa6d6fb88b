package mux

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTopicMatches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/c", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/b", "a/b/", false},
		{"+", "a", true},
		{"+", "", true},
		{"+", "a/b", false},
		{"+/+", "a/b", true},
		{"+/+", "/b", true},
		{"+/b", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"a/+/c", "a//c", true},
		{"#", "a", true},
		{"#", "a/b/c", true},
		{"#", "", true},
		{"#", "/", true},
		{"a/#", "a", true},
		{"a/#", "a/", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"a/#", "b/a", false},
		{"+/#", "a", true},
		{"+/+/#", "a", false},
		{"a/+/#", "a/b", true},
		{"/", "/", true},
		{"/#", "/a", true},
		{"/#", "a", false},
		{"工/+", "工/厂", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"$SYS/+", "$SYS/x", true},
		{"a/#", "a/$SYS", true},
		{"a/+", "a/$x", true},
	}
	for _, tt := range tests {
		if got := newTopicTree([]string{tt.filter}).matches([]byte(tt.topic)); got != tt.want {
			t.Errorf("%q matches %q: %t, want %t", tt.filter, tt.topic, got, tt.want)
		}
	}
}

// slowMatches is the specification, level by level.
func slowMatches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	if last := len(f) - 1; f[last] == "#" {
		f = f[:last]
		if len(t) < len(f) {
			return false
		}
		t = t[:len(f)]
	}
	if len(f) != len(t) {
		return false
	}
	for i := range f {
		if f[i] != "+" && f[i] != t[i] {
			return false
		}
	}
	return true
}

func FuzzTopicMatches(f *testing.F) {
	for _, s := range [][2]string{{"a/+/#", "a/b/c"}, {"#", "$SYS"}, {"a/#", "a"}, {"+", ""}, {"/", "//"}, {"$x/#", "$x"}, {"a/b", "a/b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if CheckTopicFilter(filter) != nil {
			newTopicTree([]string{filter}).matches([]byte(topic)) // must only not panic
			return
		}
		if got, want := newTopicTree([]string{filter}).matches([]byte(topic)), slowMatches(filter, topic); got != want {
			t.Fatalf("%q matches %q: %t, want %t", filter, topic, got, want)
		}
	})
}

// Many filters in one tree match what any of them matches by itself.
func TestTopicTreeIsTheUnionOfItsFilters(t *testing.T) {
	t.Parallel()
	levels := rapid.SampledFrom([]string{"a", "b", "", "$x", "+"})
	topic := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "$x", "c"}), 1, 5).Draw(t, "topic"), "/")
	})
	filter := rapid.Custom(func(t *rapid.T) string {
		f := strings.Join(rapid.SliceOfN(levels, 1, 4).Draw(t, "filter"), "/")
		if f == "" || rapid.Bool().Draw(t, "rest") {
			f += "/#"
		}
		return f
	})
	rapid.Check(t, func(t *rapid.T) {
		filters := rapid.SliceOfN(filter, 1, 20).Draw(t, "filters")
		topic := topic.Draw(t, "topic")
		want := slices.ContainsFunc(filters, func(f string) bool { return slowMatches(f, topic) })
		if got := newTopicTree(filters).matches([]byte(topic)); got != want {
			t.Fatalf("%q match %q: %t, want %t", filters, topic, got, want)
		}
	})
}

func TestCheckTopicFilter(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65535)
	for _, good := range []string{"a", "/", "a/b", "+", "#", "a/+/b", "a/#", "+/#", "$SYS/#", "a b", "zürich/工厂", "$share/g/t", long} {
		if err := CheckTopicFilter(good); err != nil {
			t.Errorf("CheckTopicFilter(%.20q) = %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"":         "empty",
		"a/#/b":    "last level",
		"#/":       "last level",
		"a#":       `"#" must stand alone`,
		"a/b#":     `"#" must stand alone`,
		"a+/b":     `"+" must stand alone`,
		"++":       `"+" must stand alone`,
		"+#":       `"+" must stand alone`,
		"a\x00b":   "NUL",
		"a/\xff":   "UTF-8",
		long + "x": "65536 bytes",
	} {
		err := CheckTopicFilter(bad)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("CheckTopicFilter(%.20q) = %v, want an error with %q", bad, err, says)
		}
	}
}

func TestCheckTopicName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "/", "a//b", "$x", " ", "工", strings.Repeat("x", 65535)} {
		if wrong := checkTopicName([]byte(good)); wrong != "" {
			t.Errorf("checkTopicName(%.20q) = %q", good, wrong)
		}
	}
	for _, bad := range []string{"", "+", "a/#", "a+", "a\x00", "\xff", strings.Repeat("x", 65536)} {
		if checkTopicName([]byte(bad)) == "" {
			t.Errorf("checkTopicName(%.20q) finds nothing", bad)
		}
	}
}
