package mux

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// flight is a stored event on its way to the provider.
type flight struct {
	id    uint64
	b     *backlog
	e     *Stored
	lk    *link
	done  func(error) // of the breaker
	alone bool        // nothing else was under way
	since time.Time
	// landed says that it is settled. Of those that are not, the oldest of a shard has
	// its time measured; see expireFlights.
	landed bool
}

// durableShard is the flights over a stream of some of the clients, oldest first.
type durableShard struct {
	flights []*flight
	since   time.Time // when the first of them became the first
}

// A Streamer's ids are those of the outbox, which are even, and of flights.
func durableID(n uint64) uint64 { return n<<1 | 1 }

// pump sends the first event of each client.
func (d *durable) pump() {
	var last *Link
	for d.ctx.Err() == nil {
		lk := d.awaitLink()
		if lk == nil {
			return
		}
		if lk.Link != last {
			last = lk.Link
			d.anew()
		}
		b, w, death := d.take(lk)
		switch {
		case b == nil:
			changed := d.p.linkUp.wait()
			if d.p.current().link.Load() != lk {
				continue
			}
			select {
			case <-d.wake:
			case <-changed:
			case <-d.ctx.Done():
			}
		case w.stored == nil:
			d.load(b)
		case death:
			d.bury(b, w.stored)
		case d.tooOld(w):
			d.expired(b, w)
		default:
			d.send(lk, b, w.stored)
		}
	}
}

// awaitLink is the provider's connection, once it has one; nil when d ends.
func (d *durable) awaitLink() *link {
	for {
		changed := d.p.linkUp.wait()
		if lk := d.p.current().link.Load(); lk != nil {
			return lk
		}
		select {
		case <-changed:
		case <-d.ctx.Done():
			return nil
		}
	}
}

