package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// disk watches how much room there is where the store is. Some is kept in reserve: for
// what has to be written to make room, and because a server whose disk is full has to
// be started anew.
type disk struct {
	dir     string
	reserve int64 // at most

	mu     sync.Mutex
	looked time.Time
	err    error
}

// The reserve is a sixteenth of the disk, and this at most.
const maxReserve = 64 << 20

// diskEvery is how often it is looked at, at most.
const diskEvery = 10 * time.Millisecond

// room says why there is none.
func (d *disk) room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.looked) >= diskEvery {
		d.looked, d.err = now, d.look()
	}
	return d.err
}

func (d *disk) look() error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return nil // who writes will see
	}
	size := int64(s.Bsize) //nolint:unconvert // it has another type on other systems
	if free, total := int64(s.Bavail)*size, int64(s.Blocks)*size; free < min(total/16, d.reserve) {
		return fmt.Errorf("%w: the disk of %s has %d KiB left", mux.ErrStoreFull, d.dir, free>>10)
	}
	return nil
}

// probe says whether something can be written.
func (d *disk) probe() error {
	if err := d.look(); err != nil {
		return err
	}
	path := filepath.Join(d.dir, "probe")
	defer func() { _ = os.Remove(path) }()
	return os.WriteFile(path, make([]byte, 64<<10), 0o600)
}
