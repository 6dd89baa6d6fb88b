package mux

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// laneShards is in how many groups a lane's clients fall. Events of one client
// share a shard, which keeps their order; a Conn that is no Streamer has one event
// of each shard under way at a time.
const laneShards = 16

// eventOverhead is what a waiting event costs besides its body, roughly: its
// place in a queue that may be half empty, and in the outbox.
const eventOverhead = 256

// lane holds one provider's notifications until they are handled: bounded in
// events and bytes, in order per client. While the provider is down or its
// breaker is open they wait; an event whose delivery failed is not tried again,
// since it may have been handled, or may be what kills the provider.
type lane struct {
	p      *running
	events atomic.Int64
	bytes  atomic.Int64
	room   notifier // tells when an event has left, for the overflow policy block

	held    atomic.Int64 // of events, those that are in a shard's held
	emptied notifier     // tells, while the provider is held, when an event has left or is held

	seed    maphash.Seed
	shards  [laneShards]shard
	workers sync.WaitGroup
	ctx     context.Context // ends when close has waited long enough
	stop    context.CancelFunc
}

type shard struct {
	mu      sync.Mutex
	queue   []Event
	head    int  // queue[:head] has been taken
	running bool // a goroutine drains the shard
	closed  bool
	holding bool    // new events go to held; see Provider.Hold
	held    []Event // in order, behind the queue
}

