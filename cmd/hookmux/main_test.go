package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// TestMain lets this one binary be hookmux, a plugin of it, or the tests.
func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	if len(os.Args) > 1 && os.Args[1] == reaperName { // of a hookmux that ran in the tests' process
		main()
	}
	testscript.Main(leakChecked{m}, map[string]func(){"hookmux": main})
}

// leakChecked fails the tests of a process that leave a goroutine behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Every broken config of package config makes check exit with 1, and say file
// and line, and start nothing.
func TestCheckRefusesBrokenConfigs(t *testing.T) {
	t.Parallel()
	const dir = "../../mux/config/testdata"
	goldens, err := filepath.Glob(dir + "/*.golden")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("%d broken configs, %v", len(goldens), err)
	}
	broken := 0
	for _, golden := range goldens {
		file := strings.TrimSuffix(golden, ".golden") + ".yaml"
		if _, err := config.Load(file); err == nil {
			continue // one of the good ones
		}
		broken++
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			code := run([]string{"check", "-c", file}, strings.NewReader(""), &stdout, &stderr)
			if code != 1 || !strings.Contains(stderr.String(), ".yaml:") || stdout.Len() != 0 {
				t.Errorf("exit %d, %q\n%s\nwant as in the golden file:\n%s", code, stdout.String(), stderr.String(), want)
			}
		})
	}
	if broken < 20 {
		t.Errorf("only %d broken configs", broken)
	}
}

// TestScripts runs the stories in testdata/script. In them $PLUGIN is a plugin
// that answers as its config says (muxtest.Behaviour), and $PORT and $ADMINPORT are free ports.
func TestScripts(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PLUGIN", exe)
			// A script's own is too long for the path of a socket.
			env.Setenv("TMPDIR", os.TempDir())
			run, err := os.MkdirTemp("", "run")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(run) })
			env.Setenv("XDG_RUNTIME_DIR", run)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			for _, name := range []string{"PORT", "ADMINPORT"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer l.Close()
				_, port, _ := net.SplitHostPort(l.Addr().String())
				env.Setenv(name, port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"awaits": awaits, "sigterm": signals(syscall.SIGTERM), "sighup": signals(syscall.SIGHUP), "sigint": signals(syscall.SIGINT), "broker": broker,
		},
	})
}

// awaits waits until a file holds a text, which is a log that is being written.
func awaits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: awaits FILE TEXT")
	}
	var data []byte
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		data, _ = os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(data), args[1]) {
			return
		}
	}
	ts.Fatalf("%q is not in %s:\n%s", args[1], args[0], data)
}

// signals sends a signal to the newest command in the background.
func signals(sig syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		running := ts.BackgroundCmds()
		if neg || len(args) != 0 || len(running) == 0 {
			ts.Fatalf("it takes no arguments, and a command in the background")
		}
		ts.Check(running[len(running)-1].Process.Signal(sig))
	}
}
