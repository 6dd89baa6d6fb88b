package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownGroup puts a child into a group of its own, and has the kernel kill it when
// we die.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// usage is the memory, in bytes, and the CPU time of a process group.
func usage(group int) (rss int64, cpu time.Duration, ok bool) {
	const tick = time.Second / 100 // USER_HZ, on all Linux that Go runs on
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// After the name, which may hold anything: state, parent, group, …
		at := strings.LastIndexByte(string(b), ')')
		fields := strings.Fields(string(b[at+1:]))
		if len(fields) < 22 || fields[2] != fmt.Sprint(group) {
			continue
		}
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		rss += pages * int64(os.Getpagesize())
		cpu += time.Duration(user+system) * tick
		ok = true
	}
	return rss, cpu, ok
}

// awaitStop waits until a process that got SIGSTOP has stopped, all its threads.
func awaitStop(pid int) {
	for range 1000 {
		running := false
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			at := strings.LastIndexByte(string(b), ')')
			running = running || !strings.HasPrefix(string(b[at+1:]), " T")
		}
		if !running {
			return
		}
		time.Sleep(time.Millisecond) // the pause of a poll
	}
}
