package mux

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on what is in memory of a provider's stored events. All of it is in the
// store, too, so none of it is a loss.
const (
	durableWindow   = 512 // events on their way at a time, over a stream
	durableCalls    = 64  // and over a Conn that has none
	durableBytes    = 4 << 20
	durableLoaded   = 4096 // events read ahead
	durableLoadedBy = 32 << 20
	durableEach     = 16      // of one client, once there is no room
	durableKnown    = 1 << 20 // events read ahead of which only the place is kept
)

// durable delivers what a provider's Queue has: each event at least once, and those of
// one client one after another, the next only when the one before is handled. An event
// that the provider does not handle holds up its own client alone.
//
// It reads the Queue in its order and sorts what it reads by client (backlog). One
// goroutine (pump) sends the first event of each client that has one, as far as the
// window allows; the reply makes way for the next.
type durable struct {
	p     *running
	queue Queue
	seed  maphash.Seed

	ctx        context.Context // ends with close
	stop       context.CancelFunc
	goroutines sync.WaitGroup
	closeQueue func()        // once
	wake       chan struct{} // buffered: pump may find something to do
	room       chan struct{} // buffered: read may go on

	known atomic.Int64 // events that were read and are not settled

	mu       sync.Mutex
	closing  bool // nothing more is sent
	backlogs map[string]*backlog
	ready    fifo // those whose first event can be sent
	fetched  fifo // the same, and it was loaded for that
	loading  int
	suspects fifo // the same, but for one at a time
	alone    bool // a suspect is under way
	// othersUntil is when the next suspect may be tried: the others have as much time as one took,
	// or after a crash with many under way everybody would wait for all of them.
	othersUntil time.Time
	away        []*backlog // whose first event waits for what the provider needs
	backAt      time.Time  // when they last were tried at once
	loaded      int        // events that were read, and are in memory
	loadedBytes int64
	flights     map[uint64]*flight
	flightBytes int64
	sent        uint64 // so far; numbers the flights
	shards      [laneShards]durableShard
}

func newDurable(p *running, q Queue) *durable {
	d := &durable{
		p: p, queue: q, seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		backlogs: make(map[string]*backlog), flights: make(map[uint64]*flight),
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.closeQueue = sync.OnceFunc(q.Close)
	d.goroutines.Go(d.read)
	d.goroutines.Go(d.pump)
	d.goroutines.Go(d.tick)
	return d
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// spawn runs f, unless d has been closed.
func (d *durable) spawn(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.goroutines.Go(f)
	}
}

func (d *durable) shard(client string) int { return int(maphash.String(d.seed, client) % laneShards) }

// store keeps an event of a broker that waits for that.
func (p *Provider) store(ctx context.Context, ev *Event) failure {
	d := p.durable.Load()
	if d == nil {
		return failure{ReasonStoreFailed, errors.New("hookmux has no store for it")}
	}
	at := time.Now()
	if ev.told != 0 {
		at = ev.Told() // by which a Recorder knows the event again
	}
	err := d.queue.Store(ctx, &Stored{Hook: ev.Hook, Time: at, Body: ev.Body})
	switch {
	case err == nil:
		return failure{}
	case errors.Is(err, ErrStoreFull):
		return failure{ReasonStoreFull, err}
	case ctx.Err() != nil:
		return failure{ReasonStoreFailed, fmt.Errorf("it was not stored in time: %w", err)}
	default:
		return failure{ReasonStoreFailed, err}
	}
}

// storeNotification is store, and counts the loss when it fails.
func (p *Provider) storeNotification(ctx context.Context, ev *Event) {
	if f := p.store(ctx, ev); f.reason != ReasonNone {
		p.lose(ev, f.reason, f.err)
	}
}

// read takes what is stored into the backlogs, as far as there is memory for it.
func (d *durable) read() {
	var since time.Time // when few events could be read for want of memory
	events := 0         // that were read since then
	for {
		e, err := d.queue.Next()
		if err != nil {
			return
		}
		d.add(e)
		events++
		for d.full() {
			if left := stalled - time.Since(since); left > 0 && events < durableLoaded/4 {
				select {
				case <-d.room:
				case <-time.After(left):
				case <-d.ctx.Done():
					return
				}
				continue
			}
			if events < durableLoaded/4 {
				d.makeRoom()
			}
			since, events = time.Now(), 0
		}
	}
}

func (d *durable) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loaded >= durableLoaded || d.loadedBytes >= durableLoadedBy || d.known.Load() >= durableKnown
}

// stalled is for how long there may be no memory for what is stored, until makeRoom.
const stalled = time.Second

