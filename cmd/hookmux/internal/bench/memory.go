package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/hookmux/hookmux/mux"
)

const (
	mb = 1 << 20
	// laneRoom is what hookmux may need beside what its lanes may hold.
	laneRoom = 64 * mb
	// idleFor is how long a system is left alone before its memory is read.
	idleFor = time.Second
)

// memory measures resident memory: idle, and with a lane that is full.
func (l *lab) memory(ctx context.Context, rep *report) error {
	for _, plugins := range []int{0, 8} {
		l.progress("memory: idle with %d plugins", plugins)
		if err := l.idleMemory(ctx, rep, plugins); err != nil {
			return err
		}
	}
	l.progress("memory: full lane")
	return l.laneMemory(ctx, rep)
}

func (l *lab) idleMemory(ctx context.Context, rep *report, plugins int) error {
	s, err := l.hookmux(ctx, plugins, nil)
	if err != nil {
		return err
	}
	defer s.stop()
	if !sleep(ctx, idleFor) {
		return ctx.Err()
	}
	hookmux := s.roots[0].pid()
	own, err := memoryOf(hookmux, "VmRSS")
	if err != nil {
		return err
	}
	rep.memory(fmt.Sprintf("hookmux, idle, %d plugins", plugins), own, 0)
	if plugins == 0 {
		return nil
	}
	var all int64
	for _, p := range trees(processes(), hookmux) {
		if n, err := memoryOf(p.pid, "VmRSS"); err == nil {
			all += n
		}
	}
	rep.memory(fmt.Sprintf("the same with its %d plugins and reaper", plugins), all, 0)
	return nil
}

// laneMemory fills the lane of a plugin that hangs with events that are small,
// as those cost the most beside their bytes.
func (l *lab) laneMemory(ctx context.Context, rep *report) error {
	var hung system
	s, err := l.hookmux(ctx, 1, func(_ int, p *providerConfig) {
		hung.unmap() // of the one that hookmux has made already
		l.builtIn(&hung, p)
		p.Timeout = "10m"
		p.Lane = map[string]any{"events": 100_000_000, "bytes": fmt.Sprintf("%dMiB", mux.DefaultLaneBytes/mb)}
	})
	if err != nil {
		return err
	}
	defer s.kill() // it would take its time to deliver all that waits
	s.plugins, s.hooks = nil, []mux.Hook{mux.MessageDelivered}
	defer hung.unmap()
	hung.plugins[0].nap.Store(int64(time.Hour))

	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	full := make(chan struct{})
	go func() {
		defer close(full)
		for !s.roots[0].log.laneFull() && sleep(ctx, 10*time.Millisecond) {
		}
		sleep(ctx, idleFor) // more keeps coming when it is full
		cancel()
	}()
	ld := l.load()
	ld.kind, ld.duration, ld.lenient = notifications, 2*patience, true
	_, err = ld.run(ctx, s)
	<-full
	if !s.roots[0].log.laneFull() {
		return fmt.Errorf("the lane did not fill within %s: %w", 2*patience, err)
	}
	peak, err := memoryOf(s.roots[0].pid(), "VmHWM")
	if err != nil {
		return err
	}
	rep.memory(fmt.Sprintf("hookmux, lane of %d MB full, peak", mux.DefaultLaneBytes/mb), peak, mux.DefaultLaneBytes+laneRoom)
	return nil
}
