package bench

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// gate numbers the events and holds them back while too many are not handled.
type gate struct {
	window  uint64        // how many may be under way; 0: any
	handled func() uint64 // how many are done

	issued atomic.Uint64
	limit  atomic.Uint64 // the highest number that may go

	mu   sync.Mutex
	cond *sync.Cond
	done chan struct{}
}

func (g *gate) open() {
	g.cond = sync.NewCond(&g.mu)
	g.done = make(chan struct{})
	g.limit.Store(math.MaxUint64)
	if g.window > 0 {
		g.limit.Store(g.window)
	}
}

// keep raises the limit as events are handled, until close or the end of ctx,
// after which all may go.
func (g *gate) keep(ctx context.Context) {
	if g.window == 0 {
		return
	}
	t := time.NewTicker(500 * time.Microsecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			g.raise(g.handled() + g.window)
		case <-ctx.Done():
			g.raise(math.MaxUint64)
			return
		case <-g.done:
			return
		}
	}
}

func (g *gate) raise(limit uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit.Store(limit)
	g.cond.Broadcast()
}

func (g *gate) close() { close(g.done) }

// ticket is the next event's number, from 1; it waits until that may go.
func (g *gate) ticket() uint64 {
	n := g.issued.Add(1)
	if n <= g.limit.Load() {
		return n
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for n > g.limit.Load() {
		g.cond.Wait()
	}
	return n
}