// makeRoom keeps only the places of what is far behind in its client's backlog: a client whose events
// take long would otherwise fill the memory, and hold up all that was stored after its own.
func (d *durable) makeRoom() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.loaded < durableLoaded && d.loadedBytes < durableLoadedBy {
		return
	}
	for _, b := range d.backlogs {
		if len(b.events) > durableEach {
			b.long = true
			for i := durableEach; i < len(b.events); i++ {
				d.forget(&b.events[i])
			}
		}
	}
}

func (d *durable) add(e *Stored) {
	d.p.stats.Sent.Add(1)
	d.known.Add(1)
	client := NewEvent(e.Hook, e.Body).client
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.backlogs[string(client)]
	if b == nil {
		b = &backlog{client: string(client)}
		d.backlogs[b.client] = b
	}
	w := waiting{seq: e.Seq, hook: e.Hook, at: e.Time}
	if !b.parked && !b.long {
		w.stored = e
		d.loaded++
		d.loadedBytes += e.cost()
	}
	b.events = append(b.events, w)
	if b.state == backlogEmpty {
		d.makeReady(b)
	}
}

func (e *Stored) cost() int64 { return int64(len(e.Body)) + eventOverhead }

// event is a stored event as the engine has it.
func (e *Stored) event() Event {
	ev := NewEvent(e.Hook, e.Body)
	ev.told, ev.sent = e.Time.Sub(epoch), e.sent
	return ev
}

// handled settles the first event of b, which the provider has handled.
func (d *durable) handled(b *backlog, e *Stored) {
	d.queue.Done(e.Seq)
	ev := e.event()
	d.p.handled(&ev)
	d.mu.Lock()
	defer d.mu.Unlock()
	wasAway := b.away > 0
	d.settle(b)
	if wasAway {
		d.back(time.Now())
	}
}

// unavailable takes that what the provider needs for the first event of b is away. It is tried again
// later, and that as often as need be: an outage makes no dead letters.
func (d *durable) unavailable(b *backlog, e *Stored, err error) {
	d.mu.Lock()
	b.away++
	d.park(b)
	d.pause(b, backoff(b.away))
	if !b.inAway {
		b.inAway = true
		d.away = append(d.away, b)
	}
	d.mu.Unlock()
	d.sayFailed(e, failure{ReasonError, err}, 0)
}

// anew has all tried again at once: the provider has a new connection, and perhaps another
// config, or a process that finds what it needs.
func (d *durable) anew() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backAt = time.Time{}
	d.back(time.Now())
}

// back has all tried again at once that wait for what the provider needs, since one of
// them was handled; with d.mu held. It may be another thing that is back, so this is not done
// for each that is.
func (d *durable) back(now time.Time) {
	if now.Sub(d.backAt) < time.Second {
		return
	}
	d.backAt = now
	for _, b := range d.away {
		b.inAway = false
		if b.away > 0 && b.state == backlogPaused {
			b.timer.Stop()
			d.makeReady(b)
		}
	}
	clear(d.away)
	d.away = d.away[:0]
}

// lose settles the first event of b, which is gone for the reason r. e is nil when
// all that is known of it is w.
func (d *durable) lose(b *backlog, w waiting, e *Stored, r Reason, err error) {
	ev := Event{Hook: w.hook, client: []byte(b.client), told: w.at.Sub(epoch)}
	if e != nil {
		ev = e.event()
	}
	d.p.lane.drop(&ev, r, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle(b)
}

// failed takes that the provider did not handle the first event of b. It is tried
// again later, or buried.
func (d *durable) failed(b *backlog, e *Stored, f failure) {
	spec := d.p.current().spec.Durable
	d.mu.Lock()
	b.tries++
	b.away = 0
	tries := b.tries
	d.park(b)
	if tries >= spec.Tries {
		b.death = &Death{Tries: tries, Error: f.err.Error()}
		d.mu.Unlock()
		d.bury(b, e)
		return
	}
	d.pause(b, backoff(tries))
	d.mu.Unlock()
	d.sayFailed(e, f, tries)
}

// sayFailed logs a failed try, at a bounded rate.
func (d *durable) sayFailed(e *Stored, f failure, tries int) {
	d.p.failure.Store(&Failure{time.Now(), f.err.Error()})
	ok, held := d.p.retryLog.allow()
	if !ok {
		return
	}
	ev := e.event()
	msg := "durable event not handled: its client's later events wait, it is tried again"
	attrs := []any{"hook", e.Hook.String(), "client", ev.Client(), "event_id", e.ID, "reason", f.reason.String(), "error", f.err}
	if tries > 0 {
		attrs = append(attrs, "tries", tries)
	} else {
		msg = "durable event not handled, what the provider needs for it is away: its client's later events wait, it is tried again and again"
	}
	if held > 0 {
		attrs = append(attrs, "more_like_it", held)
	}
	d.p.log.Warn(msg, attrs...)
}

// pause has b wait, with d.mu held.
func (d *durable) pause(b *backlog, pause time.Duration) {
	b.state = backlogPaused
	b.timer = time.AfterFunc(pause, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if b.state == backlogPaused && !d.closing {
			d.makeReady(b)
		}
	})
}

