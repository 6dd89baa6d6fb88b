package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// reader reads a stream, from its first message on, whatever becomes of the connection.
type reader struct {
	q *queue

	mu      sync.Mutex
	unacked map[uint64]string // what was given and is not done; its value acknowledges it
	// high is the last message that was given, and when that was stored. All before it
	// have been given, too.
	high   uint64
	highAt time.Time

	// The rest is for the goroutine that calls next.
	it     jetstream.MessagesContext // nil: to be opened
	itCtx  context.Context           // ends when the connection was lost
	endIt  context.CancelFunc
	expect uint64 // the consumer's number of the next message
	said   bool   // that it cannot be opened
}

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
	seq := meta.Sequence.Stream
	r.mu.Lock()
	_, waits := r.unacked[seq]
	isNew := seq > r.high || meta.Timestamp.After(r.highAt)
	if isNew && seq <= r.high {
		// The store has lost its end, in a power cut, and begun to use its numbers again.
		r.q.s.log.Error("the store has lost events that it had confirmed", "provider", r.q.provider, "events", r.high-seq+1)
		for s := range r.unacked {
			if s >= seq {
				delete(r.unacked, s)
			}
		}
	}
	if isNew {
		r.high, r.highAt = seq, meta.Timestamp
	}
	if isNew || waits {
		r.unacked[seq] = msg.Reply()
	}
	r.mu.Unlock()
	switch {
	case isNew:
	case waits:
		return nil, nil
	default: // done, which the server has not heard
		r.ack(msg.Reply())
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

func (r *reader) done(seq uint64) {
	r.mu.Lock()
	reply, ok := r.unacked[seq]
	delete(r.unacked, seq)
	r.mu.Unlock()
	if ok {
		r.ack(reply)
	}
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
	r.expect = 1
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