func newLane(p *running) *lane {
	l := &lane{p: p, seed: maphash.MakeSeed()}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

func (l *lane) waiting() (events, bytes int64) { return l.events.Load(), l.bytes.Load() }

func cost(ev *Event) int64 { return int64(len(ev.Body)) + eventOverhead }

// push takes the event or drops it. Only the overflow policy block waits, at
// most until ctx ends.
func (l *lane) push(ctx context.Context, ev *Event) {
	if hooks[ev.Hook].kind != lifecycle {
		l.p.stats.Sent.Add(1)
	}
	i := l.shard(ev)
	s := &l.shards[i]
	if r := l.reserve(ctx, ev, s); r != ReasonNone {
		l.drop(ev, r, nil)
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.drop(ev, ReasonShutdown, nil)
		l.release(ev)
		return
	}
	if s.holding && hooks[ev.Hook].kind != lifecycle { // whoever starts is told anew which brokers there are
		l.hold(s, ev)
		s.mu.Unlock()
		return
	}
	// An idle shard's event may go straight out: nothing is ahead of it.
	if !s.running && l.post(l.p.current().link.Load(), ev, i) == posted {
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, *ev)
	start := !s.running
	if start {
		s.running = true
		l.workers.Add(1)
	}
	s.mu.Unlock()
	if start {
		go l.drain(i)
	}
}

// busy says whether events of ev's client wait or are under way.
func (l *lane) busy(ev *Event) bool {
	if l.events.Load() == 0 {
		return false
	}
	i := l.shard(ev)
	s := &l.shards[i]
	s.mu.Lock()
	waiting := s.running || s.head < len(s.queue) || len(s.held) > 0
	s.mu.Unlock()
	lk := l.p.current().link.Load()
	return waiting || l.p.holdsBack(i) != nil || lk != nil && lk.outbox != nil && lk.outbox.awaitShard(i) != nil
}

func (l *lane) shard(ev *Event) int { return int(maphash.Bytes(l.seed, ev.client) % laneShards) }

// reserve makes room for the event as the overflow policy says.
func (l *lane) reserve(ctx context.Context, ev *Event, s *shard) Reason {
	for {
		bounds := &l.p.current().spec.Lane
		if cost(ev) > bounds.Bytes {
			return ReasonLaneFull
		}
		var wait <-chan struct{}
		if bounds.Overflow == Block {
			wait = l.room.wait() // before the attempt, so that no change is missed
		}
		if l.events.Add(1) <= int64(bounds.Events) {
			if l.bytes.Add(cost(ev)) <= bounds.Bytes {
				return ReasonNone
			}
			l.bytes.Add(-cost(ev))
		}
		l.events.Add(-1)
		switch bounds.Overflow {
		case DropOldest:
			if !l.dropOldest(s) {
				return ReasonLaneFull
			}
		case Block:
			select {
			case <-wait:
			case <-ctx.Done():
				return ReasonLaneFull
			case <-l.ctx.Done():
				return ReasonShutdown
			}
		default:
			return ReasonLaneFull
		}
	}
}

// dropOldest drops the longest waiting event of the new one's shard, or of
// the next shard that has one.
func (l *lane) dropOldest(from *shard) bool {
	ev, ok := from.pop()
	for i := 0; !ok && i < laneShards; i++ {
		ev, ok = l.shards[i].pop()
	}
	if !ok {
		ev, ok = l.popHeld(from)
	}
	for i := 0; !ok && i < laneShards; i++ {
		ev, ok = l.popHeld(&l.shards[i])
	}
	if ok {
		l.drop(&ev, ReasonLaneFull, nil)
		l.release(&ev)
	}
	return ok
}

func (l *lane) release(ev *Event) {
	l.bytes.Add(-cost(ev))
	l.events.Add(-1)
	if l.p.current().spec.Lane.Overflow == Block {
		l.room.broadcast()
	}
	if l.p.held.Load() {
		l.emptied.broadcast()
	}
}

func (s *shard) pop() (ev Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.popLocked()
}

func (s *shard) popLocked() (ev Event, ok bool) {
	if s.head == len(s.queue) {
		return ev, false
	}
	ev, s.queue[s.head] = s.queue[s.head], Event{} // so that the body can be freed
	s.head++
	switch {
	case s.head == len(s.queue):
		s.queue, s.head = s.queue[:0], 0
		if cap(s.queue) > 1024 {
			s.queue = nil
		}
	case s.head > 1024 && s.head > len(s.queue)/2:
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.head = s.queue[:n], 0
	}
	return ev, true
}

// drain delivers the shard's events one after another and ends when there are
// none left, so that idle lanes cost no goroutine.
func (l *lane) drain(i int) {
	defer l.workers.Done()
	s := &l.shards[i]
	for {
		s.mu.Lock()
		ev, ok := s.popLocked()
		if !ok {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		l.deliver(&ev, i)
	}
}

// windowRetry is how soon a full connection is tried again.
const windowRetry = 100 * time.Millisecond

// settle counts what became of an event and makes its room free.
func (l *lane) settle(ev *Event, reason Reason, err error) {
	if reason != ReasonNone {
		l.drop(ev, reason, err)
	} else {
		l.p.handled(ev)
	}
	l.release(ev) // last: an empty lane means that all is counted
}

// deliver hands the event to the provider, waiting for it to be up and for
// its breaker to let a call through, and settles it, or has the outbox do so.
func (l *lane) deliver(ev *Event, shard int) {
	for l.ctx.Err() == nil {
		p := l.p.current()
		lk := p.link.Load()
		if lk == nil && hooks[ev.Hook].kind == lifecycle {
			break // whoever starts is told anew which brokers there are
		}
		if told := l.p.pausedUntil(); told != nil {
			select {
			case <-told:
			case <-l.ctx.Done():
			}
			continue
		}
		if told := l.p.holdsBack(shard); told != nil {
			select {
			case <-told:
			case <-l.ctx.Done():
			}
			continue
		}
		var probe <-chan time.Time
		if lk != nil && lk.outbox != nil && hooks[ev.Hook].kind != lifecycle {
			room := lk.outbox.room.wait() // before the attempt, so that no change is missed
			switch l.post(lk, ev, shard) {
			case posted:
				return
			case windowFull:
				select {
				case <-room:
				case <-time.After(windowRetry): // the connection has room again without a reply
				case <-lk.gone:
				case <-l.ctx.Done():
				}
				continue
			case linkGone:
				l.awaitEnd(lk)
				continue
			default: // its breaker is open
				probe = time.After(l.probeAfter())
			}
		} else if lk != nil {
			lk.calls.enter()
			if l.p.current().link.Load() != lk || l.p.paused.Load() {
				lk.calls.leave() // replaced meanwhile, perhaps settled
				continue
			}
			reason, retry, err := p.notify(l.ctx, lk, ev)
			lk.calls.leave()
			switch {
			case l.ctx.Err() != nil && reason != ReasonNone:
				l.settle(ev, ReasonShutdown, nil)
				return
			case !retry:
				l.settle(ev, reason, err)
				return
			case reason == ReasonBreakerOpen:
				probe = time.After(l.probeAfter())
			default: // the connection is gone, which its host may not have said yet
				l.awaitEnd(lk)
				continue
			}
		}
		changed := l.p.linkUp.wait()
		if l.p.current().link.Load() != lk {
			continue // before wait, so that nobody would have told us
		}
		select {
		case <-changed:
		case <-probe:
		case <-l.ctx.Done():
		}
	}
	l.settle(ev, ReasonShutdown, nil)
}

// awaitEnd waits until lk is no longer the connection, which its host may not
// have said yet.
func (l *lane) awaitEnd(lk *link) {
	changed := l.p.linkUp.wait()
	if l.p.current().link.Load() != lk {
		return
	}
	select {
	case <-lk.gone:
	case <-changed:
	case <-l.ctx.Done():
	}
}

// probeAfter is the pause before an open breaker is asked again.
func (l *lane) probeAfter() time.Duration {
	return min(max(l.p.current().spec.Breaker.Open/10, time.Millisecond), time.Second)
}

// handled counts an event that the provider has handled.
func (r *running) handled(ev *Event) {
	if hooks[ev.Hook].kind != lifecycle {
		r.stats.Delivered.Add(1)
		r.told(ev, ReasonNone, nil)
	}
}

// drop counts a lost event and says so, at a bounded rate.
func (l *lane) drop(ev *Event, r Reason, err error) {
	if hooks[ev.Hook].kind == lifecycle {
		return
	}
	l.p.stats.Dropped[r].Add(1)
	l.p.told(ev, r, err)
	ok, held := l.p.failLog[r].allow()
	if !ok {
		return
	}
	attrs := []any{"hook", ev.Hook.String(), "client", ev.Client(), "reason", r.String()}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	if held > 0 {
		attrs = append(attrs, "more_like_it", held)
	}
	what := "notification lost"
	if r == ReasonDeadLetter {
		what = "event not handled: it is a dead letter now (hookmux spool)"
	}
	l.p.log.Log(context.Background(), slog.LevelWarn, what, attrs...)
}

// close takes no more events, delivers the waiting ones until ctx ends, and
// drops the rest.
func (l *lane) close(ctx context.Context) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
	l.dropHeld()
	done := make(chan struct{})
	go func() { l.workers.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	l.stop()
	links := l.p.retiringLinks()
	if lk := l.p.current().link.Load(); lk != nil {
		links = append(links, lk.Link)
	}
	for _, lk := range links {
		if lk.outbox != nil {
			lk.outbox.close(ReasonShutdown, nil)
		}
	}
	<-done
}
