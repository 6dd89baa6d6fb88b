package targets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Limits that no healthy server reaches, on a machine that is busy with many tests.
const (
	startWithin = 3 * time.Minute
	stopWithin  = time.Minute
)

// Server is a server program that runs, or has run and can run again. Its methods are
// for one goroutine.
type Server struct {
	// Dir is its folder, for its data and all else that it writes.
	Dir string
	// Addr is where it listens, the same after a restart.
	Addr string
	// Port is the port of Addr.
	Port int

	program *Program
	bin     map[string]string
	as      *syscall.Credential // nil: as we are
	env     []string
	own     bool

	cmd      *exec.Cmd // nil while it does not run
	ends     *os.File  // its being closed is our end, for the watch
	watching *exec.Cmd
}

// start makes a server and starts it. Nothing is left of it after an error.
func start(p *Program, bin map[string]string) (_ *Server, err error) {
	s := &Server{program: p, bin: bin}
	if s.as, err = credential(p.User); err != nil {
		return nil, err
	}
	if s.Dir, err = os.MkdirTemp("", "hookmux-"+strings.ToLower(p.Name)+"-"); err != nil {
		return nil, err
	}
	s.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "TMPDIR=" + s.Dir}, p.Env...)
	if err := s.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe end of its log:\n%s", err, s.LogTail())
			s.remove()
		}
	}()
	if s.as != nil {
		if err := os.Chown(s.Dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	if p.Init != nil {
		if err := p.Init(s); err != nil {
			return nil, err
		}
	}
	// Somebody else may take the port before the server does.
	for range 5 {
		if s.Port, err = freePort(); err != nil {
			return nil, err
		}
		s.Addr = fmt.Sprintf("127.0.0.1:%d", s.Port)
		if err = s.run(); err == nil || !s.portTaken() {
			break
		}
	}
	return s, err
}

// Running reports whether the server has been started and not been stopped.
func (s *Server) Running() bool { return s.cmd != nil }

// Start starts the server again, with its data and at its address, and returns when it
// answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mustBeOwn(t)
	if s.cmd != nil {
		t.Fatalf("%s runs already", s.program.Name)
	}
	if err := s.run(); err != nil {
		t.Fatalf("start %s again: %v\nthe end of its log:\n%s", s.program.Name, err, s.LogTail())
	}
}

// Stop ends the server in good order.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.mustBeOwn(t)
	if err := s.stop(or(s.program.StopSignal, syscall.SIGTERM)); err != nil {
		t.Fatalf("stop %s: %v\nthe end of its log:\n%s", s.program.Name, err, s.LogTail())
	}
}

// Kill ends the server and all of its processes with SIGKILL.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.mustBeOwn(t)
	if err := s.stop(syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", s.program.Name, err)
	}
}

// Pause stops the server's processes where they are, until Resume: it is there and
// does not answer any more.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signalAll(t, syscall.SIGSTOP)
	for end := time.Now().Add(stopWithin); ; time.Sleep(time.Millisecond) { // a poll
		if !slices.ContainsFunc(family(s.cmd.Process.Pid), runs) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has not stopped after SIGSTOP", s.program.Name)
		}
	}
}

// Resume has a paused server go on.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signalAll(t, syscall.SIGCONT) }

func (s *Server) signalAll(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.mustBeOwn(t)
	if s.cmd == nil {
		t.Fatalf("%s does not run", s.program.Name)
	}
	for _, pid := range family(s.cmd.Process.Pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// LogTail is the end of what the server has printed.
func (s *Server) LogTail() string { return tail(s.path("log")) }

// Run runs one of the program's binaries as the server's user, to its end.
func (s *Server) Run(ctx context.Context, binary string, args ...string) error {
	cmd := exec.CommandContext(ctx, s.bin[binary], args...)
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", binary, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Server) mustBeOwn(t testing.TB) {
	t.Helper()
	if !s.own {
		t.Fatalf("this %s serves other tests too; a test that stops one needs its own", s.program.Name)
	}
}

func (s *Server) prepare(cmd *exec.Cmd) {
	cmd.Dir = s.Dir
	cmd.Env = s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// The watch must know of the process before it does anything.
	args := append([]string{"-c", `echo $$ >"$0" && exec "$@"`, s.path("pid"), s.bin[s.program.Binaries[0]]}, s.program.Args(s)...)
	cmd := exec.Command("/bin/sh", args...)
	s.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	for {
		err := s.program.Ready(ctx, s)
		if err == nil {
			return nil
		}
		if ended(cmd.Process.Pid) {
			return errors.Join(errors.New("it ended before it answered"), s.stop(syscall.SIGKILL))
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it did not answer within %s: %w", startWithin, err), s.stop(syscall.SIGKILL))
		case <-time.After(20 * time.Millisecond): // the pause of a poll
		}
	}
}

// portTaken reports whether the last start failed for that reason.
func (s *Server) portTaken() bool { return strings.Contains(strings.ToLower(s.LogTail()), "in use") }

// stop sends a signal and returns when all of the server's processes have ended.
func (s *Server) stop(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	pid := s.cmd.Process.Pid
	all := family(pid)
	if sig == syscall.SIGKILL {
		// Children of the server may leave its process group, as PostgreSQL's do.
		for _, p := range all {
			_ = syscall.Kill(p, sig)
		}
	} else {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		_ = syscall.Kill(pid, sig)
	}
	var late error
	for end := time.Now().Add(stopWithin); !allEnded(all); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			late = fmt.Errorf("not ended %s after %s", stopWithin, sig)
			for _, p := range append(all, family(pid)...) {
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
			break
		}
	}
	_ = s.cmd.Wait() // its status is that of a signal
	s.cmd = nil
	_ = os.Remove(s.path("pid"))
	return late
}

// remove ends the server for good.
func (s *Server) remove() {
	_ = s.stop(or(s.program.QuickSignal, syscall.SIGKILL))
	if s.program.Removed != nil {
		s.program.Removed(s)
	}
	_ = s.ends.Close() // the watch removes the folder
	_ = s.watching.Wait()
}

// watchScript waits for our end, which closes its input, and tidies up.
const watchScript = `
trap '' HUP INT QUIT TERM
cat >/dev/null
if pid=$(cat "$0/pid" 2>/dev/null); then
	kill -CONT "$pid" 2>/dev/null
	kill -"$1" "$pid" 2>/dev/null
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.25
	done
	kill -s KILL -- "-$pid" 2>/dev/null
fi
rm -rf -- "$0"
`

// watch starts the process that tidies up after us, in a session of its own so that no
// Ctrl-C reaches it.
func (s *Server) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	quick := or(s.program.QuickSignal, syscall.SIGKILL)
	cmd := exec.Command("/bin/sh", "-c", watchScript, s.Dir, strconv.Itoa(int(quick)))
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	s.ends, s.watching = w, cmd
	return nil
}

// freePort is a port that nobody listens at, below those that the kernel gives to
// outgoing connections: a server that starts again needs the same one.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func or(sig, otherwise syscall.Signal) syscall.Signal {
	if sig == 0 {
		return otherwise
	}
	return sig
}
