package app_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// A provider that does not start counts for what it declared last, unless its
// config is another one now; without that, for all that it might decide.
func TestDeclaredHooksAreRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, file := filepath.Join(dir, "plugin"), filepath.Join(dir, "new", "state.json")
	install := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, program+".new"), os.Rename(program+".new", program)); err != nil {
			t.Fatal(err)
		}
	}
	p := plugin(t, "one", muxtest.Behaviour{Hooks: []string{"client.authorize", "message.delivered"}, Topics: []string{"a/#"}})
	p.Command, p.StartTimeout = []string{program}, 2*time.Second
	p.Env = map[string]string{"MARK": dir} // the same each time
	told := func(state string) map[string][]string {
		s := start(t, config.Config{Providers: []config.Provider{p}, State: state}, func(o *app.Options) {
			o.Host.FirstDelay, o.Host.MaxDelay = time.Hour, time.Hour
		})
		defer s.stop()
		return muxtest.NewBroker(t, s.Addr(), mux.V3).Load(t, "5.10.3")
	}
	install(muxtest.Command(t)[0])
	first := told(file)
	install("/bin/false")
	if got := told(file); len(first) != 2 || !maps.EqualFunc(got, first, slices.Equal) {
		t.Errorf("told %v, before the restart %v", got, first)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, all := told("off")["client.authenticate"]; !all {
		t.Error("nothing is remembered, and yet client.authenticate does not count")
	}
	p.Config = muxtest.Behaviour{}.Config()
	if _, all := told(file)["client.authenticate"]; !all {
		t.Error("a plugin with another config is held to its old hooks")
	}

	const foreign = "my shopping list"
	if err := os.WriteFile(file, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	install(muxtest.Command(t)[0])
	if hooks := told(file); len(hooks) < 10 {
		t.Errorf("told %v", hooks)
	}
	if data, err := os.ReadFile(file); string(data) != foreign {
		t.Errorf("a foreign file was overwritten: %q, %v", data, err)
	}
}

// Where nothing can be written, hookmux works without.
func TestStateThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, config.Config{Providers: []config.Provider{plugin(t, "one", muxtest.Behaviour{})}, State: filepath.Join(blocked, "state.json")}, nil)
	s.until(t, "what the providers declare is not remembered")
}
