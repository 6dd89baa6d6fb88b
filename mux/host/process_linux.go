package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/proto/handshake"
)

// procAttr puts a child into a group of its own, and has the kernel kill it
// when we die.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killMarked kills every process whose environment carries the mark, or one
// that the mark is a prefix of: descendants inherit it even if they leave the
// process group. It looks again until nothing is found, since a process can
// fork while we look.
func killMarked(id string) {
	mark := []byte(handshake.EnvID + "=" + id)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		found := false
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			env, err := os.ReadFile(f)
			if err != nil || !marked(env, mark) {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err == nil && pid != os.Getpid() && syscall.Kill(pid, syscall.SIGKILL) == nil {
				found = true
			}
		}
		if !found {
			return
		}
	}
}

func marked(env, mark []byte) bool {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if rest, ok := bytes.CutPrefix(v, mark); ok && (len(rest) == 0 || rest[0] == '/') {
			return true
		}
	}
	return false
}
