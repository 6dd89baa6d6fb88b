package host

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Reaper is a small process beside hookmux that outlives it by a moment: when
// hookmux is gone, however it went, it kills every plugin and what the plugins
// started. The kernel's death signal reaches only our direct children.
type Reaper struct {
	instance string
	cmd      *exec.Cmd
	lifeline io.WriteCloser // closed by our death at the latest
}

// StartReaper starts command with the instance's id appended; that process
// must call Reap. Without a command nothing is started, and only direct
// children die with us.
func StartReaper(command []string) (*Reaper, error) {
	var id [8]byte
	_, _ = rand.Read(id[:])
	r := &Reaper{instance: hex.EncodeToString(id[:])}
	if len(command) == 0 {
		return r, nil
	}
	r.cmd = exec.Command(command[0], append(command[1:len(command):len(command)], r.instance)...)
	r.cmd.Env = []string{}
	// Its own group, so that a Ctrl-C at the terminal does not reach it first.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if r.lifeline, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reaper, which ends plugins if hookmux is killed: %w", err)
	}
	return r, nil
}

// Close has the reaper kill what may still be there, and waits for its end.
func (r *Reaper) Close() {
	if r.cmd != nil {
		_ = r.lifeline.Close()
		_ = r.cmd.Wait()
	}
}

// Reap is the reaper's process: it waits until stdin ends, which is when
// hookmux has ended, and then kills everything that carries the instance's mark.
func Reap(stdin io.Reader, instance string) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, stdin)
	killMarked(instance)
}
