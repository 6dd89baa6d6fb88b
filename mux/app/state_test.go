package app_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
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

// What others may have written is not believed: it could say that a provider which
// is down decides nothing.
func TestStateThatOthersMayWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "state.json"), filepath.Join(dir, "pipe")
	p := plugin(t, "one", muxtest.Behaviour{Hooks: []string{"client.authorize"}})
	p.StartTimeout, p.Env = 2*time.Second, map[string]string{"MARK": dir} // the same each time
	run := func(state string, command ...string) (told map[string][]string, s *sidecar) {
		p.Command = command
		s = start(t, config.Config{Providers: []config.Provider{p}, State: state}, func(o *app.Options) {
			o.Host.FirstDelay, o.Host.MaxDelay = time.Hour, time.Hour
		})
		defer s.stop()
		return muxtest.NewBroker(t, s.Addr(), mux.V3).Load(t, "5.10.3"), s
	}
	program := filepath.Join(dir, "plugin")
	if err := errors.Join(os.Symlink(muxtest.Command(t)[0], program), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	run(file, program)
	if err := errors.Join(os.Remove(program), os.Symlink("/bin/false", program)); err != nil {
		t.Fatal(err)
	}
	if told, _ := run(file, program); len(told) != 1 {
		t.Errorf("told %v", told)
	}
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{file, pipe} {
		told, s := run(state, program)
		if _, all := told["client.authenticate"]; !all || !s.log.contains("cannot be read as hookmux's state") {
			t.Errorf("%s: told %v", state, told)
		}
	}
}