// take is a client whose first event is to be sent next, which makes it busy; nil if
// there is none, or no room.
func (d *durable) take(lk *link) (b *backlog, first waiting, death bool) {
	window := durableWindow
	if lk.outbox == nil {
		window = durableCalls
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	from := &d.ready
	if d.fetched.len() > 0 {
		from = &d.fetched
	}
	switch {
	case d.closing, d.alone, d.p.held.Load():
		return nil, first, false
	case d.suspects.len() > 0 && (from.len() == 0 || !time.Now().Before(d.othersUntil)):
		if len(d.flights) > 0 {
			return nil, first, false
		}
		b = d.suspects.pop()
	case from.len() == 0, len(d.flights) >= window:
		return nil, first, false
	default:
		next := from.front().events[0].stored
		switch {
		case next == nil && (d.loading+len(d.flights) >= window || d.loading > 0 && d.loadedBytes >= 2*durableLoadedBy):
			return nil, first, false
		case next != nil && len(d.flights) > 0 && d.flightBytes+next.cost() > durableBytes:
			return nil, first, false
		}
		b = from.pop()
	}
	b.state = backlogBusy
	return b, b.events[0], b.death != nil
}

func (d *durable) tooOld(w waiting) bool {
	age := d.p.current().spec.Durable.Age
	return age > 0 && time.Since(w.at) > age
}

// again has the first event of b, which the provider has not seen, sent once more.
func (d *durable) again(b *backlog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.makeReady(b)
}

// send sends the first event of b, which is busy, over lk.
func (d *durable) send(lk *link, b *backlog, e *Stored) {
	lk.calls.enter()
	p := d.p.current()
	if p.link.Load() != lk {
		lk.calls.leave() // replaced meanwhile, perhaps settled
		d.again(b)
		return
	}
	done, err := lk.notify.Allow()
	if err != nil {
		lk.calls.leave()
		d.again(b)
		d.awaitBreaker(lk)
		return
	}
	ev := e.event()
	d.p.sending(&ev)
	e.sent = ev.sent
	d.mu.Lock()
	select {
	case <-lk.gone: // linkDown has been here, and would not see it
		d.makeReady(b)
		d.mu.Unlock()
		done(errNotItsFault)
		lk.calls.leave()
		return
	default:
	}
	d.sent++
	f := &flight{id: durableID(d.sent), b: b, e: e, lk: lk, done: done, alone: b.suspect, since: time.Now()}
	d.alone = f.alone
	d.flights[f.id] = f
	d.flightBytes += e.cost()
	if lk.outbox != nil {
		s := &d.shards[d.shard(b.client)]
		if len(s.flights) == 0 {
			s.since = time.Now()
		}
		s.flights = append(s.flights, f)
	}
	d.mu.Unlock()

	req := ev.redacted(ev.Body, lk.hide[ev.Hook])
	if lk.outbox == nil {
		d.spawn(func() { d.call(f, p, req) })
		return
	}
	err = lk.outbox.conn.Post(f.id, e.Hook, ev.client, req, e.ID, p.spec.Timeout)
	if err == nil || !d.takeOff(f) {
		return // or the link is gone meanwhile, which has settled it
	}
	done(errNotItsFault)
	d.again(b)
	if errors.Is(err, ErrNoRoom) {
		select { // not d.wake: what has just been given back is no reason to try at once
		case <-time.After(windowRetry):
		case <-lk.gone:
		case <-d.ctx.Done():
		}
		return
	}
	d.awaitEnd(lk)
}

// call delivers an event over a Conn that is no stream.
func (d *durable) call(f *flight, p *Provider, req []byte) {
	ctx, cancel := context.WithTimeout(withEventID(d.ctx, f.e.ID), p.spec.Timeout)
	defer cancel()
	_, err := f.lk.call(ctx, func(ctx context.Context) ([]byte, error) { return nil, f.lk.conn.Notify(ctx, f.e.Hook, req) })
	if errors.Is(err, ErrNotSent) {
		d.awaitEnd(f.lk)
	}
	if d.takeOff(f) {
		d.landed(f, err)
	}
}

// awaitEnd waits until lk is no longer the connection.
func (d *durable) awaitEnd(lk *link) {
	changed := d.p.linkUp.wait()
	if d.p.current().link.Load() != lk {
		return
	}
	select {
	case <-lk.gone:
	case <-changed:
	case <-d.ctx.Done():
	}
}

// awaitBreaker pauses before an open breaker is asked again.
func (d *durable) awaitBreaker(lk *link) {
	changed := d.p.linkUp.wait()
	if d.p.current().link.Load() != lk {
		return
	}
	select {
	case <-changed:
	case <-lk.gone:
	case <-time.After(d.p.lane.probeAfter()):
	case <-d.ctx.Done():
	}
}

// takeOff takes a flight off the list, and reports whether it was there: whoever gets
// true settles it.
func (d *durable) takeOff(f *flight) bool {
	d.mu.Lock()
	if d.flights[f.id] != f {
		d.mu.Unlock()
		return false
	}
	d.takeOffLocked(f)
	d.mu.Unlock()
	f.lk.calls.leave()
	return true
}

func (d *durable) takeOffLocked(f *flight) {
	delete(d.flights, f.id)
	d.flightBytes -= f.e.cost()
	f.landed = true
	if f.alone {
		now := time.Now()
		d.alone, d.othersUntil = false, now.Add(now.Sub(f.since))
	}
	if f.lk.outbox != nil {
		d.shards[d.shard(f.b.client)].clean(time.Now())
	}
	signal(d.wake)
	if len(d.flights) == 0 {
		d.p.lane.emptied.broadcast()
	}
}

// clean removes the flights at the front that have landed.
func (s *durableShard) clean(now time.Time) {
	n := 0
	for n < len(s.flights) && s.flights[n].landed {
		s.flights[n] = nil
		n++
	}
	if n > 0 {
		s.flights, s.since = s.flights[n:], now
	}
}

// replied takes the provider's reply to a flight.
func (d *durable) replied(id uint64, err error) {
	d.mu.Lock()
	f := d.flights[id]
	d.mu.Unlock()
	if f == nil || !d.takeOff(f) {
		d.p.stats.Late.Add(1)
		return
	}
	d.landed(f, err)
}

// landed takes what became of an event that was sent.
func (d *durable) landed(f *flight, err error) {
	switch {
	case err == nil:
		f.done(nil)
		d.handled(f.b, f.e)
	case d.ctx.Err() != nil, errors.Is(err, ErrNotSent):
		f.done(errNotItsFault)
		d.again(f.b)
	case errors.Is(err, ErrDown):
		f.done(err)
		d.crashed(f)
	default:
		if errors.Is(err, ErrAnswered) {
			f.done(errNotItsFault)
		} else {
			f.done(err)
		}
		d.mu.Lock()
		f.b.suspect = false
		d.mu.Unlock()
		if errors.Is(err, ErrUnavailable) {
			d.unavailable(f.b, f.e, err)
			return
		}
		d.failed(f.b, f.e, classify(context.Background(), err))
	}
}

// crashed takes that the provider went down with the event under way. Only if it was
// alone is that a try: of many, one may have been the cause.
func (d *durable) crashed(f *flight) {
	d.mu.Lock()
	f.b.suspect = true
	d.mu.Unlock()
	if f.alone {
		d.failed(f.b, f.e, failure{ReasonDown, fmt.Errorf("%w: it ended while this event alone was under way", ErrDown)})
		return
	}
	d.again(f.b)
}

// linkDown settles what was under way over a stream that is gone.
func (d *durable) linkDown(l *Link) {
	if l.outbox == nil {
		return // each call ends by itself
	}
	d.mu.Lock()
	var lost []*flight
	for _, f := range d.flights {
		if f.lk.Link == l {
			d.takeOffLocked(f)
			lost = append(lost, f)
		}
	}
	d.mu.Unlock()
	for _, f := range lost {
		l.calls.leave()
		f.done(errNotItsFault)
		d.crashed(f)
	}
}

// expireFlights gives up the oldest flight of each shard when it has been that for as
// long as an event may take. A provider may handle what it is sent one after another,
// so only the oldest has certainly begun.
func (d *durable) expireFlights(now time.Time) {
	timeout := d.p.current().spec.Timeout
	var late []*flight
	d.mu.Lock()
	for i := range d.shards {
		s := &d.shards[i]
		if len(s.flights) > 0 && now.Sub(s.since) >= timeout {
			f := s.flights[0]
			d.takeOffLocked(f)
			late = append(late, f)
		}
	}
	d.mu.Unlock()
	for _, f := range late {
		f.lk.calls.leave()
		f.lk.outbox.conn.Cancel(f.id)
		d.landed(f, fmt.Errorf("no reply within %s: %w", timeout, context.DeadlineExceeded))
	}
}