// bury moves the first event of b, which is busy, to the dead letters.
func (d *durable) bury(b *backlog, e *Stored) {
	d.spawn(func() {
		err := d.queue.Bury(d.ctx, e, *b.death)
		if err == nil {
			d.lose(b, waiting{}, e, ReasonDeadLetter, fmt.Errorf("after %d tries: %s", b.death.Tries, b.death.Error))
			return
		}
		if d.ctx.Err() != nil {
			return
		}
		d.p.log.Error("a dead letter could not be stored: its client's events wait", "event_id", e.ID, "error", err)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pause(b, maxBackoff) // pump sees that it is dead
	})
}

// load reads the first event of b, which is busy, from the store.
func (d *durable) load(b *backlog) {
	d.mu.Lock()
	w := b.events[0]
	d.loading++
	d.mu.Unlock()
	d.spawn(func() {
		e, err := d.queue.Load(d.ctx, w.seq)
		d.mu.Lock()
		d.loading--
		d.mu.Unlock()
		signal(d.wake) // another may be loaded, also when this one is gone
		switch {
		case err == nil:
			d.mu.Lock()
			defer d.mu.Unlock()
			b.events[0].stored, b.fetched = e, true
			d.loaded++
			d.loadedBytes += e.cost()
			d.makeReady(b)
		case errors.Is(err, ErrNotStored):
			d.queue.Done(w.seq)
			d.lose(b, w, nil, ReasonStoreFailed, err)
		case d.ctx.Err() == nil:
			d.p.log.Warn("a stored event cannot be read: trying again", "error", err)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.pause(b, time.Second)
		}
	})
}

// durableTick is how often events are looked at that have waited too long for their
// replies, and expireTicks, in ticks, for their first try.
const (
	durableTick = 100 * time.Millisecond
	expireTicks = 50
)

// tick gives up events whose time is over.
func (d *durable) tick() {
	t := time.NewTicker(durableTick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-t.C:
		case <-d.ctx.Done():
			return
		}
		d.expireFlights(time.Now())
		if age := d.p.current().spec.Durable.Age; age > 0 && n%expireTicks == 0 {
			d.expireOld(time.Now().Add(-age))
		}
	}
}

// expireOld drops what was told before the time given, and is not under way.
func (d *durable) expireOld(before time.Time) {
	type old struct {
		b *backlog
		w waiting
	}
	for {
		var gone []old
		d.mu.Lock()
		for _, b := range d.backlogs {
			if b.state == backlogPaused && b.death == nil && b.events[0].at.Before(before) {
				b.timer.Stop()
				b.state = backlogBusy
				gone = append(gone, old{b, b.events[0]})
			}
		}
		if !d.p.current().IsUp() { // else pump sees for itself
			for _, f := range []*fifo{&d.ready, &d.suspects} {
				for range f.len() {
					b := f.pop()
					if !b.events[0].at.Before(before) {
						f.push(b)
						continue
					}
					b.state = backlogBusy
					gone = append(gone, old{b, b.events[0]})
				}
			}
		}
		d.mu.Unlock()
		if len(gone) == 0 {
			return
		}
		for _, o := range gone {
			d.expired(o.b, o.w)
		}
	}
}

// expired settles the first event of b, which is busy and too old.
func (d *durable) expired(b *backlog, w waiting) {
	d.queue.Done(w.seq)
	d.lose(b, w, w.stored, ReasonExpired, fmt.Errorf("told %s ago", time.Since(w.at).Round(time.Second)))
}

// close sends nothing more, waits for what is under way until ctx ends, and ends the
// goroutines. What is stored stays stored.
func (d *durable) close(ctx context.Context) {
	d.mu.Lock()
	d.closing = true
	d.mu.Unlock()
	signal(d.wake)
	for ctx.Err() == nil {
		changed := d.p.lane.emptied.wait() // before the look, so that no change is missed
		if d.flying() == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	d.stop() // with mu, so that nothing is spawned while we wait
	d.mu.Unlock()
	d.closeQueue()
	d.goroutines.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.backlogs {
		if b.timer != nil {
			b.timer.Stop()
		}
	}
}

// flying is how many events are under way.
func (d *durable) flying() int {
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.flights)
}
