//go:build !linux

package host

import (
	"runtime"
	"syscall"
)

// prepare says that the limits are not there: they are made of what Linux has.
func (c *confinement) prepare(string) {
	for key, asked := range map[string]bool{
		"umask": c.spec.Umask != nil, "nice": c.spec.Nice != 0, "memory": c.spec.Memory != 0,
		"cpu_weight": c.spec.CPUWeight != 0, "open_files": c.spec.OpenFiles != 0,
	} {
		if asked {
			c.problem(key, "hookmux can do this on Linux only, not on %s; it is left out", runtime.GOOS)
		}
	}
}

func (c *confinement) onThread()           {}
func (c *confinement) started(int)         {}
func (c *confinement) overLimit(int) error { return nil }

// cgroup is what Linux has: there is never one.
type cgroup struct{}

func (*cgroup) use(*syscall.SysProcAttr) {}
func (*cgroup) kill()                    {}
func (*cgroup) ranOut() bool             { return false }
func (*cgroup) remove()                  {}
