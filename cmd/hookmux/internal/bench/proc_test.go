package bench

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	// A name may look like the end of itself.
	const line = "4711 (a) R (b) S 17 1 2 0 -1 4194304 99 0 0 0 30 12 5 3 20 0 1 0 468976 3133440 354\n"
	s, err := parseStat([]byte(line))
	want := procStat{pid: 4711, parent: 17, cpu: (30 + 12 + 5 + 3) * tick}
	if err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 2", "1 (x) S y 1 2 0 -1 0 0 0 0 0 1 1 1 1", ") ("} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave %+v", bad, s)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	const status = "Name:\thookmux\nVmHWM:\t  170300 kB\nVmRSS:\t   18004 kB\n"
	if n, err := parseStatus([]byte(status), "VmRSS"); n != 18004<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := parseStatus([]byte(status), "VmSwap"); err == nil {
		t.Errorf("%d for a line that is not there", n)
	}
}

func TestTrees(t *testing.T) {
	t.Parallel()
	all := make(map[int]procStat)
	for pid, parent := range map[int]int{1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20, 30: 1} {
		all[pid] = procStat{pid: pid, parent: parent}
	}
	var got []int
	for _, s := range trees(all, 10, 20) {
		got = append(got, s.pid)
	}
	slices.Sort(got)
	if want := []int{10, 11, 12, 20, 21}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What /proc says of this very process.
func TestOwnProcess(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	pid := os.Getpid()
	if s := processes()[pid]; s.pid != pid || s.parent != os.Getppid() {
		t.Errorf("%+v", s)
	}
	for end := time.Now().Add(patience); processes()[pid].cpu == 0; {
		if time.Now().After(end) {
			t.Fatal("a process that works uses no CPU time")
		}
	}
	if n, err := memoryOf(pid, "VmRSS"); n < 1<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	name, value, _ := strings.Cut(os.Environ()[0], "=")
	if !hasEnv(pid, name, value) || hasEnv(pid, name, value+"x") {
		t.Errorf("wrong about %s=%s", name, value)
	}
}
