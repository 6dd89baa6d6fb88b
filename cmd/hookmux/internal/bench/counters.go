package bench

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// counters are words in a file that the bench and one plugin have mapped: to
// count this way costs the plugin an atomic add and the bench a load, and the
// counts outlive a plugin that is killed.
type counters struct {
	mem []byte
	*words
}

// words is what the file holds.
type words struct {
	notified atomic.Int64 // notifications handled
	decided  atomic.Int64 // decisions handled
	nap      atomic.Int64 // nanoseconds that the plugin sleeps in each event; set by the bench
	protocol atomic.Int64 // the app protocol that the plugin was offered, at most
}

const countersSize = 4096

// newCounters makes the file.
func newCounters(path string) (*counters, error) {
	if err := os.WriteFile(path, make([]byte, countersSize), 0o600); err != nil {
		return nil, err
	}
	return openCounters(path)
}

// openCounters maps a file that newCounters made. Close unmaps it.
func openCounters(path string) (*counters, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s, err := f.Stat(); err != nil || s.Size() != countersSize {
		return nil, errors.Join(fmt.Errorf("%s is no file of counters", path), err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, countersSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	// A mapping begins at a page, so the words are aligned.
	return &counters{mem: mem, words: (*words)(unsafe.Pointer(unsafe.SliceData(mem)))}, nil
}

func (c *counters) Close() { _ = syscall.Munmap(c.mem) }
