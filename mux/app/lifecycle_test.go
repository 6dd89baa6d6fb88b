package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// A plugin that cannot be started is named, with the reason and its last words,
// and its policy is in force.
func TestPluginsThatCannotStart(t *testing.T) {
	t.Parallel()
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self := muxtest.Command(t)
	for name, c := range map[string]struct {
		command  []string
		do       string
		hooks    []mux.HookSpec
		declares []string
		want     []string
	}{
		"missing":                {command: []string{"/nowhere/plugin"}, want: []string{"/nowhere/plugin: no such file"}},
		"missing in PATH":        {command: []string{"no-such-plugin"}, want: []string{"no-such-plugin: no such command in PATH"}},
		"not executable":         {command: []string{script("p", "#!/bin/sh\n", 0o600)}, want: []string{"not executable"}},
		"no interpreter":         {command: []string{script("p", "#!/nowhere/python\n", 0o700)}, want: []string{"interpreter that its first line names does not exist"}},
		"no program":             {command: []string{script("p", "\x00\x01", 0o700)}, want: []string{"not a program that this machine can run"}},
		"not a plugin":           {command: []string{"/bin/echo", "hello"}, want: []string{"exited with status 0 before its handshake line", "| hello"}},
		"a plugin that says why": {command: []string{script("p", "#!/bin/sh\necho 'bad: Start: no database' >&2\nexit 1\n", 0o700)}, want: []string{"/p exited with status 1; its last output:\n  | bad: Start: no database"}},
		"silent":                 {command: self, do: muxtest.NoHandshake, want: []string{"printed no handshake line within", "| hello, I am no plugin"}},
		"another app protocol":   {command: self, do: muxtest.OtherProtocol, want: []string{"speaks another app protocol", "Plugin version: 7"}},
		"refuses its config":     {command: self, do: muxtest.ExitAtStart, want: []string{"exited with status 3", "| cannot reach the database"}},
		"lacks a granted hook":   {command: self, hooks: []mux.HookSpec{{Hook: mux.ClientAuthenticate}}, declares: []string{"client.connected"}, want: []string{"config lists client.authenticate under hooks, but the provider does not answer it"}},
		"declares a bad filter":  {command: self, declares: []string{"message.publish"}, want: []string{"invalid filter", `"a/#/b": # must be the last level`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := muxtest.Behaviour{Do: c.do, Hooks: c.declares, Topics: []string{"a/#/b"}}
			cfg := config.Config{Providers: []config.Provider{{
				Spec: mux.Spec{Name: "bad", Hooks: c.hooks}, Command: c.command, Config: b.Config(), StartTimeout: 2 * time.Second,
			}}}
			s := start(t, cfg, nil)
			for _, text := range append(c.want, "provider=bad") {
				if got := s.provider(t, "bad").LastErr; !strings.Contains(got, text) && !s.log.contains(text) {
					t.Errorf("said %q, want %q", got, text)
				}
			}
			broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
			hooks := broker.Load(t, "5.10.3")
			if _, ok := hooks["client.authenticate"]; !ok {
				t.Errorf("a provider that never started left logins open: the broker was told %v", hooks)
			}
			if _, allowed := broker.Authenticate(t, "c"); allowed {
				t.Error("a login was allowed")
			}
		})
	}
}

// After several runs that were not stable the plugin is tried at a slow pace,
// and its policy holds.
func TestCrashLoopIsQuarantined(t *testing.T) {
	t.Parallel()
	s := start(t, config.Config{Providers: []config.Provider{plugin(t, "bad", muxtest.Behaviour{Do: muxtest.ExitMidCall})}}, func(o *app.Options) {
		o.Host.QuarantineAfter, o.Host.QuarantinePace = 3, time.Hour
	})
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	muxtest.Eventually(t, "quarantine", func() bool {
		if _, allowed := broker.Authenticate(t, "c"); allowed {
			t.Error("a login was allowed")
		}
		return s.provider(t, "bad").Status == host.Quarantined
	})
	if p := s.provider(t, "bad"); p.Restarts != 2 || !strings.Contains(p.LastErr, "exited with status 4") {
		t.Errorf("quarantined after %d restarts because %q", p.Restarts, p.LastErr)
	}
	if _, allowed := broker.Authenticate(t, "c"); allowed {
		t.Error("a login was allowed in quarantine")
	}
}

