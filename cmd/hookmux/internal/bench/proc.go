package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc: a hundredth of a second on every
// Linux that Go runs on. The kernel rounds an exact time to it.
const tick = 10 * time.Millisecond

// procStat is what is needed of /proc/PID/stat.
type procStat struct {
	pid, parent int
	// cpu is user and system time of the process, all its threads, and the
	// children that it has waited for.
	cpu time.Duration
}

func parseStat(b []byte) (procStat, error) {
	// The name is in parentheses and may hold any.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("no process name in %q", b)
	}
	fields := bytes.Fields(b[end+1:])
	// From the state on, which is field 3: parent is 4, utime to cstime 14 to 17.
	const first, parent, utime, cstime = 3, 4, 14, 17
	if len(fields) <= cstime-first {
		return procStat{}, fmt.Errorf("too few fields in %q", b)
	}
	var s procStat
	var err error
	number := func(b []byte) (n int) {
		n, e := strconv.Atoi(string(b))
		if e != nil {
			err = e
		}
		return n
	}
	s.pid = number(bytes.TrimSpace(b[:open]))
	s.parent = number(fields[parent-first])
	for _, f := range fields[utime-first : cstime-first+1] {
		s.cpu += time.Duration(number(f)) * tick
	}
	return s, err
}

// processes are all running processes by id.
func processes() map[int]procStat {
	all := make(map[int]procStat)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // gone meanwhile
		}
		if s, err := parseStat(b); err == nil {
			all[s.pid] = s
		}
	}
	return all
}

// trees are the processes of roots and all that descends from them.
func trees(all map[int]procStat, roots ...int) (of []procStat) {
	in := make(map[int]bool)
	for _, r := range roots {
		in[r] = true
	}
	var under func(pid, depth int) bool
	under = func(pid, depth int) bool {
		s, ok := all[pid]
		return ok && depth < 100 && (in[pid] || under(s.parent, depth+1))
	}
	for pid, s := range all {
		if under(pid, 0) {
			of = append(of, s)
		}
	}
	return of
}

// memoryOf is a line of /proc/PID/status, such as VmRSS or VmHWM, in bytes.
func memoryOf(pid int, key string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseStatus(b, key)
}

func parseStatus(b []byte, key string) (int64, error) {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key+":")); ok {
			kb, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("there is no %s", key)
}

// hasEnv says whether a process was started with the variable set to value.
func hasEnv(pid int, name, value string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, b...), []byte("\x00"+name+"="+value+"\x00"))
}
