package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// withAdmin has the App serve operators, and gives a client.
func withAdmin(t *testing.T, o *app.Options) *admin.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "op") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o.Admin = filepath.Join(dir, "a.sock")
	return admin.NewClient(o.Admin, "")
}

// inService holds what operators are shown of a provider against what it is to be.
func inService(t *testing.T, c *admin.Client, name, status string, enabled, draining bool) {
	t.Helper()
	p, err := c.Provider(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Status != status || p.Enabled != enabled || p.Draining != draining || !enabled && !draining && p.Pid != 0 {
		t.Errorf("%s is %s (pid %d), enabled %t, draining %t; want %s, %t, %t", name, p.Status, p.Pid, p.Enabled, p.Draining, status, enabled, draining)
	}
}

func (s *sidecar) allows(t *testing.T, b *muxtest.Broker, want bool) {
	t.Helper()
	if _, allowed := b.Authenticate(t, "c"); allowed != want {
		t.Errorf("allowed: %v", allowed)
	}
}

// A provider that is disabled lets nothing pass, loses nothing, and stays so over a
// reload, whatever the reload changes.
func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "login")
		login := plugin(t, "login", muxtest.Behaviour{Protocol: protocol, Hooks: []string{"client.authenticate", "message.delivered"}, Answer: "allow", Record: rec})
		other := plugin(t, "other", muxtest.Behaviour{Protocol: protocol, Hooks: []string{"message.delivered"}})
		var c *admin.Client
		s := start(t, config.Config{Providers: []config.Provider{login, other}}, func(o *app.Options) { c = withAdmin(t, o) })
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		broker.Load(t, "5.10.3")
		s.allows(t, broker, true)
		inService(t, c, "login", "up", true, false)

		do := func(verb string) {
			t.Helper()
			if _, err := c.Do(t.Context(), verb, "login"); err != nil {
				t.Fatal(err)
			}
		}
		do("disable")
		do("disable") // no harm
		inService(t, c, "login", "disabled", false, false)
		inService(t, c, "other", "up", true, false)
		if n := len(muxtest.Processes("MARK=" + s.mark)); n != 1 {
			t.Errorf("%d processes", n)
		}
		s.allows(t, broker, false)
		broker.Delivered(t, "c", 0)
		hooks := broker.Load(t, "5.10.3")
		if _, ok := hooks["client.authenticate"]; !ok || len(hooks) != 2 {
			t.Errorf("the broker is told to send %v", hooks)
		}
		if _, err := c.Do(t.Context(), "restart", "login"); err == nil || !strings.Contains(err.Error(), "enable it") {
			t.Errorf("restart: %v", err)
		}

		login.Timeout = 3 * time.Second
		s.apply(t, s.variant(login, other), app.Changes{Changed: []string{"login"}})
		s.allows(t, broker, false)
		login.Config = muxtest.Behaviour{Protocol: protocol, Hooks: []string{"client.authenticate", "message.delivered"}, Answer: "allow", Record: rec, Mark: "new"}.Config()
		s.apply(t, s.variant(other, login), app.Changes{Changed: []string{"login"}, Reordered: true})
		s.apply(t, s.variant(other, login), app.Changes{})
		broker.Delivered(t, "c", 1)
		s.allows(t, broker, false)
		inService(t, c, "login", "disabled", false, false)
		if n := len(muxtest.ReadRecord(t, rec)); n != 1 {
			t.Errorf("it got %d events", n)
		}

		do("enable")
		do("enable")
		inService(t, c, "login", "up", true, false)
		s.allows(t, broker, true)
		muxtest.Eventually(t, "what waited is delivered", func() bool { return len(muxtest.ReadRecord(t, rec)) == 4 })
		s.apply(t, s.variant(other, login), app.Changes{})

		// Disabled, taken out of the config and put back: it is a new one.
		do("disable")
		s.apply(t, s.variant(other), app.Changes{Removed: []string{"login"}})
		s.apply(t, s.variant(login, other), app.Changes{Added: []string{"login"}, Reordered: false})
		inService(t, c, "login", "up", true, false)
		s.allows(t, broker, true)

		for _, verb := range admin.Verbs() {
			var e *admin.Error
			if _, err := c.Do(t.Context(), verb.Name, "nobody"); !errors.As(err, &e) || e.Code != "not_found" {
				t.Errorf("%s of nobody: %v", verb.Name, err)
			}
		}
	})
}

// Drain delivers all that waits, then ends the process; nothing new is delivered.
func TestDrain(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		const events = 2000
		rec := record(t, "audit")
		audit := plugin(t, "audit", muxtest.Behaviour{Protocol: protocol, Hooks: []string{"message.delivered"}, Record: rec})
		var c *admin.Client
		s := start(t, config.Config{Providers: []config.Provider{audit}}, func(o *app.Options) { c = withAdmin(t, o) })
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		for n := range events {
			broker.Delivered(t, "c", n)
		}
		p, err := c.Do(t.Context(), "drain", "audit")
		if err != nil {
			t.Fatal(err)
		}
		if p.Enabled {
			t.Error("it is enabled")
		}
		broker.Delivered(t, "c", events)
		muxtest.Eventually(t, "it is drained", func() bool {
			p, err := c.Provider(t.Context(), "audit")
			return err == nil && p.Status == "disabled" && !p.Draining && p.WaitingEvents == 1
		})
		if got := len(muxtest.ReadRecord(t, rec)); got != events {
			t.Errorf("%d of %d events were delivered", got, events)
		}
		s.until(t, "the provider is drained")
		if _, err := c.Do(t.Context(), "enable", "audit"); err != nil {
			t.Fatal(err)
		}
		muxtest.Eventually(t, "the last one is delivered", func() bool { return len(muxtest.ReadRecord(t, rec)) == events+1 })
	})
}

