package sdk

import (
	"context"
	"sync"
)

// calls counts the calls under way, so that stopping can wait for them. The
// zero value is ready. A WaitGroup would not do: calls may still begin while
// somebody waits.
type calls struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // made by drain, closed when the last call is done
}

// enter begins a call; false means that the plugin is stopping.
func (c *calls) enter() bool { return c.enterN(1) }

// enterN begins n calls, or none.
func (c *calls) enterN(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.n += n
	return true
}

func (c *calls) leave() { c.leaveN(1) }

func (c *calls) leaveN(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n -= n
	if n > 0 && c.closed && c.n == 0 {
		close(c.idle)
	}
}

// drain refuses new calls and waits until those under way are done, or until
// ctx ends. It may be called more than once.
func (c *calls) drain(ctx context.Context) {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.idle = make(chan struct{})
		if c.n == 0 {
			close(c.idle)
		}
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