// A broker that connects while the plugins still start is kept waiting, and
// then told everything.
func TestEarlyBrokerWaitsForThePlugins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	// The plugin starts once somebody writes to the gate.
	late := config.Provider{
		Spec:    mux.Spec{Name: "late"},
		Command: []string{"/bin/sh", "-c", fmt.Sprintf("read line < %s; exec %s", gate, muxtest.Command(t)[0])},
		Config:  muxtest.Behaviour{Hooks: []string{"client.connected"}}.Config(),
		Env:     map[string]string{"MARK": dir},
	}
	a := app.New(&config.Config{Listen: "127.0.0.1:0", Providers: []config.Provider{late}}, app.Options{})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	broker := muxtest.NewBroker(t, a.Addr(), mux.V3)
	told := make(chan map[string][]string)
	go func() { told <- broker.Load(t, "5.10.3") }()
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	hooks := <-told
	if _, ok := hooks["client.connected"]; !ok || len(hooks) != 1 {
		t.Errorf("the broker was told %v", hooks)
	}
}

// hookmux is killed with SIGKILL: neither a plugin nor what it started is left.
func TestNothingSurvivesASIGKILL(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	cmd := exec.Command(muxtest.Command(t)[0])
	cmd.Env = append(os.Environ(), "HOOKMUX_TEST_RUN="+mark)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// hookmux itself, two plugins, and two grandchildren of one of them.
	muxtest.Eventually(t, "all processes are there", func() bool { return len(muxtest.Processes("MARK="+mark)) == 4 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	muxtest.Eventually(t, "no process is left", func() bool { return len(muxtest.Processes("MARK="+mark)) == 0 })
}

// runForKill is hookmux's process in the test above.
func runForKill(mark string) {
	exe, _ := os.Executable()
	env := map[string]string{"MARK": mark}
	provider := func(name, do string) config.Provider {
		return config.Provider{Spec: mux.Spec{Name: name}, Command: []string{exe}, Env: env, Config: muxtest.Behaviour{Do: do}.Config()}
	}
	a := app.New(&config.Config{Listen: "127.0.0.1:0", Providers: []config.Provider{
		provider("one", ""), provider("two", muxtest.Grandchildren),
	}}, app.Options{Reaper: []string{exe, "reaper"}})
	if err := a.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// Check says of each provider whether it can be served, and leaves nothing
// running.
func TestCheck(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	good, bad := plugin(t, "good", muxtest.Behaviour{Hooks: []string{"client.connected"}}), plugin(t, "bad", muxtest.Behaviour{Do: muxtest.ExitAtStart})
	good.Env = map[string]string{"MARK": mark}
	reports, err := app.Check(t.Context(), &config.Config{Providers: []config.Provider{good, bad}}, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := reports[0]; r.LastErr != "" || len(r.Wants) != 1 || r.Wants[0].Hook != mux.ClientConnected {
		t.Errorf("good: %+v", r)
	}
	if r := reports[1]; !strings.Contains(r.LastErr, "exited with status 3") || r.Known {
		t.Errorf("bad: %+v", r)
	}
	if left := muxtest.Processes("MARK=" + mark); len(left) != 0 {
		t.Errorf("still running: %v", left)
	}
}

// An address that is taken is an error, and nothing is left of the attempt.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	first := start(t, config.Config{Providers: []config.Provider{plugin(t, "one", muxtest.Behaviour{})}}, nil)
	mark := t.TempDir()
	p := plugin(t, "two", muxtest.Behaviour{})
	p.Env = map[string]string{"MARK": mark}
	err := app.New(&config.Config{Listen: first.Addr(), Providers: []config.Provider{p}}, app.Options{}).Start()
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error: %v", err)
	}
	if left := muxtest.Processes("MARK=" + mark); len(left) != 0 {
		t.Errorf("still running: %v", left)
	}
}
