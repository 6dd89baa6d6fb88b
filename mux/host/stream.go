package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// streamConn speaks app protocol 2 to a plugin: decisions on one stream,
// notifications on another.
type streamConn struct {
	decisions     *stream
	notifications *stream

	mu    sync.Mutex
	open  map[uint64]asked // decisions that await their reply
	dead  bool
	timer *time.Timer // ends those whose deadline has come
	due   time.Time   // when it does; zero: it is not set
	next  atomic.Uint64
	// waiters are channels on which decisions await their reply.
	waiters sync.Pool
	late    *atomic.Int64 // counts replies nobody waits for any more

	posted  atomic.Uint64 // notifications
	replies atomic.Uint64 // to decisions that were not open, or to notifications

	handled func(id uint64, err error)

	// broken is closed when a stream has ended, which is when the plugin is of
	// no use any more, even if its process lives on.
	broken  chan struct{}
	brokeBy error // why; set before broken is closed
	once    sync.Once
}

// asked is a decision that awaits its reply.
type asked struct {
	got      chan reply
	deadline time.Time // zero: none
}

type reply struct {
	answer []byte
	err    error
}

// openStreams opens both streams. They end with ctx.
func openStreams(ctx context.Context, cc *grpc.ClientConn, late *atomic.Int64) (*streamConn, error) {
	c := &streamConn{open: make(map[uint64]asked), late: late, broken: make(chan struct{})}
	c.waiters.New = func() any { return make(chan reply, 1) }
	var err error
	if c.decisions, err = openStream(ctx, cc, pluginv1.Plugin_Decide_FullMethodName, decisionPause); err != nil {
		return nil, fmt.Errorf("open the stream for decisions: %w", err)
	}
	if c.notifications, err = openStream(ctx, cc, pluginv1.Plugin_Notify_FullMethodName, notificationPause); err != nil {
		return nil, fmt.Errorf("open the stream for notifications: %w", err)
	}
	for s, take := range map[*stream]func(*batch.Reply){c.decisions: c.decided, c.notifications: c.notified} {
		s.stuck = func() { c.fail(fmt.Errorf("the plugin has not read its stream for %s", stuckAfter)) }
		go func() { c.fail(s.write()) }()
		go func() { c.fail(s.read(take)) }()
	}
	return c, nil
}

// Decide implements mux.Conn.
func (c *streamConn) Decide(ctx context.Context, h mux.Hook, req []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := batch.Event{ID: c.next.Add(1), Hook: wireHook(h), Request: req}
	a := asked{got: c.waiters.Get().(chan reply)}
	if d, ok := ctx.Deadline(); ok {
		e.TimeoutUs = micros(time.Until(d))
		a.deadline = d
	}
	if l, ok := ctx.(*mux.Limited); ok {
		ctx = l.Parent // the deadline, one timer keeps for all
	}
	if !c.await(e.ID, a) {
		return nil, mux.ErrNotSent
	}
	err := c.decisions.event(&e)
	for errors.Is(err, mux.ErrNoRoom) { // large ones, or a plugin that reads slowly: somebody waits, within the deadline
		select {
		case <-c.decisions.awaitRoom():
			err = c.decisions.event(&e)
		case r := <-a.got:
			c.waiters.Put(a.got)
			return r.answer, r.err
		case <-ctx.Done():
			if _, ok := c.take(e.ID); ok {
				c.waiters.Put(a.got)
			}
			return nil, ctx.Err()
		}
	}
	if err != nil {
		if _, ok := c.take(e.ID); ok { // else a reply, that the stream has ended, is about to come
			c.waiters.Put(a.got)
		}
		return nil, err
	}
	select {
	case r := <-a.got:
		c.waiters.Put(a.got)
		return r.answer, r.err
	case <-ctx.Done():
		if _, ok := c.take(e.ID); ok { // else a reply is about to come
			c.waiters.Put(a.got)
		}
		c.decisions.cancel(e.ID)
		return nil, ctx.Err()
	}
}

// await notes a decision, before it is sent.
func (c *streamConn) await(id uint64, a asked) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return false
	}
	c.open[id] = a
	c.wakeFor(a.deadline)
	return true
}

