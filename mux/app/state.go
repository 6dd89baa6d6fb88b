package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
)

// state is a small file that remembers which hooks each provider declared last:
// they count from the start of the next hookmux, also while the provider does not
// start. What a provider declared is forgotten when its process config changes. And
// it remembers whom an operator has disabled.
type state struct {
	path string

	mu      sync.Mutex // serialises writes
	written stateFile
}

// remembered is what is known of a provider; its JSON is the file's format.
type remembered struct {
	Process string           `json:"process"` // processID
	Hooks   []rememberedHook `json:"hooks"`
}

type rememberedHook struct {
	Name   string   `json:"name"`
	Topics []string `json:"topics,omitempty"`
}

type stateFile struct {
	Format    string                `json:"format"`
	Providers map[string]remembered `json:"providers"`
	Disabled  []string              `json:"disabled,omitempty"` // in chain order
}

const (
	stateFormat = "hookmux state 1"
	maxState    = 4 << 20
)

// openState reads the file, which may be missing. A file that is not ours is an
// error, and left alone.
func openState(path string) (*state, error) {
	s := &state{path: path}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var file stateFile
	var data []byte
	if err = trusted(f); err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxState))
	}
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err == nil && file.Format != stateFormat {
		err = errors.New("it is something else")
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read as hookmux's state, remove it if nobody needs it: %w", path, err)
	}
	s.written = file
	return s, nil
}

// trusted says why the file is not to be believed: who can write it could have a
// provider that is down count for less than it decides.
func trusted(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case ok && owner.Uid != 0 && int(owner.Uid) != os.Getuid(), info.Mode().Perm()&0o022 != 0:
		return errors.New("others than hookmux's user may write it")
	}
	return nil
}

// recall has a provider count for what it declared in an earlier life, and says
// whether it was disabled then.
func (s *state) recall(u *unit) (disabled bool) {
	s.assume(u)
	return slices.Contains(s.written.Disabled, u.cfg.Name)
}

func (s *state) assume(u *unit) {
	was, ok := s.written.Providers[u.cfg.Name]
	if !ok || was.Process != u.process {
		return
	}
	var hooks []mux.HookSpec
	for _, h := range was.Hooks {
		hook, ok := mux.HookByName(h.Name)
		if !ok {
			return // of another hookmux
		}
		hooks = append(hooks, mux.HookSpec{Hook: hook, Topics: h.Topics})
	}
	if len(hooks) > 0 {
		u.provider.Assume(hooks)
	}
}

// note writes what the providers have declared and who is disabled, if that is news.
func (s *state) note(units []*unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stateFile{Format: stateFormat, Providers: make(map[string]remembered)}
	for _, u := range units {
		if u.provider.Held() {
			now.Disabled = append(now.Disabled, u.cfg.Name)
		}
		declared, known := u.provider.Declared()
		if was, ok := s.written.Providers[u.cfg.Name]; !known && ok && was.Process == u.process {
			now.Providers[u.cfg.Name] = was
		}
		if !known {
			continue
		}
		r := remembered{Process: u.process}
		for _, d := range declared {
			r.Hooks = append(r.Hooks, rememberedHook{d.Hook.String(), d.Topics})
		}
		now.Providers[u.cfg.Name] = r
	}
	if reflect.DeepEqual(now, s.written) {
		return nil
	}
	data, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(s.path, append(data, '\n')); err != nil {
		return err
	}
	s.written = now
	return nil
}

// writeFile replaces a file as a whole: after a crash it is the old or the new one.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// openState opens the state where the config says, or else where Options do.
// Without one, hookmux works all the same.
func (a *App) openState() {
	path := a.cfg.State
	if path == "" {
		path = a.opts.State
	}
	if path == "" || path == config.Off {
		return
	}
	s, err := openState(path)
	if err != nil {
		a.log.Warn("what the providers declare is not remembered", "error", err)
		return
	}
	a.state = s
}

// noteState remembers what the providers have declared.
func (a *App) noteState() {
	if a.state == nil {
		return
	}
	a.mu.Lock()
	units := a.units
	a.mu.Unlock()
	if err := a.state.note(units); err != nil {
		a.stateFailed.Do(func() {
			a.log.Warn("what the providers declare is not remembered; the key state says where, or that it is off", "error", err)
		})
	}
}
