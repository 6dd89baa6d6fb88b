package topicfilter

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func ask(topic string) *Question {
	q := Of(&sdk.ClientAuthorizeRequest{
		Type: sdk.Subscribe, Topic: topic, Clientinfo: &sdk.ClientInfo{Clientid: "car", Username: "alice", Cn: "cn"},
	})
	return &q
}

func TestTopics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		filter, asked string
		allow, deny   bool // whether a rule that allows, denies, is about it
	}{
		{"a/b", "a/b", true, true},
		{"a/b", "a/c", false, false},
		{"a/b", "a", false, false},
		{"a/b", "a/b/c", false, false},
		{"a/b", "a/+", false, true},
		{"a/b", "+/b", false, true},
		{"a/b", "a/#", false, true},
		{"a/b", "#", false, true},
		{"a/b", "a/b/#", false, true},
		{"a/b", "a/b/c/#", false, false},
		{"a/+", "a/b", true, true},
		{"a/+", "a/+", true, true},
		{"a/+", "a/#", false, true},
		{"a/+", "a", false, false},
		{"a/+", "a/b/c", false, false},
		{"a/#", "a/b", true, true},
		{"a/#", "a", true, true},
		{"a/#", "a/#", true, true},
		{"a/#", "a/+/b", true, true},
		{"a/#", "+", false, true},
		{"a/#", "#", false, true},
		{"a/#", "+/#", false, true},
		{"a/#", "ab/c", false, false},
		{"+/b", "+/b", true, true},
		{"+/b", "a/#", false, true},
		{"+/b", "+/+", false, true},
		{"#", "#", true, true},
		{"#", "a/+", true, true},
		{"#", "", true, true},
		{"#", "$SYS/x", false, false},
		{"+/x", "$SYS/x", false, false},
		{"$SYS/#", "#", false, false}, // # does not stand for them
		{"$SYS/#", "+/x", false, false},
		{"$SYS/#", "$SYS/+", true, true},
		{"a//b", "a//b", true, true},
		{"a//b", "a/+/b", false, true},
		{"", "", true, true},
		{"dev/%c", "dev/car", true, true},
		{"dev/%c", "dev/cars", false, false},
		{"dev/${clientid}/#", "dev/car/x", true, true},
		{"dev/x-%u-%c-y/z", "dev/x-alice-car-y/z", true, true},
		{"dev/${username}/${cert_common_name}", "dev/alice/cn", true, true},
		{"dev/%c/#", "dev/+/x", false, true},
		{"dev/%c/#", "dev/%c/x", false, false},
		{"100%/x", "100%/x", true, true},
	} {
		if tt.filter == "" {
			continue
		}
		f, err := New(tt.filter, false)
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		if got := f.Fits(ask(tt.asked), true); got != tt.allow {
			t.Errorf("allow %s is about %s: %v", tt.filter, tt.asked, got)
		}
		if got := f.Fits(ask(tt.asked), false); got != tt.deny {
			t.Errorf("deny %s is about %s: %v", tt.filter, tt.asked, got)
		}
	}
}

func TestExactly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, asked string
		want        bool
	}{
		{"#", "#", true}, {"#", "a", false}, {"+/#", "+/#", true}, {"a/+", "a/b", false},
		{"%c/+", "car/+", true}, {"%c/+", "car/x", false}, {"+%c", "+car", true}, {"a/%c#", "a/car#", true}, {"a/%c#", "a/car/#", false}, {"a/#", "a", false},
	} {
		f, err := New(tt.text, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, allow := range []bool{true, false} {
			if got := f.Fits(ask(tt.asked), allow); got != tt.want {
				t.Errorf("eq %s is about %s: %v", tt.text, tt.asked, got)
			}
		}
	}
}

func TestFilterErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "empty", "a/#/b": "last level", "a+": "level of its own", "%c#": "level of its own", "a/b%c+": "level of its own",
		"${user}/x": "there are ${clientid}", "$share/g/a": "shared subscription", "a\x00": "NUL",
	} {
		if _, err := New(text, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A client chooses its id, and often its user name: no name may give it more than one that
// is ordinary would, nor take it out of what is denied.
func TestNamesThatLookLikeFilters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"+", "#", "a/#", "+/b", "/", "a/b", "", "#/", "a+b", "a#", "x\x00", "\x00", "%c", "%u", "${clientid}", "$SYS", "$share", "$"} {
		for _, text := range []string{"dev/%c/x", "dev/%c/#", "%c/x", "%c/#", "dev/%c", "%c", "dev/a-%c/#"} {
			allow, err := New(text, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, asked := range []string{
				"dev/other/x", "dev/a/b/x", "dev/+/x", "dev/#", "dev/+/+", "dev/+", "#", "+", "+/x", "+/#", "other/x", "$SYS/x", "$SYS/#", "$share/x",
				"dev", "dev/", "dev//x", "/x", "", "/", "dev/car/x", "dev/a/c/x", "dev/a/y/b/x",
			} {
				q := ask(asked)
				q.Client.Clientid = name
				if strings.Contains(asked, strings.ReplaceAll(text, "%c", name)) && !strings.ContainsAny(name, "+#/$\x00") && name != "" {
					continue // its own
				}
				if allow.Fits(q, true) {
					t.Errorf("client %q may use %s by %s", name, asked, text)
				}
			}
			own := strings.ReplaceAll(strings.ReplaceAll(text, "/#", "/y"), "%c", name)
			q := ask(own)
			q.Client.Clientid = name
			if !allow.Fits(q, false) {
				t.Errorf("client %q is not denied %s by %s", name, own, text)
			}
		}
	}
}

var level1 = rapid.SampledFrom([]string{"a", "b", "+", "", "$x"})

func drawFilter(t *rapid.T, label string) string {
	levels := rapid.SliceOfN(level1, 1, 4).Draw(t, label)
	if rapid.Bool().Draw(t, label+" ends with #") {
		levels = append(levels, "#")
	}
	return strings.Join(levels, "/")
}

// What covering and overlapping mean, by all topics of a small world.
func TestCoversAndOverlapsByTopics(t *testing.T) {
	t.Parallel()
	var topics []string
	alphabet := []string{"a", "b", "c", "", "$x"}
	var grow func(prefix []string)
	grow = func(prefix []string) {
		if len(prefix) > 0 {
			topics = append(topics, strings.Join(prefix, "/"))
		}
		if len(prefix) < 6 {
			for _, l := range alphabet {
				if len(prefix) < 4 || l == "c" { // deep enough for every filter, and not too many
					grow(append(append([]string(nil), prefix...), l))
				}
			}
		}
	}
	grow(nil)
	matching := map[string]map[string]bool{}
	matches := func(filter string) map[string]bool {
		if matching[filter] == nil {
			m := map[string]bool{}
			for _, topic := range topics {
				if sdk.Covers(filter, topic) {
					m[topic] = true
				}
			}
			matching[filter] = m
		}
		return matching[filter]
	}
	rapid.Check(t, func(t *rapid.T) {
		filter, asked := drawFilter(t, "filter"), drawFilter(t, "asked")
		within, common := true, false
		have := matches(filter)
		for topic := range matches(asked) {
			within = within && have[topic]
			common = common || have[topic]
		}
		f, err := New(filter, false)
		if err != nil {
			t.Skip(err) // the empty one
		}
		q := ask(asked)
		if f.covers(q) && !within {
			t.Errorf("%s does not cover %s", filter, asked)
		}
		if f.overlaps(q) != common {
			t.Errorf("%s overlaps %s: %v", filter, asked, common)
		}
		if got, want := f.covers(q), sdk.Covers(filter, asked); got != want {
			t.Errorf("%s covers %s: %v, and the SDK says %v", filter, asked, got, want)
		}
	})
}
