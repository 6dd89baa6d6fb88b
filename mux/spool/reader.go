package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// reader reads a stream, from its first message on, whatever becomes of the connection.
type reader struct {
	q *queue

	mu      sync.Mutex
	unacked map[uint64]given // what was given and is not done, by its place in the stream
	// moved are the places in the stream of what was given under another number, since
	// the store used one again.
	moved   map[uint64]uint64
	last    uint64 // the number that was given last
	seed    maphash.Seed
	settled recent
	round   int // counts the readings

	// The rest is for the goroutine that calls next.
	it     jetstream.MessagesContext // nil: to be opened
	itCtx  context.Context           // ends when the connection was lost
	endIt  context.CancelFunc
	expect uint64 // the consumer's number of the next message
	said   bool   // that it cannot be opened
	lost   bool   // it was said of this reading that the store has lost events
}

// given is a message that the engine has. The store may lose it, and put another one
// in its place: after a power cut, or when somebody empties it.
type given struct {
	seq   uint64 // what the engine calls it
	id    uint64 // a hash of its id
	reply string // acknowledges it
	round int    // the reading that reply is of; in another it may be about another message
}

// keptSettled is of how many messages it is known that they are done. More than that
// do not come again because a connection was lost.
const keptSettled = 1 << 16

// settled is a message that is done.
type settled struct{ place, id uint64 }

// recent are the latest messages that are done.
type recent struct {
	all  map[settled]struct{}
	ring []settled
	at   int
}

func (r *recent) add(s settled) {
	if r.all == nil {
		r.all = make(map[settled]struct{})
	}
	if len(r.ring) < keptSettled {
		r.ring = append(r.ring, s)
	} else {
		delete(r.all, r.ring[r.at])
		r.ring[r.at] = s
		r.at = (r.at + 1) % keptSettled
	}
	r.all[s] = struct{}{}
}

func (r *recent) has(s settled) bool {
	_, ok := r.all[s]
	return ok
}

func newReader(q *queue) reader {
	return reader{q: q, unacked: make(map[uint64]given), moved: make(map[uint64]uint64), seed: maphash.MakeSeed()}
}

// idHash is of the id by which JetStream knows a message.
func (r *reader) idHash(h nats.Header) uint64 { return maphash.String(r.seed, h.Get(nats.MsgIdHdr)) }

const (
	consumerName = "hookmux"
	// Nothing is delivered again by JetStream.
	ackWait = 365 * 24 * time.Hour
	// What is under way from the server to us, at most. More is asked for when all that
	// has been read, which costs one wait for so many events.
	pullMessages = 512
	pullBytes    = 8 << 20 // or the largest event, if that has more
)

func (r *reader) next() (*mux.Stored, error) {
	ctx := r.q.ctx
	for {
		if err := ctx.Err(); err != nil {
			r.close()
			return nil, err
		}
		if r.it == nil {
			r.tryOpen(ctx)
			continue
		}
		msg, err := r.it.Next(jetstream.NextContext(r.itCtx))
		if err == nil {
			var e *mux.Stored
			if e, err = r.accept(msg); err == nil && e != nil {
				return e, nil
			}
		}
		if err != nil {
			if ctx.Err() == nil && r.itCtx.Err() == nil {
				r.q.s.log.Warn("reading the store begins anew", "provider", r.q.provider, "error", err)
			}
			r.close()
		}
	}
}

// accept is the event in a message; nil if it was given before.
func (r *reader) accept(msg jetstream.Msg) (*mux.Stored, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	if meta.Sequence.Consumer != r.expect {
		return nil, fmt.Errorf("message %d came where %d was to come", meta.Sequence.Consumer, r.expect)
	}
	r.expect++
	place, id := meta.Sequence.Stream, r.idHash(msg.Headers())
	seq, isNew := r.note(place, id, msg.Reply())
	if !isNew {
		return nil, nil
	}
	e, err := stored(msg.Headers(), msg.Data(), meta.Timestamp)
	if err != nil {
		r.q.s.log.Error("not delivered", "provider", r.q.provider, "error", err)
		return nil, nil //nolint:nilerr // reading goes on behind it
	}
	e.Seq = seq
	return e, nil
}

