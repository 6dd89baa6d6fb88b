package targets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func TestMain(m *testing.M) {
	if name := os.Getenv("TARGETS_TEST_CHILD"); name != "" {
		child(name)
	}
	goleak.VerifyTestMain(m)
}

// sleeper is a server that any machine has: a shell that makes a file and lives on, and
// so does a child of it.
var sleeper = &Program{
	Name:     "Sleeper",
	Binaries: []string{"sh"},
	Install:  "there is no way",
	User:     "nobody",
	Args: func(s *Server) []string {
		return []string{"-c", `trap 'rm ready; kill $!; exit' TERM; echo "the secret of port $1"; sleep 1000 & echo $! >child; touch ready; wait`, "sh", fmt.Sprint(s.Port)}
	},
	Ready: func(_ context.Context, s *Server) error {
		_, err := os.Stat(s.path("ready"))
		return err
	},
}

func TestServerStartsStopsAndIsKilled(t *testing.T) {
	t.Parallel()
	var dir string
	var pids []int
	t.Run("its test", func(t *testing.T) {
		s := New(t, sleeper)
		dir = s.Dir
		for _, end := range []func(testing.TB){s.Stop, s.Kill, s.Kill, s.Stop} {
			pids = append(pids, family(s.cmd.Process.Pid)...)
			if len(family(s.cmd.Process.Pid)) < 2 {
				t.Error("the server's child is missing")
			}
			end(t)
			_ = os.Remove(s.path("ready"))
			if s.Running() || !allEnded(pids) {
				t.Error("it still runs")
			}
			s.Start(t)
		}
		s.Pause(t)
		if !strings.Contains(s.LogTail(), "the secret of port") {
			t.Errorf("log: %s", s.LogTail())
		}
		pids = append(pids, family(s.cmd.Process.Pid)...)
	})
	if !allEnded(pids) {
		t.Error("processes are left over")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left over: %v", err)
	}
}

// A program that cannot start says why, with its log, and leaves nothing.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	broken := *sleeper
	broken.Args = func(s *Server) []string { return []string{"-c", "pwd; echo no room for the data; exit 3"} }
	bin, err := find(&broken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = start(&broken, bin)
	if err == nil || !strings.Contains(err.Error(), "ended before it answered") || !strings.Contains(err.Error(), "no room for the data") {
		t.Fatalf("%v", err)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if filepath.IsAbs(line) {
			if _, err := os.Stat(line); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left over: %v", line, err)
			}
			return
		}
	}
	t.Errorf("no folder in %v", err)
}

// child is a test binary that starts a server, says so, and waits to be killed.
func child(name string) {
	p := map[string]*Program{"sleeper": sleeper, "postgres": postgres, "mariadb": mariadb}[name]
	bin, err := find(p)
	var s *Server
	if err == nil {
		s, err = start(p, bin)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(s.cmd.Process.Pid, s.Dir)
	select {}
}

func TestNothingIsLeftOfAKilledTest(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sleeper", "postgres", "mariadb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p := map[string]*Program{"postgres": postgres, "mariadb": mariadb}[name]; p != nil {
				require(t, p)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TARGETS_TEST_CHILD="+name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			var pid int
			var dir string
			if _, err := fmt.Sscan(line, &pid, &dir); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all := family(pid)
			if ended(pid) || len(all) < 1 {
				t.Fatal("it does not run")
			}
			_ = cmd.Process.Signal(syscall.SIGKILL)
			_ = cmd.Wait()
			for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // a poll
				_, err := os.Stat(dir)
				if allEnded(all) && errors.Is(err, os.ErrNotExist) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("left over: %v %v", all, err)
				}
			}
		})
	}
}

func TestMissingProgram(t *testing.T) {
	absent := &Program{Name: "Absent", Binaries: []string{"sh", "absent-server"}, Install: "apt-get install absent"}
	for env, want := range map[string]string{"": "skipped", "all": "failed"} {
		t.Setenv(lanes.EnvLanes, env)
		f := &fake{TB: t}
		func() {
			defer func() { _ = recover() }()
			Shared(f, absent)
		}()
		if f.how != want || !strings.Contains(f.text, "no absent-server here; apt-get install absent") {
			t.Errorf("%s: %s", f.how, f.text)
		}
	}
}

// fake is a test that require ends.
type fake struct {
	testing.TB
	how, text string
}

func (f *fake) Skip(a ...any) { f.how, f.text = "skipped", fmt.Sprint(a...); panic(f) }
func (f *fake) Fatalf(s string, a ...any) {
	f.how, f.text = "failed", fmt.Sprintf(s, a...)
	panic(f)
}

// A shared server must not be stopped by one of its tests.
func TestSharedServerIsNotStopped(t *testing.T) {
	t.Parallel()
	s := Shared(t, sleeper)
	if other := Shared(t, sleeper); other != s {
		t.Error("another server")
	}
	f := &fake{TB: t}
	func() {
		defer func() { _ = recover() }()
		s.Kill(f)
	}()
	if f.how != "failed" || !s.Running() {
		t.Errorf("%q %v", f.text, s.Running())
	}
}
