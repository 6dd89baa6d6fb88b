package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait for a process to start, to end or to be done; one
// that needs it all is wrong.
const patience = 30 * time.Second

// child is a process that the bench has started.
type child struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	log    *journal
	exited chan struct{}
}

// tuned are the variables that would make a Go program other than it is by
// default; no child gets them.
var tuned = []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GRPC_GO_LOG_SEVERITY_LEVEL", "GRPC_GO_LOG_VERBOSITY_LEVEL"}

func environment(extra ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(tuned, name)
	})
	return append(env, extra...)
}

// startChild starts a process and reads what it prints.
func startChild(name string, command []string, env ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(command[0], command[1:]...), log: newJournal(), exited: make(chan struct{})}
	c.cmd.Env = environment(env...)
	c.cmd.SysProcAttr = ownGroup()
	c.cmd.WaitDelay = time.Second // what it leaves behind may hold the pipes
	c.cmd.Stdout = &lines{to: c.log.printed}
	c.cmd.Stderr = &lines{to: c.log.logged}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// The kernel's death signal follows the thread that started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the child in order, and else by force.
func (c *child) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(patience):
	}
	c.kill()
}

// kill ends the child at once; hookmux's reaper then ends the plugins.
func (c *child) kill() {
	_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	<-c.exited
}

// await is what get finds, once it finds it. It fails when the child ends or
// the time is up.
func (c *child) await(what string, get func() (string, bool)) (string, error) {
	for end := time.Now().Add(patience); ; {
		if s, ok := get(); ok {
			return s, nil
		}
		select {
		case <-c.exited:
			return "", fmt.Errorf("%s ended: %s%s", c.name, c.cmd.ProcessState, c.log.quote())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("%s: %s did not come within %s%s", c.name, what, patience, c.log.quote())
		}
	}
}

// lines hands on whole lines of what is written to it.
type lines struct {
	rest []byte
	to   func(line string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.to(string(line))
		l.rest = rest
	}
}

// journal keeps what a child has printed, as far as somebody may ask.
type journal struct {
	mu       sync.Mutex
	first    string // the first line on stdout
	address  string // where hookmux listens
	last     []string
	warnings int
	warning  string // the latest
	full     bool   // a lane has dropped for want of room
}

func newJournal() *journal { return new(journal) }

const keepLines = 15

func (j *journal) printed(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.first == "" {
		j.first = line
	}
	j.keep(line)
}

// logged takes a line of stderr, which of hookmux is JSON.
func (j *journal) logged(line string) {
	var entry struct{ Level, Msg, Address, Reason string }
	isLog := json.Unmarshal([]byte(line), &entry) == nil
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(line)
	if !isLog {
		return
	}
	if entry.Address != "" {
		j.address = entry.Address
	}
	// A plugin that prints each event is a fair one to measure, the printing included.
	prints := strings.HasPrefix(entry.Msg, "plugin prints too much")
	if (entry.Level == "WARN" || entry.Level == "ERROR") && !prints {
		j.warnings++
		j.warning = line
		j.full = j.full || entry.Reason == "lane_full"
	}
}

func (j *journal) keep(line string) {
	if j.last = append(j.last, line); len(j.last) > keepLines {
		j.last = j.last[1:]
	}
}

func (j *journal) quote() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.last) == 0 {
		return ""
	}
	return "; its last output:\n  | " + strings.Join(j.last, "\n  | ")
}

func (j *journal) firstLine() (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first, j.first != ""
}

func (j *journal) listening() (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.address, j.address != ""
}

// warned is how many warnings and errors were logged, and the latest.
func (j *journal) warned() (int, string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.warnings, j.warning
}

func (j *journal) laneFull() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// absolute makes a program's path independent of the working directory; a name
// without a slash stays, to be looked up in PATH.
func absolute(command []string) ([]string, error) {
	out := slices.Clone(command)
	if !strings.Contains(out[0], "/") {
		return out, nil
	}
	var err error
	out[0], err = filepath.Abs(out[0])
	return out, err
}