// note says whether a message is one that was not given yet, and what the engine is to
// call it.
func (r *reader) note(place, id uint64, reply string) (seq uint64, isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, waits := r.unacked[place]
	switch {
	case waits && g.id == id: // the engine has it
		g.reply, g.round = reply, r.round
		r.unacked[place] = g
		return 0, false
	case !waits && r.settled.has(settled{place, id}): // the server has not heard that it is done
		r.ack(reply)
		return 0, false
	case waits: // who has the old one cannot settle or load this one
		delete(r.moved, g.seq)
		if !r.lost {
			r.lost = true
			r.q.s.log.Error("the store has lost events that it had confirmed, and has others in their places", "provider", r.q.provider)
		}
	}
	seq = max(place, r.last+1)
	r.last = seq
	if seq != place {
		r.moved[seq] = place
	}
	r.unacked[place] = given{seq, id, reply, r.round}
	return seq, true
}

// find is what the engine calls seq, and its place in the stream; with r.mu held.
func (r *reader) find(seq uint64) (place uint64, g given, ok bool) {
	place, moved := r.moved[seq]
	if !moved {
		place = seq
	}
	g, ok = r.unacked[place]
	return place, g, ok && g.seq == seq
}

// place is where in the stream what the engine calls seq is, and a hash of its id.
func (r *reader) place(seq uint64) (place, id uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, g, ok := r.find(seq)
	return place, g.id, ok
}

func (r *reader) done(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, g, ok := r.find(seq)
	if !ok {
		return
	}
	delete(r.unacked, place)
	delete(r.moved, seq)
	r.settled.add(settled{place, g.id})
	if g.round == r.round {
		r.ack(g.reply)
	} // else it comes again, unless it is gone, and is acknowledged then
}

// ack has the server remove a message. If that does not arrive, the message comes
// again, and is acknowledged then.
func (r *reader) ack(reply string) { r.q.s.acker.ack(reply) }

// tryOpen opens the stream, or waits before the next attempt.
func (r *reader) tryOpen(ctx context.Context) {
	back := r.q.s.back.wait()
	err := r.open(ctx, back)
	if err == nil {
		if r.said {
			r.q.s.log.Info("what is stored can be read again", "provider", r.q.provider)
		}
		r.said = false
		return
	}
	if ctx.Err() == nil && !r.said {
		r.said = true
		r.q.s.log.Error("what is stored cannot be read: trying again and again", "provider", r.q.provider, "error", err)
	}
	select {
	case <-back:
	case <-time.After(tryAgain):
	case <-ctx.Done():
	}
}

// open makes a new consumer. back is closed when the connection was lost and is back
// again, after which messages may be missing.
func (r *reader) open(ctx context.Context, back <-chan struct{}) error {
	select {
	case <-r.q.made:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	r.round++
	r.mu.Unlock()
	octx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, name := r.q.s, r.q.s.stream(r.q.provider)
	err := s.outJS.DeleteConsumer(octx, name, consumerName)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // somebody removed it
		err = r.q.ensure()
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	c, err := s.outJS.CreateConsumer(octx, name, jetstream.ConsumerConfig{
		Durable: consumerName, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1, MemoryStorage: true,
	})
	if err != nil {
		return err
	}
	if r.it, err = c.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, int(max(pullBytes, min(s.out.MaxPayload(), maxPayload)+forHeaders))), jetstream.PullThresholdMessages(1)); err != nil {
		r.it = nil
		return err
	}
	r.expect, r.lost = 1, false
	r.itCtx, r.endIt = context.WithCancel(ctx)
	it, over, end := r.it, r.itCtx.Done(), r.endIt
	r.q.watching.Go(func() {
		select {
		case <-back:
			end()
		case <-over:
		}
		it.Stop()
	})
	return nil
}

func (r *reader) close() {
	if r.it != nil {
		r.endIt()
		r.it = nil
	}
}
