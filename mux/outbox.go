package mux

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Bounds on the notifications that are on their way to one provider: sent, and
// not replied to. It is what a crash may cost and what exists twice in memory,
// and far more than what keeps a stream busy. One event may always go.
const (
	outboxWindow = 256
	outboxBytes  = 4 << 20
)

// outbox is the notifications that are on their way over one link. They are
// given up when there is no reply in time.
type outbox struct {
	lane    *lane
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	conn    Streamer
	room    notifier // tells when the window has room again

	mu      sync.Mutex
	open    map[uint64]sent
	bytes   int64  // of the open events
	next    uint64 // id of the next event
	oldest  uint64 // no smaller id is open
	timer   *time.Timer
	starved bool // somebody found the window full
	closed  bool
}

// sent is an event that awaits its reply.
type sent struct {
	ev       Event
	deadline time.Time
	done     func(error) // of the breaker
}

func newOutbox(l *lane, breaker *gobreaker.TwoStepCircuitBreaker[struct{}], conn Streamer) *outbox {
	o := &outbox{lane: l, breaker: breaker, conn: conn, open: make(map[uint64]sent), next: 1, oldest: 1}
	conn.Replies(o.replied)
	return o
}

// postResult is what became of an attempt to post.
type postResult uint8

const (
	posted      postResult = iota
	notPostable            // the link takes no posts, or its breaker is open
	windowFull
	linkGone
)

// post sends an event over a link that is a stream, if that can be done at
// once. From then on the outbox settles it.
func (l *lane) post(lk *link, ev *Event) postResult {
	if lk == nil || lk.outbox == nil || hooks[ev.Hook].kind == lifecycle || l.ctx.Err() != nil {
		return notPostable
	}
	return lk.outbox.post(ev)
}

func (o *outbox) post(ev *Event) postResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return linkGone
	case len(o.open) >= outboxWindow, len(o.open) > 0 && o.bytes+cost(ev) > outboxBytes:
		o.starved = true
		return windowFull
	}
	done, err := o.breaker.Allow()
	if err != nil {
		return notPostable
	}
	timeout := o.lane.p.spec.Timeout
	if err := o.conn.Post(o.next, ev.Hook, ev.client, ev.Body, timeout); err != nil {
		done(errNotItsFault)
		return linkGone
	}
	o.lane.workers.Add(1)
	o.open[o.next] = sent{*ev, time.Now().Add(timeout), done}
	o.bytes += cost(ev)
	o.next++
	if o.timer == nil {
		o.timer = time.AfterFunc(timeout, o.expire)
	}
	return posted
}

// replied takes the provider's reply to an event.
func (o *outbox) replied(id uint64, err error) {
	o.mu.Lock()
	s, ok := o.open[id]
	starved := ok && o.remove(id, &s)
	for o.oldest < o.next { // keeps expire short
		if _, open := o.open[o.oldest]; open {
			break
		}
		o.oldest++
	}
	o.mu.Unlock()
	if !ok {
		o.lane.p.stats.Late.Add(1)
		return
	}
	if starved {
		o.room.broadcast()
	}
	if err == nil {
		s.done(nil)
		o.settle(&s, ReasonNone, nil)
		return
	}
	f := classify(context.Background(), err)
	if errors.Is(err, ErrAnswered) {
		s.done(errNotItsFault)
	} else {
		s.done(err)
	}
	o.settle(&s, f.reason, f.err)
}

// remove takes out an open event, with o.mu held, and reports whether somebody
// waits for the room.
func (o *outbox) remove(id uint64, s *sent) (starved bool) {
	delete(o.open, id)
	o.bytes -= cost(&s.ev)
	starved, o.starved = o.starved, false
	return starved
}

func (o *outbox) settle(s *sent, r Reason, err error) {
	o.lane.settle(&s.ev, r, err)
	o.lane.workers.Done()
}

// expire gives up the events whose time is over. All have the same timeout, so
// that the oldest expires first.
func (o *outbox) expire() {
	now := time.Now()
	var late []sent
	o.mu.Lock()
	for ; o.oldest < o.next; o.oldest++ {
		s, ok := o.open[o.oldest]
		if !ok {
			continue // replied to out of turn
		}
		if s.deadline.After(now) {
			break
		}
		late = append(late, s)
		o.remove(o.oldest, &s)
	}
	switch {
	case o.closed:
	case o.oldest == o.next:
		o.timer = nil
	default:
		o.timer.Reset(o.open[o.oldest].deadline.Sub(now))
	}
	o.mu.Unlock()
	if len(late) > 0 {
		o.room.broadcast()
	}
	for i := range late {
		late[i].done(context.DeadlineExceeded)
		o.settle(&late[i], ReasonTimeout, context.DeadlineExceeded)
	}
}

// close gives up all that is open, for the reason r, and takes nothing more.
func (o *outbox) close(r Reason, err error) {
	o.mu.Lock()
	open := o.open
	o.open, o.closed = nil, true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	for id := range open {
		s := open[id]
		s.done(errNotItsFault)
		o.settle(&s, r, err)
	}
}
