package app_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// watching runs hookmux with a config file that it watches.
func watching(t *testing.T, path string) *sidecar {
	t.Helper()
	load := func() (*config.Config, error) { return config.Load(path) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, *cfg, func(o *app.Options) { o.Load, o.ConfigPath = load, path })
	return s
}

// file is a config whose provider's timeout and secret tell versions apart.
func file(t *testing.T, mark string, ms int, more string) string {
	return fmt.Sprintf(`listen: 127.0.0.1:0
watch: true
providers:
  - name: one
    command: [%s]
    env: {MARK: %q}
    timeout: %dms
    lane: {events: 100000}
%s`, muxtest.Command(t)[0], mark, ms, more)
}

// put writes a file as editors do: beside, and then over the old one.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+"~", []byte(text), 0o600), os.Rename(path+"~", path)); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSeesFilesThatAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, secret := filepath.Join(dir, "hookmux.yaml"), filepath.Join(t.TempDir(), "secret")
	put(t, secret, "1")
	with := "    config: {mark: \"${file:" + secret + "}\"}\n"
	put(t, path, file(t, dir, 1000, with))
	s := watching(t, path)
	pid := s.pid(t, "one")
	put(t, path, file(t, dir, 1001, with))
	s.until(t, `msg="reload done" changes="changed one"`)
	put(t, path, "nonsense")
	s.until(t, "reload failed: nothing has changed")
	if s.pid(t, "one") != pid {
		t.Error("it has another process")
	}
	put(t, path, file(t, dir, 1001, with))
	s.until(t, `msg="reload done" changes="nothing has changed"`)
	put(t, secret, "2")
	s.until(t, `changes="restarted one"`)
	// Written in place, and the last time that it is looked at.
	if err := os.WriteFile(path, []byte(strings.Replace(file(t, dir, 1001, with), "watch: true", "watch: false", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	muxtest.Eventually(t, "the watch is off", func() bool { return !s.Config().Watch })
}

// Kubernetes has the file as a link to ..data/hookmux.yaml, and ..data as a link
// to a folder; an update puts another link in the place of ..data.
func TestWatchSeesLinksThatAreSwapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "hookmux.yaml")
	version := func(n int) {
		t.Helper()
		name := fmt.Sprintf("..version-%d", n)
		err := errors.Join(
			os.Mkdir(filepath.Join(dir, name), 0o700),
			os.WriteFile(filepath.Join(dir, name, "hookmux.yaml"), []byte(file(t, dir, 1000+n, "")), 0o600),
			os.Symlink(name, filepath.Join(dir, "..data_tmp")),
			os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	version(1)
	if err := os.Symlink("..data/hookmux.yaml", path); err != nil {
		t.Fatal(err)
	}
	s := watching(t, path)
	for n := 2; n < 4; n++ {
		version(n)
		want := time.Duration(1000+n) * time.Millisecond
		muxtest.Eventually(t, fmt.Sprintf("a timeout of %s", want), func() bool { return s.Config().Providers[0].Timeout == want })
	}
}

// Deployment tools swap a link, or a folder, further up.
func TestWatchSeesFoldersThatAreReplaced(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(top string) error{
		"a link": func(top string) error {
			return errors.Join(os.Symlink("v2", filepath.Join(top, "new")), os.Rename(filepath.Join(top, "new"), filepath.Join(top, "current")))
		},
		"a folder": func(top string) error {
			return errors.Join(os.Rename(filepath.Join(top, "v1"), filepath.Join(top, "v0")), os.Rename(filepath.Join(top, "v2"), filepath.Join(top, "v1")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			for n := 1; n <= 2; n++ {
				dir := filepath.Join(top, fmt.Sprint("v", n), "etc")
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				put(t, filepath.Join(dir, "hookmux.yaml"), file(t, top, 1000+n, ""))
			}
			if err := os.Symlink("v1", filepath.Join(top, "current")); err != nil {
				t.Fatal(err)
			}
			s := watching(t, filepath.Join(top, "current", "etc", "hookmux.yaml"))
			if err := replace(top); err != nil {
				t.Fatal(err)
			}
			s.until(t, `msg="reload done" changes="changed one"`)
		})
	}
}

// A folder in which something is written all the time, such as a log.
func TestWatchOfABusyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "hookmux.yaml")
	put(t, path, file(t, dir, 1000, ""))
	s := watching(t, path)
	busy, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-busy:
				return
			case <-time.After(10 * time.Millisecond):
				_ = os.WriteFile(filepath.Join(dir, "log"), nil, 0o600)
			}
		}
	}()
	defer func() { close(busy); <-done }()
	put(t, path, file(t, dir, 1001, ""))
	s.until(t, `msg="reload done" changes="changed one"`)
}

// What is saved while a reload is under way is not forgotten.
func TestWatchSeesWhatIsSavedDuringAReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, started, proceed := filepath.Join(dir, "hookmux.yaml"), filepath.Join(dir, "started"), filepath.Join(dir, "proceed")
	put(t, path, file(t, dir, 1000, ""))
	s := watching(t, path)
	two := fmt.Sprintf(`  - name: two
    env: {MARK: %q}
    command: [sh, -c, "touch %s; until [ -e %s ]; do sleep 0.01; done; exec %s"]
`, dir, started, proceed, muxtest.Command(t)[0])
	put(t, path, file(t, dir, 1001, two))
	muxtest.Eventually(t, "the reload is under way", func() bool { _, err := os.Stat(started); return err == nil })
	put(t, path, file(t, dir, 1002, two))
	put(t, proceed, "")
	s.until(t, `msg="reload done" changes="added two; changed one"`)
	s.until(t, `msg="reload done" changes="changed one"`)
}
