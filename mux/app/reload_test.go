package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// variant is the config of s with other providers, as a file read anew would be.
func (s *sidecar) variant(providers ...config.Provider) *config.Config {
	cfg := s.cfg
	cfg.Providers = nil
	for _, p := range providers {
		cfg.Providers = append(cfg.Providers, s.marked(p))
	}
	return &cfg
}

func (s *sidecar) apply(t *testing.T, cfg *config.Config, want app.Changes) {
	t.Helper()
	got, err := s.Apply(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("changes: %s; want: %s", got, &want)
	}
}

func (s *sidecar) pid(t *testing.T, name string) int { return s.provider(t, name).Pid }

// What concerns a process has it replaced; all else leaves it alone.
func TestReloadReplacesOnlyProcessesThatChanged(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "one")
		hooks := []string{"client.authenticate", "client.connected", "message.delivered"}
		one := plugin(t, "one", muxtest.Behaviour{Protocol: protocol, Hooks: hooks, Record: rec, Answer: "allow"})
		two := plugin(t, "two", muxtest.Behaviour{Protocol: protocol, Hooks: hooks, Answer: "allow"})
		s := start(t, config.Config{Providers: []config.Provider{one, two}}, nil)
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		broker.Load(t, "5.10.3")
		login := func(want bool) {
			t.Helper()
			if _, allowed := broker.Authenticate(t, "c"); allowed != want {
				t.Errorf("allowed: %v", allowed)
			}
		}
		was := []int{s.pid(t, "one"), s.pid(t, "two")}
		same := func() {
			t.Helper()
			if now := []int{s.pid(t, "one"), s.pid(t, "two")}; !slices.Equal(now, was) {
				t.Errorf("pids %v, were %v", now, was)
			}
		}
		login(true)
		s.apply(t, s.variant(one, two), app.Changes{})
		same()
		s.apply(t, s.variant(two, one), app.Changes{Reordered: true})
		same()
		one.Timeout, one.Lane.Bytes, one.Hooks = time.Second, 1<<20, []mux.HookSpec{{Hook: mux.MessageDelivered}}
		s.apply(t, s.variant(two, one), app.Changes{Changed: []string{"one"}})
		same()
		cfg := s.variant(two, one)
		cfg.Default = map[mux.Hook]bool{mux.ClientAuthorize: false}
		s.apply(t, cfg, app.Changes{Settings: []string{"default"}})
		same()
		if _, allowed := broker.Authorize(t, "c", "t"); allowed {
			t.Error("the new default does not count")
		}
		s.cfg = *cfg

		two.Config = muxtest.Behaviour{Protocol: protocol, Hooks: hooks, Answer: "deny"}.Config()
		three := plugin(t, "three", muxtest.Behaviour{Protocol: protocol, Hooks: []string{"session.created"}})
		s.apply(t, s.variant(two, one, three), app.Changes{Restarted: []string{"two"}, Added: []string{"three"}})
		login(false)
		if s.pid(t, "one") != was[0] || s.pid(t, "two") == was[1] {
			t.Error("the wrong process was replaced")
		}
		if !s.log.contains("the broker does not yet send everything") {
			t.Error("nobody said that the broker knows nothing of session.created")
		}
		broker.Delivered(t, "c", 0)
		s.apply(t, s.variant(two, three), app.Changes{Removed: []string{"one"}})
		broker.Delivered(t, "c", 1)
		muxtest.Eventually(t, "the processes that are no longer needed are gone", func() bool {
			return len(muxtest.Processes("MARK="+s.mark)) == 2
		})
		// A broker that loads hookmux just when a plugin comes up may be told of twice.
		if got := slices.Compact(muxtest.ReadLifecycle(t, rec)); !slices.Equal(got, []string{"loaded hookmux", "loaded emqx@127.0.0.1", "unloaded hookmux"}) {
			t.Errorf("the removed one was told %q", got)
		}
		if calls := muxtest.ReadRecord(t, rec); len(calls) != 2 { // the login, and what was delivered
			t.Errorf("the removed one got %d calls", len(calls))
		}
		// And back again.
		s.apply(t, s.variant(one, two, three), app.Changes{Added: []string{"one"}})
		broker.Delivered(t, "c", 2)
		muxtest.Eventually(t, "it gets events again", func() bool { return len(muxtest.ReadRecord(t, rec)) == 3 })
	})
}

