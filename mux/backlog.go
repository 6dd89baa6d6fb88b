package mux

import (
	"math/rand/v2"
	"time"
)

// backlog is what was read of one client, in order. The first event is the one that
// is delivered.
type backlog struct {
	client string
	events []waiting
	state  backlogState
	// parked is a client with a failure: of its events only the place is kept until that
	// is over, so that it cannot use up the memory of all others.
	parked bool
	// long is a client with so much that the same holds for all but its first few.
	long    bool
	fetched bool // the first event was loaded to be sent
	// suspect says that the provider crashed while the first event was under way, with
	// others. It is tried alone, which shows who it was.
	suspect bool
	tries   int // of the first event
	// away is how often in a row the first event failed because what the provider needs is
	// away, which is no try; inAway that it is in durable.away.
	away   int
	inAway bool
	death  *Death
	timer  *time.Timer
}

type backlogState uint8

const (
	backlogEmpty  backlogState = iota
	backlogReady               // in durable.ready or durable.suspects
	backlogBusy                // its first event is being sent, handled, loaded or buried
	backlogPaused              // its first event failed, and waits for its next try
)

// waiting is one event of a backlog.
type waiting struct {
	seq    uint64
	hook   Hook
	at     time.Time
	stored *Stored // nil: it is to be loaded
}

// fifo is a queue of backlogs.
type fifo struct {
	list []*backlog
	head int
}

func (f *fifo) len() int        { return len(f.list) - f.head }
func (f *fifo) push(b *backlog) { f.list = append(f.list, b) }
func (f *fifo) front() *backlog { return f.list[f.head] }
func (f *fifo) pop() (b *backlog) {
	b, f.list[f.head] = f.list[f.head], nil
	if f.head++; f.head == len(f.list) {
		f.list, f.head = f.list[:0], 0
	} else if f.head > 1024 && f.head > len(f.list)/2 {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
	return b
}

// makeReady has the first event of b sent, with d.mu held.
func (d *durable) makeReady(b *backlog) {
	b.state = backlogReady
	switch {
	case b.suspect:
		d.suspects.push(b)
	case b.fetched:
		d.fetched.push(b)
	default:
		d.ready.push(b)
	}
	b.fetched = false
	signal(d.wake)
}

// forget frees the memory of a waiting event, with d.mu held.
func (d *durable) forget(w *waiting) {
	if w.stored != nil {
		d.loaded--
		d.loadedBytes -= w.stored.cost()
		w.stored = nil
		signal(d.room)
	}
}

// park keeps no more than the places of b's events, with d.mu held.
func (d *durable) park(b *backlog) {
	b.parked = true
	for i := range b.events {
		d.forget(&b.events[i])
	}
}

// settle takes the first event of b out, with d.mu held, and makes way for the next.
func (d *durable) settle(b *backlog) {
	d.forget(&b.events[0])
	b.events[0] = waiting{}
	b.events = b.events[1:]
	b.tries, b.away, b.suspect, b.death = 0, 0, false, nil
	b.long = b.long && len(b.events) > durableEach
	b.parked = false // those that come are kept in memory again
	d.known.Add(-1)
	if d.known.Load() == durableKnown-1 {
		signal(d.room)
	}
	if len(b.events) == 0 {
		b.state = backlogEmpty
		delete(d.backlogs, b.client)
		return
	}
	d.makeReady(b)
}

// backoff is the pause after so many tries: growing, and not the same for all.
func backoff(tries int) time.Duration {
	d := min(firstBackoff<<min(tries-1, 20), maxBackoff)
	return d/2 + rand.N(d)
}

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute
)
