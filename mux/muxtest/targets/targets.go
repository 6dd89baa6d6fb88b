package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// Program says how to run a server program. It is a constant: what belongs to one
// server is in Server.
type Program struct {
	// Name is for messages: "PostgreSQL".
	Name string
	// Binaries are what must be there, the server itself first.
	Binaries []string
	// Places are patterns of folders to look in besides PATH.
	Places []string
	// Install is how to get it: "apt-get install postgresql".
	Install string
	// User runs it where we are root and the user exists, else nobody does; empty:
	// it may be root.
	User string
	// Init makes the server's data, in its Dir, before the first start. It may be nil.
	Init func(s *Server) error
	// Args are the arguments of the server.
	Args func(s *Server) []string
	// Env is added to its environment, which has PATH, HOME and TMPDIR only.
	Env []string
	// Ready is nil when the server answers. It is asked again and again.
	Ready func(ctx context.Context, s *Server) error
	// StopSignal makes it end in good order; 0 is SIGTERM.
	StopSignal syscall.Signal
	// QuickSignal makes it end at once, leaving nothing behind; 0 is SIGKILL.
	QuickSignal syscall.Signal
	// Removed tidies up what is not in Dir when the server is gone for good. It may
	// be nil.
	Removed func(s *Server)
}

//nolint:gochecknoglobals // the servers of this process
var shared = struct {
	sync.Mutex
	servers map[*Program]*Server
	failed  map[*Program]error
}{servers: map[*Program]*Server{}, failed: map[*Program]error{}}

// Shared is the one server of a program that all tests of this binary use. It ends
// with the process.
func Shared(t testing.TB, p *Program) *Server {
	t.Helper()
	bin := require(t, p)
	shared.Lock()
	defer shared.Unlock()
	if err := shared.failed[p]; err != nil {
		t.Fatalf("an earlier test could not start %s: %v", p.Name, err)
	}
	s := shared.servers[p]
	if s == nil {
		var err error
		if s, err = start(p, bin); err != nil {
			shared.failed[p] = err
			t.Fatalf("start %s: %v", p.Name, err)
		}
		shared.servers[p] = s
	}
	logTailIfFailed(t, s)
	return s
}

// New is a server of the test's own, which ends with it.
func New(t testing.TB, p *Program) *Server {
	t.Helper()
	s, err := start(p, require(t, p))
	if err != nil {
		t.Fatalf("start %s: %v", p.Name, err)
	}
	s.own = true
	t.Cleanup(s.remove)
	logTailIfFailed(t, s) // before it is removed
	return s
}

// require finds the program's binaries by name.
func require(t testing.TB, p *Program) map[string]string {
	t.Helper()
	bin, err := find(p)
	if err == nil {
		return bin
	}
	if lanes.AllRequired() {
		t.Fatalf("%v\n(%s=all: nothing may be left out)", err, lanes.EnvLanes)
	}
	t.Skip(err)
	return nil
}

func find(p *Program) (map[string]string, error) {
	bin := map[string]string{}
	for _, name := range p.Binaries {
		path, err := look(name, p.Places)
		if err != nil {
			return nil, fmt.Errorf("%s: there is no %s here; %s", p.Name, name, p.Install)
		}
		bin[name] = path
	}
	return bin, nil
}

// look prefers the places, and of those of one pattern the last: a version's folder.
// PATH may lead to a wrapper.
func look(name string, places []string) (string, error) {
	for _, place := range places {
		dirs, err := filepath.Glob(place)
		if err != nil {
			return "", err
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			if path, err := exec.LookPath(filepath.Join(dirs[i], name)); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name)) // not in everyone's PATH
	}
	return path, err
}

func logTailIfFailed(t testing.TB, s *Server) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", s.program.Name, s.LogTail())
		}
	})
}

// tail is the last lines of a file.
func tail(path string) string {
	const most = 30
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
