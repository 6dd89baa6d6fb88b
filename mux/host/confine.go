package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ProcessSpec is what a plugin's process may be and use. The zero value of each
// field leaves things as they are for hookmux itself.
//
// User and SHA256 hold or the plugin is not started. The others are limits:
// what the host does not allow is logged, told in State.Problems, and left out.
type ProcessSpec struct {
	// User is who the process is: a name or uid, which also brings the groups of
	// that user, or user:group with that group alone. It needs root.
	User string
	// Umask of the process; nil is hookmux's.
	Umask *int
	// Nice is its priority, from -20 to 19; below hookmux's own needs root. 0 is hookmux's.
	Nice int
	// Memory is how many bytes it and what it starts may use together. The
	// kernel holds it where a cgroup v2 is ours to divide; else the resident
	// memory is added up with every health check, shared pages once for each
	// process. Over the limit it is killed, and restarted as after a crash.
	Memory int64
	// CPUWeight is its share of the CPU when that is short, 1 to 10000, next to
	// hookmux and the other plugins with a weight; it needs a cgroup v2. The kernel's default is 100.
	CPUWeight int
	// OpenFiles is how many files each of its processes may have open. It is
	// set a moment after the start: what is open by then stays open.
	OpenFiles int
	// SHA256 has the sums, in hexadecimal, of files by absolute path; "" is the
	// executable. They are compared before every start. That finds a file that was
	// replaced or damaged; it does not stop somebody who may write the file and does so
	// between the comparison and the start, and says nothing about other files
	// that the plugin loads.
	SHA256 map[string]string
}

// confinement is a ProcessSpec made ready for one start.
type confinement struct {
	spec     ProcessSpec
	who      *identity // nil: as hookmux
	group    *cgroup   // nil: none
	watched  bool      // spec.Memory is ours to watch
	problems []string  // what the host does not allow: "process.key: why"
}

// confine prepares one start of a provider's executable. An error means that it
// must not be started.
func confine(name string, cmd *exec.Cmd, spec ProcessSpec) (*confinement, error) {
	c := &confinement{spec: spec}
	if cmd.Err != nil {
		return c, nil // its start says so
	}
	executable := cmd.Path
	if !filepath.IsAbs(executable) {
		executable = filepath.Join(cmd.Dir, executable)
	}
	err := checkSums(spec.SHA256, executable)
	if err != nil {
		return nil, err
	}
	if c.who, err = findUser(spec.User); err != nil {
		return nil, err
	}
	c.prepare(name)
	return c, nil
}

// problem notes that the host does not allow what a key asks for.
func (c *confinement) problem(key, format string, args ...any) {
	c.problems = append(c.problems, "process."+key+": "+fmt.Sprintf(format, args...))
}

// checkSums compares files with their sums.
func checkSums(sums map[string]string, executable string) error {
	var wrong []string
	for _, path := range slices.Sorted(maps.Keys(sums)) {
		file := path
		if path == "" {
			file = executable
		}
		got, err := sum(file)
		switch {
		case err != nil:
			wrong = append(wrong, err.Error())
		case got != sums[path]:
			wrong = append(wrong, fmt.Sprintf("%s has the sum %s, but must have %s", file, got, sums[path]))
		}
	}
	if wrong != nil {
		return fmt.Errorf("process.sha256: %s; so it was not started", strings.Join(wrong, ", and "))
	}
	return nil
}

func sum(path string) (string, error) {
	// A pipe would keep us waiting.
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// mebi is a number of bytes for people.
func mebi(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