// Who is down cannot be drained, and that is no dead end.
func TestDrainOfAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	bad := plugin(t, "bad", muxtest.Behaviour{Do: muxtest.ExitAtStart})
	bad.Hooks = []mux.HookSpec{{Hook: mux.MessageDelivered}}
	var c *admin.Client
	s := start(t, config.Config{Providers: []config.Provider{bad}}, func(o *app.Options) { c, o.DrainTimeout = withAdmin(t, o), time.Second })
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	broker.Delivered(t, "c", 0)
	do := func(verb string) {
		t.Helper()
		if _, err := c.Do(t.Context(), verb, "bad"); err != nil {
			t.Fatal(err)
		}
	}
	do("drain")
	do("drain")
	inService(t, c, "bad", "draining", false, true)
	do("enable")
	if p, err := c.Provider(t.Context(), "bad"); err != nil || !p.Enabled || p.Draining || !strings.Contains(p.LastError, "cannot reach the database") {
		t.Errorf("%+v, %v", p, err)
	}
	do("drain")
	do("disable")
	inService(t, c, "bad", "disabled", false, false)
	do("enable") // returns, though it does not start
	do("drain")
	s.apply(t, s.variant(plugin(t, "good", muxtest.Behaviour{})), app.Changes{Added: []string{"good"}, Removed: []string{"bad"}})
}

// Who is disabled stays so when hookmux starts anew: a plugin that was disabled for
// what it lets pass must not come back by a restart.
func TestDisabledOutlivesHookmux(t *testing.T) {
	t.Parallel()
	login := plugin(t, "login", muxtest.Behaviour{Hooks: []string{"client.authenticate"}, Answer: "allow"})
	other := plugin(t, "other", muxtest.Behaviour{Hooks: []string{"client.connected"}})
	path := filepath.Join(t.TempDir(), "state.json")
	login.Env = map[string]string{"MARK": path} // the same process in each life
	life := func(f func(s *sidecar, c *admin.Client, b *muxtest.Broker)) {
		var c *admin.Client
		s := start(t, config.Config{Providers: []config.Provider{login, other}}, func(o *app.Options) { c, o.State = withAdmin(t, o), path })
		f(s, c, muxtest.NewBroker(t, s.Addr(), mux.V3))
		s.stop()
	}
	life(func(s *sidecar, c *admin.Client, b *muxtest.Broker) {
		s.allows(t, b, true)
		if _, err := c.Do(t.Context(), "disable", "login"); err != nil {
			t.Fatal(err)
		}
	})
	life(func(s *sidecar, c *admin.Client, b *muxtest.Broker) {
		inService(t, c, "login", "disabled", false, false)
		inService(t, c, "other", "up", true, false)
		s.allows(t, b, false)
		hooks := b.Load(t, "5.10.3")
		if _, ok := hooks["client.authenticate"]; !ok || len(hooks) != 2 {
			t.Errorf("the broker is told to send %v", hooks)
		}
		if _, err := c.Do(t.Context(), "enable", "login"); err != nil {
			t.Fatal(err)
		}
		s.allows(t, b, true)
	})
	life(func(s *sidecar, _ *admin.Client, b *muxtest.Broker) { s.allows(t, b, true) })
}

// Whatever an operator does while events come, none is lost or overtaken, every call of a
// broker is answered, and nothing passes that the provider would not let pass.
func TestOperatingUnderLoad(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "login")
		login := plugin(t, "login", muxtest.Behaviour{Protocol: protocol, Record: rec, Answer: "allow"})
		login.Timeout = patience
		login.OnFailure[mux.MessagePublish] = mux.Always(mux.Ignore) // as load expects
		var c *admin.Client
		s := start(t, config.Config{Providers: []config.Provider{login}, Timeout: patience}, func(o *app.Options) { c = withAdmin(t, o) })
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		broker.Timeout = patience
		stop, sent := make(chan struct{}), make(chan map[string]int)
		go func() { sent <- load(t, broker, 8, 0, stop, nil) }()
		for range 2 {
			for _, verb := range []string{"disable", "enable", "drain", "enable", "restart", "drain", "disable", "enable"} {
				if _, err := c.Do(t.Context(), verb, "login"); err != nil {
					t.Fatalf("%s: %v", verb, err)
				}
				delivered := s.provider(t, "login").Stats.Delivered.Load()
				muxtest.Eventually(t, verb+", and more events come or wait", func() bool {
					p, err := c.Provider(t.Context(), "login")
					return err == nil && (p.Delivered > delivered || p.WaitingEvents > 10)
				})
			}
		}
		close(stop)
		want := <-sent
		muxtest.Eventually(t, "all is delivered", func() bool {
			p := s.provider(t, "login")
			return accounted(p)
		})
		if n := s.provider(t, "login").Stats.DroppedTotal(); n > 0 {
			t.Errorf("%d notifications are lost", n)
		}
		checkOrder(t, "login", muxtest.ReadRecord(t, rec), want, true)
	})
}
