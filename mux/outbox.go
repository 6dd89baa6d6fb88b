package mux

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds on the notifications that are on their way to one provider: sent, and
// not replied to. It is what a crash may cost and what exists twice in memory,
// and far more than what keeps a stream busy. One event may always go. Each of the
// lane's shards has its share, so that one slow client leaves the others theirs.
const (
	outboxShare = 16 // events of one shard
	outboxBytes = 4 << 20
)

// outbox is the notifications that are on their way over one link. A provider
// handles a shard's events more or less one after another, so they are given up
// one after another, too: the oldest, when there was no reply to any of the shard
// for as long as one may take.
type outbox struct {
	lane  *lane
	conn  Streamer
	room  notifier      // tells when the window has room again
	empty chan struct{} // closed when the outbox is retired and nothing is open

	mu      sync.Mutex
	open    map[uint64]sent
	shares  [laneShards]share
	bytes   int64  // of the open events
	next    uint64 // id of the next event
	timer   *time.Timer
	starved bool // somebody found the window full
	retired bool // another link has taken over
	closed  bool
}

// share is what is open of one of the lane's shards.
type share struct {
	ids      []uint64  // oldest first; also of events that are no longer open
	open     int       // how many are
	progress time.Time // of the last reply, or of the first event since there were none
}

// sent is an event that awaits its reply.
type sent struct {
	ev    Event
	shard int
	done  func(error) // of the breaker
}

func newOutbox(l *lane, conn Streamer) *outbox {
	o := &outbox{lane: l, conn: conn, empty: make(chan struct{}), open: make(map[uint64]sent), next: 1}
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
func (l *lane) post(lk *link, ev *Event, shard int) postResult {
	if lk == nil || lk.outbox == nil || hooks[ev.Hook].kind == lifecycle || l.ctx.Err() != nil {
		return notPostable
	}
	if l.p.holdsBack(shard) != nil {
		return windowFull
	}
	return lk.outbox.post(lk, ev, shard)
}

func (o *outbox) post(lk *link, ev *Event, shard int) postResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.shares[shard]
	switch {
	case o.closed:
		return linkGone
	case s.open >= outboxShare, len(o.open) > 0 && o.bytes+cost(ev) > outboxBytes:
		o.starved = true
		return windowFull
	}
	done, err := lk.notify.Allow()
	if err != nil {
		return notPostable
	}
	timeout := o.lane.p.current().spec.Timeout
	if err := o.conn.Post(o.next, ev.Hook, ev.client, ev.redacted(ev.Body, lk.hide[ev.Hook]), timeout); err != nil {
		done(errNotItsFault)
		if errors.Is(err, ErrNoRoom) {
			return windowFull
		}
		return linkGone
	}
	o.lane.workers.Add(1)
	o.open[o.next] = sent{*ev, shard, done}
	o.bytes += cost(ev)
	if s.open == 0 {
		s.ids, s.progress = s.ids[:0], time.Now()
	}
	s.open++
	s.ids = append(s.ids, o.next)
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
	sh := &o.shares[s.shard]
	sh.open--
	sh.progress = time.Now()
	for len(sh.ids) > 0 { // the oldest open one comes first
		if _, open := o.open[sh.ids[0]]; open {
			break
		}
		sh.ids = sh.ids[1:]
	}
	starved, o.starved = o.starved || o.retired && sh.open == 0, false
	if o.retired && len(o.open) == 0 {
		o.end()
	}
	return starved
}

func (o *outbox) settle(s *sent, r Reason, err error) {
	o.lane.settle(&s.ev, r, err)
	o.lane.workers.Done()
}

// expire gives up the oldest event of each shard that has made no progress.
func (o *outbox) expire() {
	timeout := o.lane.p.current().spec.Timeout
	now := time.Now()
	again := time.Duration(-1)
	var late []sent
	o.mu.Lock()
	for i := range o.shares {
		sh := &o.shares[i]
		if sh.open > 0 && now.Sub(sh.progress) >= timeout {
			id := sh.ids[0]
			s := o.open[id]
			o.remove(id, &s)
			o.conn.Cancel(id)
			late = append(late, s)
		}
		if left := timeout - now.Sub(sh.progress); sh.open > 0 && (again < 0 || left < again) {
			again = left
		}
	}
	switch {
	case o.closed:
	case again < 0:
		o.timer = nil
	default:
		o.timer.Reset(again)
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
	o.open, o.shares, o.closed = nil, [laneShards]share{}, true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	for id := range open {
		s := open[id]
		s.done(errNotItsFault)
		o.settle(&s, r, err)
	}
	o.room.broadcast()
}

// retire has the outbox end once nothing is open any more.
func (o *outbox) retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retired = true
	if len(o.open) == 0 && !o.closed {
		o.end()
	}
}

func (o *outbox) end() {
	if !o.closed {
		o.closed = true
		close(o.empty)
	}
}

// awaitShard is a channel that is closed when something of the shard may have
// been settled; nil when nothing is open.
func (o *outbox) awaitShard(shard int) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shares[shard].open == 0 {
		return nil
	}
	o.starved = true
	return o.room.wait()
}
