package host

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// Reaper is a small process beside hookmux that outlives it by a moment: when
// hookmux is gone, however it went, it kills every plugin and what the plugins
// started. The kernel's death signal reaches only our direct children.
type Reaper struct {
	instance string
	runs     atomic.Uint64 // of plugins
	cmd      *exec.Cmd
	lifeline io.WriteCloser // closed by our death at the latest
}

// StartReaper starts command with two arguments more, the instance's id and
// dir; that process must call Reap with them. dir is the folder of the plugins'
// sockets. Without a command nothing is started, and only direct children die
// with us.
func StartReaper(command []string, dir string) (*Reaper, error) {
	var id [8]byte
	_, _ = rand.Read(id[:])
	r := &Reaper{instance: hex.EncodeToString(id[:])}
	if len(command) == 0 {
		return r, nil
	}
	r.cmd = exec.Command(command[0], append(command[1:len(command):len(command)], r.instance, dir)...)
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

// nextID is the mark of one run of a provider's process.
func (r *Reaper) nextID(provider string) string {
	return fmt.Sprintf("%s/%s/%d", r.instance, provider, r.runs.Add(1))
}

// Close has the reaper kill what may still be there, and waits for its end.
func (r *Reaper) Close() {
	if r.cmd != nil {
		_ = r.lifeline.Close()
		_ = r.cmd.Wait()
	}
}

// Reap is the reaper's process: it waits until stdin ends, which is when
// hookmux has ended, then kills everything that carries the instance's mark, and
// removes dir if that is a folder of TempDir's making.
func Reap(stdin io.Reader, instance, dir string) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, stdin)
	killMarked(instance)
	if strings.HasPrefix(filepath.Base(dir), tempPrefix) {
		_ = os.RemoveAll(dir)
	}
}

const (
	tempPrefix = "hookmux-"
	// maxTempDir leaves room for what go-plugin appends within the 104 bytes
	// that a unix socket's path may have everywhere.
	maxTempDir = 60
)

// TempDir makes a folder for the plugins' sockets that only this user may
// enter. Its path is short enough for sockets, whatever TMPDIR says.
func TempDir() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		if len(parent)+len(tempPrefix)+10 > maxTempDir {
			continue
		}
		return os.MkdirTemp(parent, tempPrefix)
	}
	return "", errors.New("no folder with a path short enough for unix sockets: set TMPDIR to a shorter one")
}
