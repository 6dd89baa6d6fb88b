package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a control group of one run of a plugin, below our own:
//
//	our own cgroup, which has to be delegated to us
//	├── hookmux          hookmux itself, and plugins without limits
//	├── plugin-login-1
//	└── plugin-rules-2
//
// The kernel allows no processes beside child groups with limits, so the first
// limit moves hookmux down into the group of that name.
type cgroup struct {
	dir string
	fd  *os.File
}

const (
	cgroupOfOurs   = "hookmux"
	cgroupOfPlugin = "plugin-"
)

// division is our own cgroup once it is ready to be divided, which is the same
// for all of the process.
var division struct {
	sync.Mutex
	dir string
	n   atomic.Int64
}

// newCgroup makes a group with the limits that are not 0. The errors say why
// one of them cannot be had; without any there is no group.
func newCgroup(name string, memory int64, weight int) (g *cgroup, memoryErr, cpuErr error) {
	none := func(err error) (*cgroup, error, error) {
		if memory != 0 {
			memoryErr = err
		}
		if weight != 0 {
			cpuErr = err
		}
		return nil, memoryErr, cpuErr
	}
	base, err := divide()
	if err != nil {
		return none(err)
	}
	if memory != 0 {
		memoryErr = enable(base, "memory")
	}
	if weight != 0 {
		cpuErr = enable(base, "cpu")
	}
	if (memory == 0 || memoryErr != nil) && (weight == 0 || cpuErr != nil) {
		return nil, memoryErr, cpuErr
	}
	g = &cgroup{dir: filepath.Join(base, cgroupOfPlugin+name+"-"+strconv.FormatInt(division.n.Add(1), 10))}
	_ = os.Remove(g.dir) // of a hookmux that was killed: empty, or else it stays
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return none(notDelegated(err))
	}
	if memory != 0 && memoryErr == nil {
		memoryErr = g.set("memory.max", strconv.FormatInt(memory, 10))
		_ = g.set("memory.swap.max", "0")  // the limit is one; missing without swap
		_ = g.set("memory.oom.group", "1") // all or nothing of it ends
	}
	if weight != 0 && cpuErr == nil {
		cpuErr = g.set("cpu.weight", strconv.Itoa(weight))
	}
	if g.fd, err = os.Open(g.dir); err != nil {
		g.remove()
		return none(notDelegated(err))
	}
	return g, memoryErr, cpuErr
}

func (g *cgroup) set(file, value string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0)
}

// use has a process start in the group.
func (g *cgroup) use(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.fd.Fd())
	}
}

// kill kills all that is in the group, wherever it went otherwise.
func (g *cgroup) kill() {
	if g != nil {
		_ = g.set("cgroup.kill", "1")
	}
}

// ranOut says whether the kernel killed for want of memory within the limit.
func (g *cgroup) ranOut() bool {
	if g == nil {
		return false
	}
	events, _ := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok && n != "0" {
			return true
		}
	}
	return false
}

// remove removes the group, once the kernel has done with the killed.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	if g.fd != nil {
		_ = g.fd.Close()
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := os.Remove(g.dir); !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return
		}
	}
}

func notDelegated(err error) error {
	return fmt.Errorf("hookmux's cgroup is not delegated to it (%w; systemd: Delegate=yes)", err)
}

// divide makes our own cgroup ready for groups below it, and names it.
func divide() (string, error) {
	division.Lock()
	defer division.Unlock()
	if division.dir != "" {
		return division.dir, nil
	}
	dir, err := ownCgroup()
	if err != nil {
		return "", err
	}
	if unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) != nil || unix.Access(dir, unix.W_OK) != nil {
		return "", notDelegated(errors.New("it may not write to " + dir))
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil { // not the root of all
		if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil {
			return "", errors.New("this Linux is older than 5.14")
		}
		if err := moveDown(dir); err != nil {
			return "", err
		}
	}
	// What a hookmux that was killed left is empty by now.
	old, _ := filepath.Glob(filepath.Join(dir, cgroupOfPlugin+"*"))
	for _, d := range old {
		_ = os.Remove(d)
	}
	division.dir = dir
	return dir, nil
}

// enable has the groups below dir have a controller.
func enable(dir, controller string) error {
	has, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(has)), controller) {
		return fmt.Errorf("hookmux's cgroup has no %s controller (cgroup v2 at %s has: %s)", controller, dir, strings.TrimSpace(string(has)))
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
		return notDelegated(err)
	}
	return nil
}

// moveDown moves us and our children from dir into a group of our own below
// it. It moves nobody else: with others there, the group is not ours to divide.
func moveDown(dir string) error {
	leaf := filepath.Join(dir, cgroupOfOurs)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return notDelegated(err)
	}
	var moved []string
	back := func(err error) error {
		for _, pid := range moved {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0)
		}
		_ = os.Remove(leaf)
		return err
	}
	for range 10 { // somebody may be starting a child of ours meanwhile
		there, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return back(notDelegated(err))
		}
		pids := strings.Fields(string(there))
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if !isOurs(pid) {
				return back(fmt.Errorf("hookmux shares its cgroup %s with process %s (systemd: a unit of its own with Delegate=yes)", dir, pid))
			}
			err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return back(notDelegated(err))
			}
			moved = append(moved, pid)
		}
	}
	return back(errors.New("processes keep coming into hookmux's cgroup " + dir))
}

// isOurs says whether pid is us, descends from us, or is gone.
func isOurs(pid string) bool {
	for pid != "0" && pid != "1" {
		if pid == strconv.Itoa(os.Getpid()) {
			return true
		}
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return true
		}
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(f) < 2 {
			return false
		}
		pid = f[1] // its parent
	}
	return strconv.Itoa(os.Getpid()) == pid
}

// ownCgroup is the folder of our cgroup v2.
func ownCgroup() (string, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	path, found := "", false
	for line := range strings.Lines(string(groups)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path, found = p, true
		}
	}
	for line := range strings.Lines(string(mounts)) {
		// id parent device root mountpoint … - type …
		before, after, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if !found || len(f) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(f[3], "/")); ok && !strings.HasPrefix(rest, "/..") {
			return filepath.Join(f[4], rest), nil
		}
	}
	return "", errors.New("there is no cgroup v2 here")
}
