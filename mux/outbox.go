package mux

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"sync"
	"time"
)

// Bounds on the notifications that are on their way to one provider: sent, and
// not replied to. It is what a crash may cost and what exists twice in memory,
// and far more than what keeps a stream busy. One event may always go. Each of the
// lane's shards has its share, so that one slow client leaves the others theirs.
const (
	outboxShare = 32 // events of one shard
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
	open    [laneShards * outboxShare]sent // by place, in the order of the shares
	shares  [laneShards]share
	events  int    // that are open
	bytes   int64  // of the open events
	posts   uint64 // so far
	timer   *time.Timer
	starved bool // somebody found the window full
	retired bool // another link has taken over
	closed  bool
}

// share is what is open of one of the lane's shards.
type share struct {
	taken    uint32    // the places of open, as bits
	progress time.Time // of the last reply, or of the first event since there were none
}

// sent is an event that awaits its reply. Its id says how many there were before it,
// and its place: that makes it unique, and found without a search.
type sent struct {
	id   uint64 // 0: the place is free
	ev   Event
	done func(error) // of the breaker
}

const places = laneShards * outboxShare

// oldest is the event of a shard that was sent before all others that are open, nil
// if there is none.
func (o *outbox) oldest(shard int) (first *sent) {
	for i := range outboxShare {
		s := &o.open[shard*outboxShare+i]
		if s.id != 0 && (first == nil || s.id < first.id) {
			first = s
		}
	}
	return first
}

func newOutbox(l *lane, conn Streamer) *outbox {
	return &outbox{lane: l, conn: conn, empty: make(chan struct{})}
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
	case o.lane.p.paused.Load(), s.taken == math.MaxUint32, o.events > 0 && o.bytes+cost(ev) > outboxBytes:
		o.starved = true
		return windowFull
	}
	done, err := lk.notify.Allow()
	if err != nil {
		return notPostable
	}
	timeout := o.lane.p.current().spec.Timeout
	bit := bits.TrailingZeros32(^s.taken)
	place := shard*outboxShare + bit
	id := ((o.posts+1)*places + uint64(place)) << 1
	if err := o.conn.Post(id, ev.Hook, ev.client, ev.redacted(ev.Body, lk.hide[ev.Hook]), "", timeout); err != nil {
		done(errNotItsFault)
		if errors.Is(err, ErrNoRoom) {
			return windowFull
		}
		return linkGone
	}
	o.lane.workers.Add(1)
	o.open[place] = sent{id, *ev, done}
	o.lane.p.sending(&o.open[place].ev)
	o.posts++
	o.events++
	o.bytes += cost(ev)
	if s.taken == 0 {
		s.progress = time.Now()
	}
	s.taken |= 1 << bit
	if o.timer == nil {
		o.timer = time.AfterFunc(timeout, o.expire)
	}
	return posted
}

// replied takes the provider's reply to an event.
func (o *outbox) replied(id uint64, err error) {
	o.mu.Lock()
	place := &o.open[id>>1%places]
	if id == 0 || place.id != id {
		o.mu.Unlock()
		o.lane.p.stats.Late.Add(1)
		return
	}
	s, starved := o.remove(place)
	o.mu.Unlock()
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

// remove takes an open event out of its place, with o.mu held, and reports
// whether somebody waits for the room.
func (o *outbox) remove(place *sent) (s sent, starved bool) {
	s, *place = *place, sent{}
	o.events--
	o.bytes -= cost(&s.ev)
	at := s.id >> 1 % places
	sh := &o.shares[at/outboxShare]
	sh.taken &^= 1 << (at % outboxShare)
	sh.progress = time.Now()
	starved, o.starved = o.starved || o.retired && sh.taken == 0, false
	if o.retired && o.events == 0 {
		o.end()
	}
	return s, starved
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
		if sh.taken != 0 && now.Sub(sh.progress) >= timeout {
			s, _ := o.remove(o.oldest(i))
			o.conn.Cancel(s.id)
			late = append(late, s)
		}
		if left := timeout - now.Sub(sh.progress); sh.taken != 0 && (again < 0 || left < again) {
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
	var open []sent
	for i := range o.open {
		if o.open[i].id != 0 {
			open = append(open, o.open[i])
		}
	}
	clear(o.open[:])
	o.shares, o.events, o.bytes, o.closed = [laneShards]share{}, 0, 0, true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	for i := range open {
		open[i].done(errNotItsFault)
		o.settle(&open[i], r, err)
	}
	o.room.broadcast()
}

// retire has the outbox end once nothing is open any more.
func (o *outbox) retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retired = true
	if o.events == 0 && !o.closed {
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
	if o.shares[shard].taken == 0 {
		return nil
	}
	o.starved = true
	return o.room.wait()
}
