package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hookmux/hookmux/mux/muxtest"
)

// TestMain lets this one binary be hookmux, a plugin of it, or the tests.
func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	testscript.Main(m, map[string]func(){"hookmux": main})
}

// TestScripts runs the stories in testdata/script. In them $PLUGIN is a plugin
// that answers as its config says (muxtest.Behaviour), and $PORT a free port.
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
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			env.Setenv("PORT", port)
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"awaits": awaits, "sigterm": sigterm},
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

// sigterm sends SIGTERM to the command that was started last in the background.
func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) != 0 || len(running) == 0 {
		ts.Fatalf("usage: sigterm, with a command in the background")
	}
	ts.Check(running[len(running)-1].Process.Signal(syscall.SIGTERM))
}
