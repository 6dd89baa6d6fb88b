package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// prepare makes the cgroup, or says why there is none.
func (c *confinement) prepare(name string) {
	if c.spec.Memory == 0 && c.spec.CPUWeight == 0 {
		return
	}
	group, memoryErr, cpuErr := newCgroup(name, c.spec.Memory, c.spec.CPUWeight)
	c.group = group
	if memoryErr != nil {
		c.watched = true
		c.problem("memory", "%v; so hookmux itself looks now and then, which a plugin that grows fast may outrun", memoryErr)
	}
	if cpuErr != nil {
		c.problem("cpu_weight", "%v; it is left out", cpuErr)
	}
}

// onThread sets what a child inherits from the thread that starts it: the
// goroutine must be locked to its thread, and never unlock it.
func (c *confinement) onThread() {
	if c.spec.Umask != nil {
		// From here on the umask is this thread's own; before, all of hookmux shares it.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			c.problem("umask", "the system does not let hookmux have another umask for a thread (%v); it is left out", err)
		} else {
			unix.Umask(*c.spec.Umask)
		}
	}
	if c.spec.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), c.spec.Nice); err != nil {
			c.problem("nice", "the system does not allow %d (%v): a priority above hookmux's own needs root; it is left out", c.spec.Nice, err)
		}
	}
}

// started sets what can only be set for a process that is there. It is called
// on the thread of onThread.
func (c *confinement) started(pid int) {
	if c.spec.OpenFiles == 0 {
		return
	}
	if c.who != nil {
		// Who is the same user may set a limit without being privileged to, which
		// root in a container is not. The ids of just this thread are changed.
		defer realIDs(os.Getuid(), os.Getgid())
		realIDs(int(c.who.Uid), int(c.who.Gid))
	}
	n := uint64(c.spec.OpenFiles)
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil)
	switch {
	case err == nil || errors.Is(err, unix.ESRCH): // it has ended already
	case errors.Is(err, unix.EPERM):
		var ours unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &ours)
		c.problem("open_files", "the system does not allow it; it is left at hookmux's own %d", ours.Max)
	default:
		c.problem("open_files", "%v; it is left out", err)
	}
}

// realIDs changes the real, not the effective, ids of this thread alone, by a raw
// system call: those of the libraries are for all threads.
func realIDs(uid, gid int) {
	const same = ^uintptr(0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), same, same)
	_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), same, same)
}

// overLimit says how the process that leads group pid, its group and all that
// descends from it are over the memory limit, if that is ours to watch.
func (c *confinement) overLimit(pid int) error {
	if !c.watched {
		return nil
	}
	if used := resident(pid); used > c.spec.Memory {
		return fmt.Errorf("it used %s of memory, more than the %s it may have (process.memory), so its process group was killed", mebi(used), mebi(c.spec.Memory))
	}
	return nil
}

// resident is the memory in bytes of all processes of group pgid and of what
// descends from them. Pages that processes share count for each.
func resident(pgid int) int64 {
	type process struct {
		pid, parent, group int
		pages              int64
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		// pid (name, which may hold anything) state ppid pgrp …, rss is the 24th.
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(f) < 22 {
			continue
		}
		p := process{pid: pid}
		p.parent, _ = strconv.Atoi(f[1])
		p.group, _ = strconv.Atoi(f[2])
		p.pages, _ = strconv.ParseInt(f[21], 10, 64)
		all = append(all, p)
	}
	in := map[int]bool{pgid: true}
	for grew := true; grew; {
		grew = false
		for _, p := range all {
			if !in[p.pid] && (p.group == pgid || in[p.parent]) {
				in[p.pid], grew = true, true
			}
		}
	}
	var pages int64
	for _, p := range all {
		if in[p.pid] {
			pages += p.pages
		}
	}
	return pages * int64(os.Getpagesize())
}
