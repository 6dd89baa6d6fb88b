package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// streamConn speaks app protocol 2 to a plugin: decisions on one stream,
// notifications on another.
type streamConn struct {
	decisions     *stream
	notifications *stream

	mu   sync.Mutex
	open map[uint64]chan reply // decisions that await their reply
	dead bool
	next atomic.Uint64
	late *atomic.Int64 // counts replies nobody waits for any more

	posted  atomic.Uint64 // notifications
	replies atomic.Uint64 // to decisions that were not open, or to notifications

	handled func(id uint64, err error)

	// broken is closed when a stream has ended, which is when the plugin is of
	// no use any more, even if its process lives on.
	broken  chan struct{}
	brokeBy error // why; set before broken is closed
	once    sync.Once
}

type reply struct {
	answer []byte
	err    error
}

// openStreams opens both streams. They end with ctx.
func openStreams(ctx context.Context, cc *grpc.ClientConn, late *atomic.Int64) (*streamConn, error) {
	c := &streamConn{open: make(map[uint64]chan reply), late: late, broken: make(chan struct{})}
	var err error
	if c.decisions, err = openStream(ctx, cc, pluginv1.Plugin_Decide_FullMethodName); err != nil {
		return nil, fmt.Errorf("open the stream for decisions: %w", err)
	}
	if c.notifications, err = openStream(ctx, cc, pluginv1.Plugin_Notify_FullMethodName); err != nil {
		return nil, fmt.Errorf("open the stream for notifications: %w", err)
	}
	// Nobody waits for a notification: the batches may take a moment to grow, which
	// saves both sides most of their system calls.
	c.notifications.linger = lingerNotifications
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
	if d, ok := ctx.Deadline(); ok {
		e.TimeoutUs = micros(time.Until(d))
	}
	got := waiters.Get().(chan reply)
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return nil, mux.ErrNotSent
	}
	c.open[e.ID] = got
	c.mu.Unlock()
	if err := c.decisions.event(&e); err != nil {
		if _, ok := c.take(e.ID); ok { // else a reply, that the stream has ended, is about to come
			waiters.Put(got)
		}
		return nil, err
	}
	select {
	case r := <-got:
		waiters.Put(got)
		return r.answer, r.err
	case <-ctx.Done():
		if _, ok := c.take(e.ID); ok { // else a reply is about to come
			waiters.Put(got)
		}
		c.decisions.cancel(e.ID)
		return nil, ctx.Err()
	}
}

// waiters are channels on which decisions await their reply.
var waiters = sync.Pool{New: func() any { return make(chan reply, 1) }}

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
func (c *streamConn) Post(id uint64, h mux.Hook, client, req []byte, timeout time.Duration) error {
	c.posted.Add(1)
	return c.notifications.event(&batch.Event{ID: id, Hook: wireHook(h), TimeoutUs: micros(timeout), Key: client, Request: req})
}

// Cancel implements mux.Streamer.
func (c *streamConn) Cancel(id uint64) { c.notifications.cancel(id) }

// take removes a decision that awaits its reply.
func (c *streamConn) take(id uint64) (chan reply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got, ok := c.open[id]
	delete(c.open, id)
	return got, ok
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
		c.mu.Unlock()
		for _, got := range open {
			got <- reply{err: fmt.Errorf("%w: %w", mux.ErrDown, err)}
		}
		c.brokeBy = err
		close(c.broken)
	})
}

// stream is one stream of batches. What is written while a batch is being sent
// makes the next one.
type stream struct {
	cs     grpc.ClientStream
	wake   chan struct{} // buffered: there is something to send
	linger time.Duration // how long the first event of a batch waits for more
	stuck  func()        // called when the plugin does not read

	mu     sync.Mutex
	batch  []byte // what is to be sent next
	closed bool
}

func openStream(ctx context.Context, cc *grpc.ClientConn, method string) (*stream, error) {
	desc := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	cs, err := cc.NewStream(ctx, &desc, method, rawCall, limitAnswer)
	if err != nil {
		return nil, err
	}
	return &stream{cs: cs, wake: make(chan struct{}, 1)}, nil
}

// event queues an event.
func (s *stream) event(e *batch.Event) error {
	return s.append(func(b []byte) []byte { return batch.AppendEvent(b, e) })
}

// cancel tells the plugin that nobody waits for an event any more.
func (s *stream) cancel(id uint64) {
	_ = s.append(func(b []byte) []byte { return batch.AppendCanceled(b, id) })
}

// Bounds on a plugin that does not read its stream: what is kept for it, and
// how long it is waited for.
const (
	maxUnsent  = 8 << 20
	stuckAfter = 15 * time.Second
)

func (s *stream) append(to func([]byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return mux.ErrNotSent
	case len(s.batch) > maxUnsent:
		return mux.ErrNoRoom
	}
	first := len(s.batch) == 0
	s.batch = to(s.batch)
	if first {
		s.wake <- struct{}{} // has room: write empties it before it takes a batch
	}
	return nil
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.wake)
	}
}

// lingerNotifications is a hundredth of what people notice, and at 10,000 events
// a second makes batches of ten.
const lingerNotifications = time.Millisecond

var errStreamEnded = errors.New("the plugin ended its stream")

// write sends batches until the stream ends, and says why it did.
func (s *stream) write() error {
	for range s.wake {
		if s.linger > 0 {
			time.Sleep(s.linger)
		} else {
			runtime.Gosched() // who is about to write gets into this batch
		}
		s.mu.Lock()
		b := s.batch
		s.batch = nil
		s.mu.Unlock()
		stuck := time.AfterFunc(stuckAfter, s.stuck)
		err := s.cs.SendMsg(rawcodec.Message(b))
		stuck.Stop()
		if err != nil {
			return errStreamEnded // read knows why
		}
	}
	return errStreamEnded
}

// read takes replies until the stream ends, and says why it did.
func (s *stream) read(take func(*batch.Reply)) error {
	for {
		var b rawcodec.Message
		if err := s.cs.RecvMsg(&b); err != nil {
			return fmt.Errorf("%w: %w", errStreamEnded, err)
		}
		if err := batch.ReadReplies(b, take); err != nil {
			return fmt.Errorf("the plugin sent a %w", err)
		}
	}
}

// wireHook is the hook's number in hookmux.plugin.v1.
func wireHook(h mux.Hook) uint64 { return uint64(h) + 1 }

func micros(d time.Duration) uint64 { return uint64(max(d/time.Microsecond, 1)) }