// Whatever is wrong with a new config, nothing has changed, and it is said.
func TestFailedReloadChangesNothing(t *testing.T) {
	t.Parallel()
	good := plugin(t, "good", muxtest.Behaviour{Hooks: []string{"client.authenticate"}, Answer: "allow"})
	s := start(t, config.Config{Providers: []config.Provider{good}}, func(o *app.Options) {
		o.Load = func() (*config.Config, error) {
			return config.Parse("hookmux.yaml", []byte("lisen: x"), config.Sources{})
		}
	})
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	pid := s.pid(t, "good")
	changed := good
	changed.Env = map[string]string{"A": "1"} // a process that would be replaced
	bad := func(b muxtest.Behaviour) config.Provider { return plugin(t, "bad", b) }
	upgraded := good
	upgraded.Config = muxtest.Behaviour{Do: muxtest.ExitAtStart}.Config()
	granted := good
	granted.Hooks = []mux.HookSpec{{Hook: mux.ClientAuthorize}}
	missing := bad(muxtest.Behaviour{})
	missing.Command = []string{"/nowhere/plugin"}
	nobody := config.Provider{Spec: mux.Spec{Name: "bad"}, URL: "http://127.0.0.1:9"}
	elsewhere := s.variant(good)
	elsewhere.Listen = "127.0.0.1:1"
	for name, c := range map[string]struct {
		cfg  *config.Config
		want string
	}{
		"a new one that does not start":     {s.variant(changed, bad(muxtest.Behaviour{Do: muxtest.ExitAtStart})), "provider bad: /"},
		"one without a program":             {s.variant(changed, missing), "provider bad: /nowhere/plugin: no such file"},
		"one that declares nonsense":        {s.variant(changed, bad(muxtest.Behaviour{Hooks: []string{"client.nonsense"}})), "provider bad: it declares the hook"},
		"one that declares nothing":         {s.variant(changed, bad(muxtest.Behaviour{Hooks: []string{""}})), "provider bad: it declares no hooks"},
		"one with a bad filter":             {s.variant(changed, bad(muxtest.Behaviour{Topics: []string{"a/#/b"}})), "provider bad: it declares message.ingress with an invalid filter"},
		"a remote where nobody is":          {s.variant(changed, nobody), "provider bad: nobody answers"},
		"a new version that does not start": {s.variant(upgraded), "provider good: /"},
		"a hook that the process has not":   {s.variant(granted), "provider good: the config lists client.authorize"},
		"an address that cannot be changed": {elsewhere, "listen changes from 127.0.0.1:0 to 127.0.0.1:1, which needs a restart"},
	} {
		t.Run(name, func(t *testing.T) {
			changes, err := s.Apply(t.Context(), c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("changes %v, error: %v", changes, err)
			}
		})
	}
	if _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "did you mean listen?") {
		t.Errorf("a broken file: %v", err)
	}
	s.until(t, "reload failed: nothing has changed")
	if got := s.Providers(); len(got) != 1 || got[0].Pid != pid {
		t.Errorf("now: %+v", got)
	}
	if _, allowed := broker.Authenticate(t, "c"); !allowed {
		t.Error("refused")
	}
	muxtest.Eventually(t, "nothing is left of the attempts", func() bool { return len(muxtest.Processes("MARK="+s.mark)) == 1 })
}

// A plugin's program is replaced and restarted; a new one that is no good does
// not get the old one's place.
func TestRestartOfAnUpgrade(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "plugin")
	install := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, program+".new"), os.Rename(program+".new", program)); err != nil {
			t.Fatal(err)
		}
	}
	script := program + ".broken"
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho out of order >&2; exit 5\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	self := muxtest.Command(t)[0]
	install(self)
	p := plugin(t, "one", muxtest.Behaviour{Hooks: []string{"client.authenticate"}, Answer: "allow"})
	p.Command = []string{program}
	s := start(t, config.Config{Providers: []config.Provider{p}}, nil)
	pid := s.pid(t, "one")
	install(script)
	if err := s.Restart(t.Context(), "one"); err == nil || !strings.Contains(err.Error(), "out of order") || s.pid(t, "one") != pid {
		t.Errorf("error %v, pid %d, was %d", err, s.pid(t, "one"), pid)
	}
	install(self)
	if err := s.Restart(t.Context(), "one"); err != nil || s.pid(t, "one") == pid {
		t.Errorf("error %v, pid %d, was %d", err, s.pid(t, "one"), pid)
	}
	if err := s.Restart(t.Context(), "two"); !errors.Is(err, admin.ErrNoProvider) {
		t.Errorf("error: %v", err)
	}
}

// Stop breaks off a reload that waits for a plugin.
func TestStopDuringAReload(t *testing.T) {
	t.Parallel()
	s := start(t, config.Config{Providers: []config.Provider{plugin(t, "one", muxtest.Behaviour{})}}, nil)
	slow := plugin(t, "slow", muxtest.Behaviour{Do: muxtest.NoHandshake})
	slow.StartTimeout = time.Hour
	failed := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), s.variant(slow))
		failed <- err
	}()
	muxtest.Eventually(t, "the new plugin is being started", func() bool { return len(muxtest.Processes("MARK="+s.mark)) == 2 })
	go s.stop()
	if err := <-failed; err == nil || err.Error() != "hookmux is stopping" {
		t.Errorf("error: %v", err)
	}
	s.stop()
}
