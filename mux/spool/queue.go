package spool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// The headers of a stored event. Its id is in JetStream's own header of a message's id,
// unless it was stored once more. Its time is when JetStream stored it, likewise.
const (
	hookHeader  = "Hookmux-Hook"
	idHeader    = "Hookmux-Id"
	timeHeader  = "Hookmux-Time"
	triesHeader = "Hookmux-Tries" // of a dead letter, as the next
	errorHeader = "Hookmux-Error"
)

// queue is one provider's part of the store.
type queue struct {
	s        *Spool
	provider string
	subject  string
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	made     chan struct{} // closed when the streams are there
	making   sync.WaitGroup
	watching sync.WaitGroup // over readers' connections

	reader reader

	mu       sync.Mutex
	saidBury time.Time // when it was last logged that there are no dead letters
}

// newQueue opens a provider's part, once after is closed if it is not nil.
func newQueue(s *Spool, provider string, after <-chan struct{}) *queue {
	q := &queue{s: s, provider: provider, subject: s.subject(provider), made: make(chan struct{})}
	q.ctx, q.stop = context.WithCancel(context.Background())
	q.reader = newReader(q)
	q.making.Go(func() {
		if after != nil {
			select {
			case <-after:
			case <-q.ctx.Done():
				return
			}
		}
		q.makeStreams()
	})
	return q
}

// makeStreams makes the streams, as soon as the store is there.
func (q *queue) makeStreams() {
	for said := false; ; said = true {
		back := q.s.back.wait()
		err := q.ensure()
		switch {
		case err == nil:
			close(q.made)
			return
		case q.ctx.Err() != nil:
			return
		case !said:
			q.s.log.Error("there is no store for a provider's events: trying again and again", "provider", q.provider, "error", err)
		}
		select {
		case <-back:
		case <-time.After(tryAgain):
		case <-q.ctx.Done():
			return
		}
	}
}

const (
	askTimeout = 10 * time.Second
	tryAgain   = 250 * time.Millisecond
)

func (q *queue) ensure() error {
	ctx, cancel := context.WithTimeout(q.ctx, askTimeout)
	defer cancel()
	err := q.s.ensure(ctx, q.s.eventsConfig(q.provider))
	if err == nil {
		err = q.s.ensure(ctx, q.s.deadConfig(q.provider))
	}
	return err
}

// Close implements mux.Queue.
func (q *queue) Close() {
	q.stop()
	q.making.Wait()
	q.watching.Wait()
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if q.s.queues[q.provider] == q {
		delete(q.s.queues, q.provider)
	}
}

// Store implements mux.Queue.
func (q *queue) Store(ctx context.Context, e *mux.Stored) error {
	if q.s.own != nil {
		if err := q.s.own.disk.room(); err != nil {
			return err
		}
	}
	select {
	case <-q.made:
	default:
		select {
		case <-q.made:
		case <-ctx.Done():
			return fmt.Errorf("the store is not there: %w", ctx.Err())
		case <-q.ctx.Done():
			return q.ctx.Err()
		}
	}
	if err := q.checkSize(e.Body); err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	e.ID = id.String()
	return q.s.publish(ctx, q.subject, nats.Header{nats.MsgIdHdr: {e.ID}, hookHeader: {e.Hook.String()}}, e.Body)
}

// Next implements mux.Queue.
func (q *queue) Next() (*mux.Stored, error) { return q.reader.next() }

// Done implements mux.Queue.
func (q *queue) Done(seq uint64) { q.reader.done(seq) }

// Load implements mux.Queue.
func (q *queue) Load(ctx context.Context, seq uint64) (*mux.Stored, error) {
	place, id, ok := q.reader.place(seq)
	if !ok {
		return nil, mux.ErrNotStored
	}
	for {
		back := q.s.back.wait()
		st, err := q.s.outJS.Stream(ctx, q.s.stream(q.provider))
		var m *jetstream.RawStreamMsg
		if err == nil {
			m, err = st.GetMsg(ctx, place)
		}
		switch {
		case err == nil && q.reader.idHash(m.Header) != id: // another one is in its place
			return nil, mux.ErrNotStored
		case err == nil:
			e, err := stored(m.Header, m.Data, m.Time)
			if e != nil {
				e.Seq = seq
			}
			return e, err
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, mux.ErrNotStored
		}
		select {
		case <-back:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}
}

// Bury implements mux.Queue.
func (q *queue) Bury(ctx context.Context, e *mux.Stored, why mux.Death) error {
	header := nats.Header{
		hookHeader: {e.Hook.String()}, timeHeader: {e.Time.UTC().Format(time.RFC3339Nano)},
		triesHeader: {strconv.Itoa(why.Tries)}, errorHeader: {quoted(why.Error)},
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, askTimeout)
		err := q.s.publish(attempt, q.s.deadSubject(q.provider, e.ID), header, e.Body)
		over := attempt.Err() != nil
		cancel()
		if err == nil {
			q.Done(e.Seq)
			return nil
		}
		if ctx.Err() != nil || !over {
			return err
		}
		q.sayCannotBury(err)
		if err := q.ensure(); err != nil && ctx.Err() == nil { // somebody may have removed the stream
			q.sayCannotBury(err)
		}
	}
}

// sayCannotBury logs that dead letters cannot be stored, at a bounded rate.
func (q *queue) sayCannotBury(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); q.saidBury.IsZero() || now.Sub(q.saidBury) >= time.Minute {
		q.saidBury = now
		q.s.log.Error("dead letters cannot be stored: their clients' events wait, trying again and again", "provider", q.provider, "error", err)
	}
}

// forHeaders is how much of what a server takes at once is kept for the headers, since
// those of a dead letter are larger than those of the event it was.
const forHeaders = 4 << 10

// checkSize says that an event is too large to be stored, and to become a dead letter.
func (q *queue) checkSize(body []byte) error {
	if most := min(q.s.in.MaxPayload(), maxPayload) - forHeaders; most > 0 && int64(len(body)) > most {
		return fmt.Errorf("the event is too large for the store: it has %d bytes, and %d are the most", len(body), most)
	}
	return nil
}

// quoted is an error's text for a header, shortened if need be.
func quoted(text string) string {
	const most = 3 << 10
	q := strconv.Quote(text)
	for len(q) > most {
		text = text[:len(text)*3/4]
		q = strconv.Quote(text + " …")
	}
	return q
}

// stored is a message as an event, but for its place.
func stored(h nats.Header, body []byte, at time.Time) (*mux.Stored, error) {
	e := &mux.Stored{ID: h.Get(nats.MsgIdHdr), Time: at, Body: body}
	if id := h.Get(idHeader); id != "" {
		e.ID = id
	}
	var ok bool
	if e.Hook, ok = mux.HookByName(h.Get(hookHeader)); !ok || e.ID == "" {
		return nil, fmt.Errorf("a stored event has the id %q and the hook %q, which this hookmux does not know; it stays stored", e.ID, h.Get(hookHeader))
	}
	if t := h.Get(timeHeader); t != "" {
		if parsed, err := time.Parse(time.RFC3339Nano, t); err == nil {
			e.Time = parsed
		}
	}
	return e, nil
}
