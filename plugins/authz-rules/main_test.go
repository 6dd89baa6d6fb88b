package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
	"github.com/hookmux/hookmux/plugins/sdk"
)

const example = `
rules:
  # people
  - allow: subscribe
    who: {username: dashboard}
    topics: ["$SYS/#"]
  - allow: all
    who: {ip: [127.0.0.1, "fd00::/8"], username: {re: "admin-[0-9]+"}}
  - deny: subscribe
    topics: ["$SYS/#", {eq: "#"}, {eq: +/#}]
  - deny: all
    topics: secret/#
  # devices
  - allow: publish
    who: {clientid: [car-1, car-2]}
    topics: ["cars/%c/up/#"]
    when: size(topic) < 40 && client.cn == client.id
  - allow: subscribe
    who: {cn: {re: "car-.*"}}
    topics: ["cars/${clientid}/down/#", "news/+"]
  - allow: publish
    who: {username: {re: "u.*"}}
    topics: [inbox/%u]
`

func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func start(t testing.TB, c config) *plugin {
	t.Helper()
	p := &plugin{config: c}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

func (p *plugin) may(t testing.TB, c *sdk.ClientInfo, do string, topic string) string {
	t.Helper()
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	typ := sdk.Publish
	if do == "subscribe" {
		typ = sdk.Subscribe
	}
	res, err := h.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Clientinfo: c, Type: typ, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	return plugintest.Verdict(res)
}

func TestRules(t *testing.T) {
	t.Parallel()
	p := start(t, config{Rules: write(t, example)})
	car := &sdk.ClientInfo{Clientid: "car-1", Cn: "car-1", Peerhost: "10.0.0.1"}
	admin := &sdk.ClientInfo{Username: "admin-7", Peerhost: "fd00::1"}
	for _, tt := range []struct {
		c         *sdk.ClientInfo
		do, topic string
		want      string
	}{
		{&sdk.ClientInfo{Username: "dashboard"}, "subscribe", "$SYS/brokers/#", "allow"},
		{&sdk.ClientInfo{Username: "dashboard"}, "subscribe", "#", "deny"},
		{&sdk.ClientInfo{Username: "dashboard"}, "publish", "$SYS/brokers", "deny"},
		{&sdk.ClientInfo{Username: "dashboard2"}, "subscribe", "$SYS/brokers/#", "deny"},
		{admin, "subscribe", "#", "allow"},
		{admin, "publish", "secret/x", "allow"},
		{&sdk.ClientInfo{Username: "admin-7", Peerhost: "::ffff:127.0.0.1"}, "publish", "secret/x", "allow"},
		{&sdk.ClientInfo{Username: "admin-7", Peerhost: "10.0.0.1"}, "publish", "x", "deny"},
		{&sdk.ClientInfo{Username: "admin-7"}, "publish", "x", "deny"},
		{&sdk.ClientInfo{Username: "xadmin-7", Peerhost: "fd00::1"}, "publish", "x", "deny"}, // an expression fits all of a name
		{&sdk.ClientInfo{Username: "admin-7\nx", Peerhost: "fd00::1"}, "publish", "x", "deny"},
		{car, "publish", "cars/car-1/up/speed", "allow"},
		{car, "publish", "cars/car-2/up/speed", "deny"},
		{car, "publish", "cars/car-1/down/speed", "deny"},
		{car, "publish", "cars/car-1/up/" + strings.Repeat("x", 40), "deny"},
		{&sdk.ClientInfo{Clientid: "car-1", Cn: "car-2"}, "publish", "cars/car-1/up/speed", "deny"},
		{&sdk.ClientInfo{Clientid: "car-3", Cn: "car-3"}, "publish", "cars/car-3/up/speed", "deny"},
		{car, "subscribe", "cars/car-1/down/#", "allow"},
		{car, "subscribe", "cars/+/down/#", "deny"},
		{car, "subscribe", "cars/#", "deny"},
		{car, "subscribe", "news/+", "allow"},
		{car, "subscribe", "news/#", "deny"},
		{car, "subscribe", "secret/+", "deny"},
		{&sdk.ClientInfo{Clientid: "+", Cn: "car-9"}, "subscribe", "cars/+/down/#", "deny"},
		{&sdk.ClientInfo{Clientid: "#", Cn: "car-9"}, "subscribe", "cars/#", "deny"},
		{&sdk.ClientInfo{Clientid: "car-1/down/#", Cn: "car-9"}, "subscribe", "cars/car-1/down/#/down/#", "deny"},
		{&sdk.ClientInfo{}, "publish", "inbox/", "deny"},
		{nil, "publish", "x", "deny"},
		{car, "publish", "", "deny"},
		{car, "publish", strings.Repeat("a/", 32<<10), "deny"},
		{&sdk.ClientInfo{Clientid: "\xff\x00", Username: strings.Repeat("x", 64<<10)}, "publish", "\x00", "deny"},
	} {
		if got := p.may(t, tt.c, tt.do, tt.topic); got != tt.want {
			t.Errorf("%v may %s %.60q: %s, want %s", tt.c, tt.do, tt.topic, got, tt.want)
		}
	}
}

// The first rule that fits decides, whatever index it is found by.
func TestFirstRuleDecides(t *testing.T) {
	t.Parallel()
	p := start(t, config{Rules: write(t, `
rules:
  - {deny: all, who: {clientid: c}, topics: x/1}
  - {allow: all, who: {username: u}, topics: x/#}
  - {deny: all, who: {clientid: c}, topics: x/#}
  - {allow: all, topics: "#"}
`), NoMatch: "ignore"})
	for _, tt := range []struct{ user, client, topic, want string }{
		{"u", "c", "x/1", "deny"}, {"u", "c", "x/2", "allow"}, {"", "c", "x/2", "deny"}, {"", "", "x/2", "allow"}, {"u", "c", "$SYS/x", "ignore"},
	} {
		if got := p.may(t, &sdk.ClientInfo{Username: tt.user, Clientid: tt.client}, "publish", tt.topic); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// A wider subscription gets what is denied, too. What a condition says of a topic cannot be said
// of a filter with wildcards: who is denied by it is, and who is allowed by it is not.
func TestWiderSubscriptions(t *testing.T) {
	t.Parallel()
	for rules, asked := range map[string][]string{
		`[{deny: all, when: "topic.startsWith('secret/')"}, {allow: all, topics: "#"}]`: {
			"-subscribe secret/x", "-subscribe secret/#", "-subscribe #", "-subscribe +/x", "+subscribe x", "-publish secret/x", "+publish x",
		},
		`[{deny: all, topics: s/#, when: "topic.endsWith('/x')"}, {allow: all, topics: "#"}]`: {
			"-subscribe s/#", "-subscribe #", "+subscribe t/#", "+subscribe s/y", "-subscribe s/x",
		},
		`[{deny: subscribe, when: "client.username == 'bob' && topic.contains('x')"}, {allow: all, topics: "#"}]`:   {"+subscribe #"},
		`[{deny: subscribe, when: "client.username == 'alice' && topic.contains('x')"}, {allow: all, topics: "#"}]`: {"-subscribe #", "+subscribe y"},
		`[{allow: all, when: "!topic.startsWith('secret/')"}]`: {
			"-subscribe #", "-subscribe +/x", "+subscribe x", "-subscribe secret/x", "+publish x",
		},
		`[{allow: all, when: "client.username == 'alice' || topic == 'x'"}]`: {"+subscribe #"},
		`[{deny: all, topics: [{eq: secret/x}]}, {allow: all, topics: "#"}]`: {
			"-subscribe secret/x", "-subscribe secret/#", "-subscribe #", "-subscribe +/x", "+subscribe secret/y", "+subscribe +/y", "-publish secret/x", "+publish secret",
		},
		`[{deny: all, topics: [{eq: "secret/+"}]}, {allow: all, topics: "#"}]`: {"-subscribe secret/+", "+subscribe secret/#", "+publish secret/x"},
		`[{allow: all, topics: [{eq: secret/x}]}]`:                             {"+subscribe secret/x", "-subscribe secret/+", "+publish secret/x", "-publish secret/y"},
	} {
		p := start(t, config{Rules: write(t, "rules: "+rules)})
		for _, s := range asked {
			do, topic, _ := strings.Cut(s[1:], " ")
			if got := p.may(t, &sdk.ClientInfo{Username: "alice"}, do, topic); got != map[byte]string{'+': "allow", '-': "deny"}[s[0]] {
				t.Errorf("%s\n%s: %s", rules, s, got)
			}
		}
	}
}

// Who cannot be told apart from the denied is denied.
func TestDoubtIsADenial(t *testing.T) {
	t.Parallel()
	p := start(t, config{Rules: write(t, `
rules:
  - {deny: all, who: {ip: 10.0.0.0/8}}
  - {deny: all, topics: t, when: 'int(client.id) > 7'}
  - {allow: all}
`)})
	for _, tt := range []struct{ ip, client, topic, want string }{
		{"10.1.2.3", "1", "t", "deny"}, {"", "1", "t", "deny"}, {"nonsense", "1", "t", "deny"}, {"11.1.2.3", "1", "t", "allow"},
		{"11.1.2.3", "8", "t", "deny"}, {"11.1.2.3", "eight", "t", "deny"}, {"11.1.2.3", "eight", "u", "allow"},
	} {
		if got := p.may(t, &sdk.ClientInfo{Peerhost: tt.ip, Clientid: tt.client}, "publish", tt.topic); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestRulesErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                                           "is empty",
		"rules: [":                                                   "line 1",
		"- allow: all":                                               ":1: must be keys and values: rules",
		"rule: []":                                                   `:1: unknown key "rule"; allowed: rules`,
		"rules: {}":                                                  "must be a list",
		"rules: []\n---\nrules: []":                                  "a second document",
		"rules:\n  - who: all":                                       ":2: a rule has either the key allow or the key deny",
		"rules:\n  - {allow: all, deny: all}":                        "either the key allow or the key deny",
		"rules:\n  - {allow: all, allow: all}":                       `key "allow" is given twice`,
		"rules:\n  - {allow: sub}":                                   `allow: "sub" is none of publish, subscribe, all`,
		"rules:\n  - {allow: all, topic: x}":                         `unknown key "topic"; allowed: allow, deny, topics, when, who`,
		"rules:\n  - {allow: all, topics: []}":                       "an empty list, which nothing fits",
		"rules:\n  - {allow: all, topics: [a/#/b]}":                  "# must be the last level",
		"rules:\n  - {allow: all, topics: [{ne: a}]}":                `unknown key "ne"; allowed: eq`,
		"rules:\n  - {allow: all, topics: [{}]}":                     "{eq: TEXT}",
		"rules:\n  - {allow: all, topics: [null]}":                   "must be a text",
		"rules:\n  - {allow: all, topics: [a, '${x}']}":              "no placeholder",
		"rules:\n  - {allow: all, who: {}}":                          "write who: all",
		"rules:\n  - {allow: all, who: alice}":                       "must be keys and values: clientid, cn, ip, username",
		"rules:\n  - {allow: all, who: {user: a}}":                   `unknown key "user"`,
		"rules:\n  - {allow: all, who: {username: []}}":              "an empty list",
		"rules:\n  - {allow: all, who: {username: {re: '('}}}":       "no regular expression",
		"rules:\n  - {allow: all, who: {username: {re: 'a)|(?:b'}}}": "no regular expression",
		"rules:\n  - {allow: all, who: {username: {}}}":              "{re: EXPRESSION}",
		"rules:\n  - {allow: all, who: {ip: host}}":                  "no address such as",
		"rules:\n  - {allow: all, who: {ip: '::ffff:10.0.0.0/104'}}": "no address such as",
		"rules:\n  - {allow: all, when: topic}":                      "must be true or false",
		"rules:\n  - {allow: all, when: 'client.nme == topic'}":      "undeclared reference",
		"a: &a {allow: all}\nrules: [*a]":                            `unknown key "a"`,
		"rules:\n  - &a {allow: all}\n  - *a":                        "must be keys and values",
	} {
		_, err := parseRules("rules.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "rules.yaml") {
			t.Errorf("%s\n%v\nwant %s", text, err, want)
		}
	}
	for want, c := range map[string]config{
		`"rules" is missing`: {},
		"no such file":       {Rules: "/no/such/file"},
		`"no_match" is "allow"; allowed: deny, ignore`: {Rules: "x", NoMatch: "allow"},
	} {
		if err := (&plugin{config: c}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The process's log, so these tests are not parallel.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func capture(t *testing.T) *logBuffer {
	t.Helper()
	l := new(logBuffer)
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(l, nil)))
	return l
}

func rulesFor(topic string) string { return "rules: [{allow: all, topics: " + topic + "}]\n" }

func TestReload(t *testing.T) {
	log := capture(t)
	file := write(t, rulesFor("first"))
	p := start(t, config{Rules: file})
	inForce := func(topic string) {
		t.Helper()
		muxtest.Eventually(t, topic+" is allowed", func() bool {
			return p.may(t, &sdk.ClientInfo{}, "publish", topic) == "allow"
		})
	}
	replace := func(text string) {
		t.Helper()
		next := file + ".new"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	inForce("first")
	replace(rulesFor("second"))
	inForce("second")
	if got := p.may(t, &sdk.ClientInfo{}, "publish", "first"); got != "deny" {
		t.Errorf("the old rules are still in force: %s", got)
	}
	if err := os.WriteFile(file, []byte(rulesFor("third")), 0o600); err != nil {
		t.Fatal(err)
	}
	inForce("third")

	replace("rules: [{allow: all, topics: a/#/b}]")
	muxtest.Eventually(t, "the problem is logged", func() bool { return log.count("old ones stay in force") == 1 })
	inForce("third")
	if log.count("rules.yaml:1") != 1 || log.count("# must be the last level") != 1 {
		t.Error(log.b.String())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	muxtest.Eventually(t, "the missing file is logged", func() bool { return log.count("no such file") == 1 })
	inForce("third")
	replace(rulesFor("third"))
	muxtest.Eventually(t, "the old file is back", func() bool { return log.count("again those that are in force") == 1 })

	// Kubernetes: rules.yaml -> ..data/rules.yaml, ..data -> a folder that is exchanged.
	dir := filepath.Dir(file)
	for i, topic := range []string{"fourth", "fifth"} {
		data := filepath.Join(dir, fmt.Sprint("..", i))
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, "rules.yaml"), []byte(rulesFor(topic)), 0o600); err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(dir, "..data.new")
		if err := os.Symlink(filepath.Base(data), next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := os.Symlink("..data/rules.yaml", next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, file); err != nil {
				t.Fatal(err)
			}
		}
		inForce(topic)
	}
}

// A file that is half written may be a file of rules. It does not count.
func TestHalfAFileIsNotInForce(t *testing.T) {
	t.Parallel()
	file := write(t, "rules: []\n")
	w := &watcher{path: file}
	rules := -1
	look := func() bool { return w.look(func(s *ruleSet) { rules = len(s.rules) }, time.Now()) }
	for i, text := range []string{"rules: []\n#", "rules: [{deny: all}]\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if again := look(); !again || rules != -1 {
			t.Errorf("reading %d: again %v, %d rules in force", i, again, rules)
		}
	}
	if again := look(); again || rules != 1 {
		t.Errorf("the same again: again %v, %d rules in force", again, rules)
	}
}

// The same broken file is complained about once, and again after a while.
func TestBrokenFileIsLoggedOnce(t *testing.T) {
	log := capture(t)
	file := write(t, "rules: nonsense")
	w := &watcher{path: file, applied: []byte("x")}
	now := w.said
	for range 100 {
		w.look(func(*ruleSet) { t.Error("applied") }, now.Add(remind))
	}
	if n := log.count("stay in force"); n != 1 {
		t.Errorf("%d times", n)
	}
	w.look(nil, now.Add(2*remind))
	if n := log.count("stay in force"); n != 2 {
		t.Errorf("%d times", n)
	}
}

func TestUnderHookmux(t *testing.T) {
	t.Parallel()
	file := write(t, example)
	h := plugintest.RunWith(t, map[string]any{"rules": file})
	car := &sdk.ClientInfo{Clientid: "car-1", Cn: "car-1", Peerhost: "10.0.0.1"}
	for range 100 {
		if got := plugintest.Verdict(h.May(t, car, sdk.Publish, "cars/car-1/up/x")); got != "allow" {
			t.Fatal(got)
		}
		if got := plugintest.Verdict(h.May(t, car, sdk.Publish, "cars/car-2/up/x")); got != "deny" {
			t.Fatal(got)
		}
	}
	h.Logs(t, `why="no rule matches"`)
	if n := strings.Count(h.Log(), `why="no rule matches"`); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if got := plugintest.Verdict(h.May(t, car, sdk.Subscribe, "secret/#")); got != "deny" {
		t.Error(got)
	}
	h.Logs(t, `rule=`+file+`:11`)
	if err := os.WriteFile(file, []byte(rulesFor("cars/%c/#")), 0o600); err != nil {
		t.Fatal(err)
	}
	muxtest.Eventually(t, "the new rules are in force", func() bool {
		return plugintest.Verdict(h.May(t, car, sdk.Subscribe, "cars/car-1/#")) == "allow"
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, map[string]any{"rules": write(t, example)})
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml rules\n(.*?)^```")

// The configs and the rules in the README are right.
func TestReadme(t *testing.T) {
	t.Parallel()
	for _, raw := range plugintest.Readme(t, "authz-rules") {
		plugintest.Configure(t, raw, new(config))
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 2 {
		t.Errorf("%d rules files", len(blocks))
	}
	for _, b := range blocks {
		if _, err := parseRules("README.md", []byte(b[1])); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
	}
}

// A thousand rules, and a request that none of them fits: the most that it can cost.
func BenchmarkThousandRules(b *testing.B) {
	for name, line := range map[string]string{
		"by topic":    "  - {allow: all, topics: [plant/%d/+/x, plant/%[1]d/#]}\n",
		"by client":   "  - {allow: all, who: {clientid: c%d}, topics: cars/%%c/#}\n",
		"placeholder": "  - {allow: all, topics: 'plant/%d/%%c/#'}\n",
		"expression":  "  - {allow: all, who: {username: {re: 'u%d-[0-9]+'}}}\n",
		"condition":   "  - {allow: all, when: 'client.username == \"u%d\"'}\n",
	} {
		b.Run(name, func(b *testing.B) {
			text := "rules:\n"
			for i := range 1000 {
				text += fmt.Sprintf(line, i)
			}
			rules, err := parseRules("rules.yaml", []byte(text))
			if err != nil {
				b.Fatal(err)
			}
			r := &sdk.ClientAuthorizeRequest{Topic: "plant/none/up/y", Clientinfo: &sdk.ClientInfo{Clientid: "nobody", Username: "nobody"}}
			b.ReportAllocs()
			for b.Loop() {
				q := topicfilter.Of(r)
				if rule, err := rules.first(&q); rule != nil || err != nil {
					b.Fatal(rule, err)
				}
			}
		})
	}
}
