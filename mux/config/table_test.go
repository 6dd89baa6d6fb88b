package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// Every row of the tables says what the documentation needs, and its default
// can be written into the file and means what leaving it out means.
func TestTables(t *testing.T) {
	t.Parallel()
	var walk func(t *testing.T, path string, keys []key)
	walk = func(t *testing.T, path string, keys []key) {
		seen := make(map[string]bool)
		for _, k := range keys {
			at := join(path, k.name)
			if seen[k.name] || k.doc == "" || k.value.expects == "" || k.value.read == nil {
				t.Errorf("%s: %+v", at, k)
			}
			seen[k.name] = true
			if k.value.keys != nil {
				walk(t, at, k.value.keys())
			}
		}
	}
	walk(t, "", new(Config).keys())

	var all strings.Builder
	write := func(indent string, keys []key) {
		for _, k := range keys {
			if k.def != "" {
				all.WriteString(indent + k.name + ": \"" + k.def + "\"\n")
			}
		}
	}
	unquote := strings.NewReplacer(`"256"`, "256", `"5"`, "5", `"10000"`, "10000", `"[`, "[", `]"`, "]", `"true"`, "true", `"false"`, "false")
	write("", new(Config).keys())
	all.WriteString("limits:\n")
	write("  ", limitKeys(new(Limits)))
	all.WriteString("log:\n")
	write("  ", new(Log).keys())
	all.WriteString("providers:\n  - name: a\n    command: a\n")
	write("    ", new(Provider).keys())
	all.WriteString("    breaker:\n")
	write("      ", breakerKeys(new(mux.BreakerSpec)))
	all.WriteString("    lane:\n")
	write("      ", laneKeys(new(mux.LaneSpec)))
	explicit, err := Parse("x", []byte(unquote.Replace(all.String())), Sources{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, all.String())
	}
	bare, err := Parse("x", []byte("providers: [{name: a, command: a}]"), Sources{})
	if err != nil {
		t.Fatal(err)
	}
	// What mux has defaults for is left to it.
	s, d := &bare.Providers[0].Spec, mux.Spec{Name: "a", Timeout: mux.DefaultTimeout, Concurrency: mux.DefaultConcurrency,
		MayChange: []mux.Change{mux.ChangePayload, mux.ChangeTopic, mux.ChangeQoS, mux.ChangeDrop},
		Breaker:   mux.BreakerSpec{Failures: mux.DefaultBreakerFailures, Open: mux.DefaultBreakerOpen},
		Lane:      mux.LaneSpec{Events: mux.DefaultLaneEvents, Bytes: mux.DefaultLaneBytes}}
	if !reflect.DeepEqual(*s, mux.Spec{Name: "a"}) {
		t.Errorf("filled in: %+v", *s)
	}
	*s = d
	if !reflect.DeepEqual(explicit, bare) {
		t.Errorf("with all defaults written\n%+v\nwithout\n%+v", explicit, bare)
	}
}

// A program's path is absolute however the config was named: hookmux starts it
// in another folder.
func TestLoadResolvesPaths(t *testing.T) {
	t.Parallel()
	cfg, err := Load("testdata/good_minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Abs("testdata/login")
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Providers[0].Command[0]; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := cfg.Providers[0].Dir; got != filepath.Dir(want) {
		t.Errorf("dir %s", got)
	}
}

func TestLoadReadsSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "hookmux.yaml")
	write(t, filepath.Join(dir, "token"), "a: b\n")
	write(t, file, "providers: [{name: a, command: a, config: {token: '${file:token}'}}]")
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(cfg.Providers[0].Config); got != `{"token":"a: b"}` {
		t.Error(got)
	}
	for _, s := range []string{cfg.Providers[0].String()} {
		if strings.Contains(s, "a: b") {
			t.Errorf("%s shows the config", s)
		}
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	huge := filepath.Join(dir, "huge.yaml")
	write(t, huge, strings.Repeat("# nothing\n", maxFile/10+1))
	if _, err = Load(huge); !errors.Is(err, errTooLarge) || !strings.Contains(err.Error(), huge) {
		t.Error(err)
	}
	if _, err := Parse("huge.yaml", make([]byte, maxFile+1), Sources{}); err == nil {
		t.Error("Parse took it")
	}
}

// A file of nothing but mistakes is answered in bounded length.
func TestManyErrors(t *testing.T) {
	t.Parallel()
	_, err := Parse("x.yaml", []byte("providers:\n"+strings.Repeat("  - {xyz: 1}\n", 250)), Sources{})
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors+1 || !strings.HasSuffix(lines[maxErrors], "x.yaml:35: and 650 more errors from here on") {
		t.Errorf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
	}
}

// Files that are made to cost much cost little.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	const alias = "*x, "
	for name, text := range map[string]string{
		"files by alias":    "a: &x '${file:huge}'\nproviders: [" + strings.Repeat(alias, 90_000) + "]",
		"files":             "providers: [" + strings.Repeat("'${file:huge}', ", 60_000) + "]",
		"mappings by alias": "a: &x {b: 1}\nproviders: [" + strings.Repeat(alias, 40_000) + "]",
		"aliases of merges": "a: &x {b: 1, c: 2, d: 3}\nproviders: [" + strings.Repeat("{<<: [*x, *x, *x]}, ", 6_000) + "]",
		"unknown keys":      strings.Repeat("?\n", 1) + manyKeys(60_000),
		"deep lists":        "providers: " + strings.Repeat("[", 400_000),
		"deep mappings":     strings.Repeat("{a: ", 9_000),
		"long key":          strings.Repeat("a", maxFile-10) + ": 1",
		"long alias path":   "a: &x {" + strings.Repeat("k", 50_000) + ": 1}\nproviders: [" + strings.Repeat(alias, 40_000) + "]",
		"many documents":    strings.Repeat("--- a\n", 100_000),
		"many anchors":      "providers: [" + strings.Repeat("&x 1, ", 90_000) + "]",
		"one long scalar":   "listen: '" + strings.Repeat("x", maxFile-100) + "'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := Parse("x.yaml", []byte(text), testSources())
			if err == nil {
				t.Fatal("it was taken")
			}
			if took := time.Since(start); took > time.Minute || len(err.Error()) > 1<<20 {
				t.Errorf("%s for an error of %d bytes", took, len(err.Error()))
			} else {
				t.Logf("%s for an error of %d bytes: %.200s", took, len(err.Error()), err)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	return b.String()
}

// Parse gives a config that holds what it promises, or errors that name the
// file, and never panics or shows a secret.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("fuzz.yaml", data, testSources())
		if err != nil {
			if cfg != nil {
				t.Error("a config and an error")
			}
			for _, secret := range secretTexts {
				if strings.Contains(string(data), secret) {
					return // it shows itself
				}
			}
			checkErrors(t, "fuzz.yaml", err, secretTexts...)
			return
		}
		if len(cfg.Providers) == 0 || cfg.Listen == "" || cfg.Timeout <= 0 {
			t.Errorf("%+v", cfg)
		}
		for _, p := range cfg.Providers {
			if p.Name == "" || (len(p.Command) == 0) != p.IsRemote() {
				t.Errorf("%+v", p)
			}
			if p.Config != nil && (!json.Valid(p.Config) || p.Config[0] != '{') {
				t.Errorf("no JSON object: %s", p.Config)
			}
			for _, h := range p.Hooks {
				for _, topic := range h.Topics {
					if mux.CheckTopicFilter(topic) != nil {
						t.Errorf("filter %q", topic)
					}
				}
			}
		}
	})
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