// wakeFor sets the timer for a deadline, if none is before it, with c.mu held.
// Nearly all decisions are answered long before theirs, so the timer stays as it is
// and finds later that it has nothing to do.
func (c *streamConn) wakeFor(deadline time.Time) {
	switch {
	case deadline.IsZero(), !c.due.IsZero() && !deadline.Before(c.due):
		return
	case c.timer == nil:
		c.timer = time.AfterFunc(time.Until(deadline), c.expire)
	default:
		c.timer.Reset(time.Until(deadline))
	}
	c.due = deadline
}

// expire gives up the decisions whose deadline has come.
func (c *streamConn) expire() {
	now := time.Now()
	var late []uint64
	c.mu.Lock()
	c.due = time.Time{}
	var next time.Time
	for id, a := range c.open {
		switch {
		case a.deadline.IsZero():
		case !now.Before(a.deadline):
			delete(c.open, id)
			a.got <- reply{err: context.DeadlineExceeded}
			late = append(late, id)
		case next.IsZero(), a.deadline.Before(next):
			next = a.deadline
		}
	}
	c.wakeFor(next)
	c.mu.Unlock()
	for _, id := range late {
		c.decisions.cancel(id)
	}
}

// Notify implements mux.Conn. It goes with the decisions, since somebody waits.
func (c *streamConn) Notify(ctx context.Context, h mux.Hook, req []byte) error {
	_, err := c.Decide(ctx, h, req)
	return err
}

// Replies implements mux.Streamer.
func (c *streamConn) Replies(handled func(id uint64, err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled = handled
}

// Post implements mux.Streamer.
func (c *streamConn) Post(id uint64, h mux.Hook, client, req []byte, eventID string, timeout time.Duration) error {
	c.posted.Add(1)
	return c.notifications.event(&batch.Event{ID: id, Hook: wireHook(h), TimeoutUs: micros(timeout), Key: client, EventID: eventID, Request: req})
}

// Cancel implements mux.Streamer.
func (c *streamConn) Cancel(id uint64) { c.notifications.cancel(id) }

// take removes a decision that awaits its reply.
func (c *streamConn) take(id uint64) (chan reply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.open[id]
	delete(c.open, id)
	return a.got, ok
}

func (c *streamConn) decided(r *batch.Reply) {
	got, ok := c.take(r.ID)
	if !ok {
		c.late.Add(1)
		c.lateHere()
		return
	}
	got <- reply{r.Answer, replyError(r)}
}

func (c *streamConn) notified(r *batch.Reply) {
	c.mu.Lock()
	handled := c.handled
	c.mu.Unlock()
	if handled != nil {
		handled(r.ID, replyError(r))
	}
	c.lateHere()
}

// lateHere ends the conversation with a plugin that replies to more events than
// it ever got: it would keep us busy for nothing.
func (c *streamConn) lateHere() {
	if n := c.replies.Add(1); n > c.posted.Load()+c.next.Load()+1000 {
		go c.fail(errors.New("the plugin replies to events that it never got"))
	}
}

func replyError(r *batch.Reply) error {
	if r.Error == "" {
		return nil
	}
	if r.Unavailable {
		return fmt.Errorf("%w: %w: %s", mux.ErrAnswered, mux.ErrUnavailable, short(r.Error))
	}
	return fmt.Errorf("%w: %s", mux.ErrAnswered, short(r.Error))
}

// fail resolves every open decision at once, and has the host know.
func (c *streamConn) fail(err error) {
	c.once.Do(func() {
		c.decisions.close()
		c.notifications.close()
		c.mu.Lock()
		open := c.open
		c.open, c.dead = nil, true
		if c.timer != nil {
			c.timer.Stop()
		}
		c.mu.Unlock()
		for _, a := range open {
			a.got <- reply{err: fmt.Errorf("%w: %w", mux.ErrDown, err)}
		}
		c.brokeBy = err
		close(c.broken)
	})
}

// wireHook is the hook's number in hookmux.plugin.v1.
func wireHook(h mux.Hook) uint64 { return uint64(h) + 1 }

func micros(d time.Duration) uint64 { return uint64(max(d/time.Microsecond, 1)) }
