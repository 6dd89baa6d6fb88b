package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one run of a plugin's executable, in a process group of its own.
// It implements go-plugin's runner.Runner, so that we hold the pipes, notice the
// exit by ourselves, and nothing of the environment leaks in.
type process struct {
	cmd    *exec.Cmd
	id     string // HOOKMUX_ID of this run
	limits *confinement
	out    *output
	stdout *io.PipeReader // what go-plugin reads: the handshake line and nothing else

	// go-plugin writes here what the plugin sends over gRPC instead of printing it.
	syncOut, syncErr         *io.PipeWriter
	readSyncOut, readSyncErr *io.PipeReader

	mu      sync.Mutex // Start and Kill may come at the same time
	started bool
	killed  bool

	stdoutEnd chan struct{} // closed when the process has closed its stdout
	exited    chan struct{} // closed when the process has ended and its group is killed
	state     *os.ProcessState
	ranOut    bool           // it was killed for its use of memory
	readers   sync.WaitGroup // of stdout and stderr; done half a second after exited at the latest
}

// newProcess prepares, but does not start, a process. Its environment must be
// set before Start.
func newProcess(cmd *exec.Cmd, id string, limits *confinement, out *output) *process {
	cmd.SysProcAttr = procAttr()
	if limits.who != nil {
		cmd.SysProcAttr.Credential = &limits.who.Credential
	}
	limits.group.use(cmd.SysProcAttr)
	p := &process{cmd: cmd, id: id, limits: limits, out: out, stdoutEnd: make(chan struct{}), exited: make(chan struct{})}
	p.readSyncOut, p.syncOut = io.Pipe()
	p.readSyncErr, p.syncErr = io.Pipe()
	return p
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("hookmux is stopping")
	}
	if p.cmd.Err != nil {
		return p.startError(p.cmd.Err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = outR.Close(), outW.Close()
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = outW, errW

	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the *thread* that started the
		// child ends: this goroutine keeps one until the child has ended. The
		// thread ends with it, since a child's limits are set on it.
		runtime.LockOSThread()
		p.limits.onThread()
		err := p.cmd.Start()
		_, _ = outW.Close(), errW.Close()
		if err == nil {
			p.limits.started(p.cmd.Process.Pid)
		}
		started <- err
		if err == nil {
			<-p.exited
		}
	}()
	if err := <-started; err != nil {
		_, _ = outR.Close(), errR.Close()
		return p.startError(err)
	}
	p.started = true
	go func() {
		_ = p.cmd.Wait()
		p.state = p.cmd.ProcessState
		p.ranOut = p.limits.group.ranOut()
		p.killAll() // what it started does not outlive it
		p.limits.group.remove()
		// A grandchild that got away may hold the pipes open: read what is
		// there, and no more.
		soon := time.Now().Add(500 * time.Millisecond)
		_, _ = outR.SetReadDeadline(soon), errR.SetReadDeadline(soon)
		close(p.exited)
	}()

	var handshake *io.PipeWriter
	p.stdout, handshake = io.Pipe()
	p.readers.Go(func() {
		defer outR.Close()
		p.out.consume(outR, "stdout", handshake)
		close(p.stdoutEnd) // before go-plugin learns of it, and has us killed
		handshake.Close()
	})
	p.readers.Go(func() {
		defer errR.Close()
		p.out.consume(errR, "stderr", nil)
	})
	p.readers.Go(func() { p.out.consume(p.readSyncOut, "stdout", nil) })
	p.readers.Go(func() { p.out.consume(p.readSyncErr, "stderr", nil) })
	go func() {
		<-p.exited
		handshake.Close() // in case a grandchild keeps stdout open before any handshake
		_, _ = p.syncOut.Close(), p.syncErr.Close()
	}()
	return nil
}

// startError says what is wrong with a command that could not be started.
func (p *process) startError(err error) error {
	cmd := p.cmd
	name := cmd.Args[0]
	if p.limits.who != nil {
		if text := p.limits.who.explain(err, cmd.Path, cmd.Dir); text != "" {
			return errors.New(text)
		}
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		if here := filepath.Join(cmd.Dir, name); isProgram(here) {
			return fmt.Errorf("%s: no such command in PATH; for %s, write a path with a slash, such as ./%s", name, here, name)
		}
		return fmt.Errorf("%s: no such command in PATH", name)
	case errors.Is(err, os.ErrNotExist):
		if cmd.Dir != "" {
			if _, dirErr := os.Stat(cmd.Dir); dirErr != nil {
				return fmt.Errorf("its working directory is missing: %w", dirErr)
			}
		}
		if _, statErr := os.Stat(cmd.Path); statErr == nil {
			return fmt.Errorf("%s: the interpreter that its first line names does not exist", name)
		}
		return fmt.Errorf("%s: no such file", name)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: not executable (chmod +x?)", name)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s: not a program that this machine can run", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill implements runner.Runner: it ends the process and all it started, and
// returns when the process has ended.
func (p *process) Kill(context.Context) error {
	if !p.ran() {
		return nil
	}
	select {
	case <-p.stdoutEnd: // it is ending by itself: how is worth knowing
		select {
		case <-p.exited:
		case <-time.After(200 * time.Millisecond):
		}
	default:
	}
	p.killAll()
	<-p.exited
	return nil
}

// ran says whether the process was ever started; if not, it no longer will be.
func (p *process) ran() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	return p.started
}

// killAll kills the process group and what left the group but carries our mark.
func (p *process) killAll() {
	_ = killGroup(p.cmd.Process.Pid, syscall.SIGKILL)
	p.limits.group.kill()
	killMarked(p.id)
}

// signal sends sig to the process group.
func (p *process) signal(sig syscall.Signal) { _ = killGroup(p.cmd.Process.Pid, sig) }

func (p *process) pid() int { return p.cmd.Process.Pid }

// lastWords are the last n lines that the process printed before it ended, set
// off for an error message; call it after exited.
func (p *process) lastWords(n int) string {
	p.readers.Wait()
	return p.out.quote(n)
}

// how says how the process ended; call it after exited.
func (p *process) how() string {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	switch {
	case p.ranOut:
		return fmt.Sprintf("needed more than the %s of memory it may have (process.memory), and was killed", mebi(p.limits.spec.Memory))
	case ok && ws.Signaled():
		return fmt.Sprintf("was killed by %s", signalName(ws.Signal()))
	default:
		return fmt.Sprintf("exited with status %d", p.state.ExitCode())
	}
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGKILL:
		return "SIGKILL"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGSEGV:
		return "SIGSEGV"
	case syscall.SIGABRT:
		return "SIGABRT"
	}
	return "signal " + strconv.Itoa(int(s))
}

// The rest of runner.Runner.

func (p *process) Diagnose(context.Context) string { return "" }
func (p *process) Stdout() io.ReadCloser           { return p.stdout }
func (p *process) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }
func (p *process) Name() string                    { return filepath.Base(p.cmd.Path) }

func (p *process) ID() string {
	if p.cmd.Process == nil { // asked by go-plugin only, which waits for Start
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
