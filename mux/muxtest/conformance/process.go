package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hookmux/hookmux/proto/handshake"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// process is one run of the plugin, in a process group of its own.
type process struct {
	cmd      *exec.Cmd
	protocol int // that it chose
	socket   string
	cc       *grpc.ClientConn // for encoded messages

	exited chan struct{}
	state  *os.ProcessState // after exited
	output func(string)
	pipes  sync.WaitGroup

	mu      sync.Mutex
	first   chan string // the first line of stdout
	printed int         // bytes on stdout after it
	last    []string    // lines of stderr and stdout
}

const keepLines = 8

// startProcess starts the plugin, offers it app protocols, and reads its handshake.
func startProcess(s *suite, offer string) (*process, error) {
	return startBy(s, s.Command, offer)
}

func startBy(s *suite, command []string, offer string) (*process, error) {
	p, err := startCommand(s, command, environment(s, offer))
	if err != nil {
		return nil, err
	}
	if err := p.shakeHands(s.Patience); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// environment is what hookmux sets for a plugin.
func environment(s *suite, offer string) []string {
	config := string(s.Config)
	if config == "" {
		config = "{}"
	}
	return append([]string{
		handshake.CookieKey + "=" + handshake.CookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=" + offer,
		"PLUGIN_UNIX_SOCKET_DIR=" + s.tmp,
		"PLUGIN_MIN_PORT=0", "PLUGIN_MAX_PORT=0", "PLUGIN_MULTIPLEX_GRPC=false",
		handshake.EnvName + "=verify", handshake.EnvConfig + "=" + config, handshake.EnvID + "=verify/" + s.tmp,
	}, s.Env...)
}

func startCommand(s *suite, command, env []string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{}), first: make(chan string, 1), output: s.Output}
	p.cmd.Dir, p.cmd.Env, p.cmd.SysProcAttr = s.Dir, env, ownGroup()
	p.cmd.WaitDelay = time.Second // what it leaves behind may hold the pipes
	stdout, outW := io.Pipe()
	stderr, errW := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = outW, errW
	p.pipes.Go(func() { p.read(stdout, true) })
	p.pipes.Go(func() { p.read(stderr, false) })
	started := make(chan error)
	go func() {
		// The kernel's death signal follows the thread that started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			p.state = p.cmd.ProcessState
		}
		_, _ = outW.Close(), errW.Close()
		p.pipes.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the plugin: %w", err)
	}
	return p, nil
}

// read takes what the plugin prints, however much and however long its lines.
func (p *process) read(r io.Reader, stdout bool) {
	lines := bufio.NewReaderSize(r, 4096)
	handshake := stdout
	for begins := true; ; {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		p.mu.Lock()
		switch text := string(line); {
		case !begins: // the rest of a line longer than the buffer
		case handshake:
			p.first <- text
		default:
			if p.last = append(p.last, text); len(p.last) > keepLines {
				p.last = p.last[1:]
			}
			if p.output != nil {
				p.output(text)
			}
		}
		if stdout && !handshake {
			p.printed += len(line)
		}
		begins, handshake = !more, handshake && more
		p.mu.Unlock()
	}
}

// shakeHands reads the handshake line and connects.
func (p *process) shakeHands(patience time.Duration) error {
	var line string
	select {
	case line = <-p.first:
	case <-p.exited:
		return fmt.Errorf("it %s before it printed its handshake line%s", p.how(), p.quote())
	case <-time.After(patience):
		return fmt.Errorf("it printed no handshake line within %s%s", patience, p.quote())
	}
	f := strings.Split(line, "|")
	if len(f) < 5 || f[0] != "1" {
		return fmt.Errorf("its first line on stdout is no handshake line, which looks like 1|2|unix|/path|grpc: %.200q", line)
	}
	var err error
	switch p.protocol, err = strconv.Atoi(f[1]); {
	case err != nil:
		return fmt.Errorf("the app protocol of its handshake line is no number: %.200q", line)
	case f[2] != "unix":
		return fmt.Errorf("it listens on %.20q, not on a unix socket: %.200q", f[2], line)
	case f[4] != "grpc":
		return fmt.Errorf("it speaks %.20q, not grpc: %.200q", f[4], line)
	}
	p.socket = f[3]
	const most = 1 << 30
	p.cc, err = p.dial(grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawcodec.New()), grpc.MaxCallRecvMsgSize(most)))
	return err
}

// dial makes a connection to the plugin.
func (p *process) dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+p.socket, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

// how says how the process ended.
func (p *process) how() string {
	if p.state == nil {
		return "has ended"
	}
	if ws, ok := p.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "was ended by signal " + ws.Signal().String()
	}
	return fmt.Sprintf("exited with status %d", p.state.ExitCode())
}

// quote is the last that it printed, for an error's end.
func (p *process) quote() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) == 0 {
		return ""
	}
	return "; its last output:\n  | " + strings.Join(p.last, "\n  | ")
}

func (p *process) printedOnStdout() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed
}

// signal goes to the process alone.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// exits waits for the process to end by itself.
func (p *process) exits(within time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(within):
		return false
	}
}

// kill ends the process and all of its group.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
	if p.cc != nil {
		_ = p.cc.Close()
	}
}

// alive says whether a process exists and is no zombie.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
