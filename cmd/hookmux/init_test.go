package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hookmux/hookmux/cmd/hookmux/internal/scaffold"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// What init makes builds, passes its own test and verify, and runs under dev, which
// puts a changed plugin in the old one's place, and keeps it when the new one is broken.
func TestInit(t *testing.T) {
	t.Parallel()
	root, err := lanes.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range scaffold.Languages {
		t.Run(lang.Name, func(t *testing.T) {
			t.Parallel()
			if lang.Name != "go" {
				lanes.Require(t, lang.Name)
			}
			dir := filepath.Join(t.TempDir(), "topic-rules")
			hookmux(t, 0, "topic-rules", "init", lang.Name, dir, "--sdk", root)
			for _, commands := range [][][]string{lang.Missing(dir), lang.Test, lang.Build} {
				for _, c := range commands {
					cmd := exec.CommandContext(t.Context(), c[0], c[1:]...)
					cmd.Dir = dir
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("%s: %v\n%s", strings.Join(c, " "), err, out)
					}
				}
			}
			if lang.Missing(dir) != nil {
				t.Errorf("%s is not there after %v", lang.Installed, lang.Setup)
			}
			hookmux(t, 0, "up", "check", "-c", filepath.Join(dir, "hookmux.yaml"))
			verify := append([]string{"verify", "--dir", dir, "--config", `{"forbidden": ["forbidden/#"]}`, "--"}, lang.Verify...)
			if out := hookmux(t, 0, " ok", verify...); strings.Contains(out, "FAILED") || strings.Contains(out, "note") {
				t.Error(out)
			}
			develop(t, dir)
		})
	}
}

// develop changes the config of a plugin under dev, to a right and to a wrong one.
func develop(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := new(lockedBuffer)
	d := &dev{dir: dir, mqtt: "127.0.0.1:0", lang: scaffold.Of(dir), out: out, err: out}
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, out)
		}
	}()
	muxtest.Eventually(t, "the plugin is up", func() bool { return strings.Contains(out.String(), "topic-rules is up, pid ") })
	file := filepath.Join(dir, "hookmux.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ filter, want string }{
		{"other/#", `changes="restarted topic-rules"`},
		{"a#b", "what ran before goes on"},
	} {
		if err := os.WriteFile(file, bytes.Replace(before, []byte("forbidden/#"), []byte(change.filter), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		muxtest.Eventually(t, change.want, func() bool { return strings.Contains(out.String(), change.want) })
	}
	if n := strings.Count(out.String(), "topic-rules is up"); n != 2 {
		t.Errorf("it was put in place %d times", n)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"is not empty":                {"go", full, "--name", "x"},
		`there is no SDK for "cobol"`: {"cobol", t.TempDir()},
		`"Topic Rules" is no name`:    {"go", filepath.Join(t.TempDir(), "x"), "--name", "Topic Rules"},
		"is no checkout of hookmux":   {"go", filepath.Join(t.TempDir(), "x"), "--sdk", full},
		"give a language (go":         {"go"},
		"hookmux is no release":       {"go", filepath.Join(t.TempDir(), "x"), "--sdk", ""},
		"mine/x: not a directory":     {"go", filepath.Join(full, "mine", "x")},
	} {
		if args[0] == "go" && want != "hookmux is no release" {
			args = append([]string{"--sdk=../.."}, args...)
		}
		hookmux(t, 1, want, append([]string{"init"}, args...)...)
	}
	if files, err := os.ReadDir(full); err != nil || len(files) != 1 {
		t.Error(files, err)
	}
}

// hookmux runs a command in this process; its output must have a text in it.
func hookmux(t *testing.T, code int, want string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := run(args, nil, &out, &out); got != code || !strings.Contains(out.String(), want) {
		t.Errorf("hookmux %s: status %d, and no %q in:\n%s", strings.Join(args, " "), got, want, &out)
	}
	return out.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
