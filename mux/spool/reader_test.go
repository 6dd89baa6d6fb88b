package spool

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// message is one that a server gives.
type message struct {
	jetstream.Msg
	meta jetstream.MsgMetadata
	id   string
}

func (m message) Metadata() (*jetstream.MsgMetadata, error) { return &m.meta, nil }
func (m message) Reply() string                             { return "ack " + m.id }
func (m message) Data() []byte                              { return []byte(m.id) }
func (m message) Headers() nats.Header {
	return nats.Header{nats.MsgIdHdr: {m.id}, hookHeader: {"client.connected"}}
}

// Whether a message is a new one is told by its id: a clock that is set back changes
// nothing, nor does a place that is used again.
func TestReaderKnowsByID(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &Spool{log: slog.New(slog.NewTextHandler(&log, nil)), acker: &acker{wake: make(chan struct{}, 1)}}
	r := newReader(&queue{s: s, provider: "p"})
	begin := func() { r.round++; r.expect, r.lost = 1, false }
	take := func(place uint64, id string, at int64) (seq uint64) {
		t.Helper()
		e, err := r.accept(message{id: id, meta: jetstream.MsgMetadata{
			Sequence: jetstream.SequencePair{Stream: place, Consumer: r.expect}, Timestamp: time.Unix(at, 0),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if e != nil {
			seq = e.Seq
		}
		return seq
	}
	begin()
	if a, b := take(1, "a", 100), take(2, "b", 50); a != 1 || b != 2 {
		t.Fatal(a, b)
	}
	begin() // the connection was lost
	if a, b := take(1, "a", 100), take(2, "b", 50); a != 0 || b != 0 || log.Len() > 0 {
		t.Fatalf("given again: %d %d; it says %s", a, b, log.String())
	}
	r.done(1)
	begin() // and before the server had heard of it
	s.acker.queue = nil
	r.done(2)
	if len(s.acker.queue) != 0 {
		t.Errorf("acknowledged what this reading has not given: %v", s.acker.queue)
	}
	if a, b := take(1, "a", 100), take(2, "b", 50); a != 0 || b != 0 || strings.Join(s.acker.queue, ",") != "ack a,ack b" {
		t.Errorf("given again: %d %d; acknowledged %v", a, b, s.acker.queue)
	}
	c := take(3, "c", 60)
	begin() // the store has lost all, and its clock is behind
	s.acker.queue = nil
	d, e, f := take(1, "d", 10), take(2, "e", 11), take(3, "f", 12)
	if c != 3 || d != 4 || e != 5 || f != 6 || !strings.Contains(log.String(), "has lost events") {
		t.Errorf("given as %d, %d %d %d; it says %s", c, d, e, f, log.String())
	}
	r.done(c)
	if len(s.acker.queue) != 0 {
		t.Errorf("acknowledged another one: %v", s.acker.queue)
	}
	r.done(f)
	r.done(d)
	if got := strings.Join(s.acker.queue, ","); got != "ack f,ack d" {
		t.Errorf("acknowledged %s", got)
	}
}
