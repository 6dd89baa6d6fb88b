package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/muxtest"
)

// TestDemo runs the demo as a process, with the plugins as `make build` makes them.
func TestDemo(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./examples/go/...")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	t.Run("once", func(t *testing.T) {
		t.Parallel()
		d := startDemo(t, "--once", "--plugins", bin)
		d.ends(t, 0)
		d.says(t, "broker     127.0.0.1:", "/hookmux.yaml", "team Accounts",
			"1  alice and bob log in ", "→ CONNACK 0x00",
			`→ alice receives "21.5 °C"`,
			"→ PUBACK 0x00, but alice receives nothing",
			"refused, then alice is let in again",
			`error="it was killed by SIGKILL", then: plugin is up`,
			"it wrote down that bob's gateway-",
			"came true")
		if out := d.stdout.String(); strings.Contains(out, "\x1b") || strings.Contains(out, "mosquitto") {
			t.Error("colours without a terminal, or an invitation before the end")
		}
		d.leavesNothing(t)
	})

	t.Run("stays up", func(t *testing.T) {
		t.Parallel()
		d := startDemo(t, "--verbose", "--plugins", bin)
		muxtest.Eventually(t, "the invitation", func() bool { return strings.Contains(d.stdout.String(), "Ctrl-C ends everything") })
		if lines := strings.Count(d.stdout.String(), "\n"); lines > 60 {
			t.Errorf("%d lines are more than one wants to read", lines)
		}
		addr := regexp.MustCompile(`broker +(\S+)`).FindStringSubmatch(d.stdout.String())[1]
		alice, _, err := dialMQTT(t.Context(), addr, "a", "alice", "wonderland")
		if err != nil {
			t.Fatal(err)
		}
		defer alice.leave()
		bob, _, err := dialMQTT(t.Context(), addr, "b", "bob", "builder")
		if err != nil {
			t.Fatal(err)
		}
		defer bob.leave()
		if code, err := alice.subscribe(t.Context(), "sensors/#"); err != nil || code != 1 {
			t.Fatal(code, err)
		}
		if code, err := bob.publish(t.Context(), "sensors/attic/raw", "19"); err != nil || code >= 0x80 {
			t.Fatal(code, err)
		}
		muxtest.Eventually(t, "alice gets the reading with its unit", func() bool {
			got := alice.received()
			return len(got) == 1 && got[0].payload == "19 °C"
		})

		// Operators reach it, as the invitation says.
		config := regexp.MustCompile(`config +(\S+)`).FindStringSubmatch(d.stdout.String())[1]
		d.says(t, " explain -c "+config, " status -c "+config)
		explain := exec.CommandContext(t.Context(), d.cmd.Path, "explain", "-c", config, "--client", "gateway")
		explain.Env = d.cmd.Env
		if out, err := explain.CombinedOutput(); err != nil || !strings.Contains(string(out), "topics said: deny.") {
			t.Errorf("hookmux explain: %v\n%s", err, out)
		}

		// A second one cannot have the port.
		second := startDemo(t, "--plugins", bin, "--mqtt", addr)
		second.ends(t, 1)
		second.says(t, "hookmux: "+addr+" is taken", "--mqtt 127.0.0.1:0")
		second.leavesNoProcess(t)

		_ = d.cmd.Process.Signal(os.Interrupt)
		d.ends(t, 0)
		d.says(t, "level=INFO", "Stopping")
		d.leavesNothing(t)
	})

	// A plugin that does less than the story says of it.
	t.Run("not true", func(t *testing.T) {
		t.Parallel()
		other := t.TempDir()
		for name, as := range map[string]string{"login": "login", "minimal": "topics", "presence": "presence"} {
			if err := os.Symlink(filepath.Join(bin, name), filepath.Join(other, as)); err != nil {
				t.Fatal(err)
			}
		}
		d := startDemo(t, "--once", "--plugins", other)
		d.ends(t, 1)
		d.says(t, "→ NOT TRUE: SUBACK 0x01, expected 0x87", "hookmux: step 4 of the demo did not come true (bob subscribes to alice/mail)", "the log is "+d.tmp)
		d.leavesNoProcess(t)
		if logs, _ := filepath.Glob(filepath.Join(d.tmp, "*", "hookmux.log")); len(logs) != 1 {
			t.Errorf("the logs that were left: %q", logs)
		}
	})

	t.Run("plugin does not start", func(t *testing.T) {
		t.Parallel()
		other := t.TempDir()
		for name, as := range map[string]string{"login": "login", "topics": "topics"} {
			if err := os.Symlink(filepath.Join(bin, name), filepath.Join(other, as)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(other, "presence"), []byte("#!/bin/sh\necho no luck >&2\nexit 3\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		d := startDemo(t, "--once", "--plugins", other)
		d.ends(t, 1)
		d.says(t, "the plugin presence did not start", "no luck")
		d.leavesNoProcess(t)
	})
}

func TestDemoWithoutPlugins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "login"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, "--plugins", dir)
	d.ends(t, 1)
	d.says(t, "(topics, presence) are not in "+dir, "`make demo`", "`make build`", "--plugins")
	d.leavesNothing(t)

	d = startDemo(t) // by default they are beside hookmux, which here is alone
	d.ends(t, 1)
	d.says(t, "(login, topics, presence) are not in ")
	d.leavesNothing(t)
}

// demoProcess is a running demo, in a session and a folder for temporary files
// of its own, so that what it leaves can be told.
type demoProcess struct {
	cmd            *exec.Cmd
	tmp            string
	stdout, stderr syncBuffer
}

// syncBuffer can be read while a process writes to it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	tmp, err := os.MkdirTemp("", "demo") // short: sockets go there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	d := &demoProcess{tmp: tmp}
	d.cmd = exec.CommandContext(t.Context(), "hookmux", append([]string{"demo", "--mqtt", "127.0.0.1:0"}, args...)...)
	d.cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	d.cmd.WaitDelay = 10 * time.Second
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", d.stdout.String(), d.stderr.String())
		}
	})
	return d
}

func (d *demoProcess) ends(t *testing.T, code int) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = d.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(90 * time.Second):
		_ = d.cmd.Process.Kill()
		<-done
		t.Fatal("the demo did not end")
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit status %d, want %d", got, code)
	}
}

func (d *demoProcess) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(d.stdout.String()+d.stderr.String(), text) {
			t.Errorf("it did not say %q", text)
		}
	}
}

func (d *demoProcess) leavesNothing(t *testing.T) {
	t.Helper()
	d.leavesNoProcess(t)
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// leavesNoProcess looks for processes of the demo's session: the plugins and
// the reaper have groups of their own, but not sessions.
func (d *demoProcess) leavesNoProcess(t *testing.T) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp session …
		name, rest, _ := bytes.Cut(stat, []byte(") "))
		fields := bytes.Fields(rest)
		if len(fields) > 3 && fields[0][0] != 'Z' && string(fields[3]) == strconv.Itoa(d.cmd.Process.Pid) {
			t.Errorf("still there: %s)", name)
		}
	}
}
