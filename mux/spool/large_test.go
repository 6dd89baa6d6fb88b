package spool_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/mux/spool"
)

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	c, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Somebody removes the dead letters' stream, and there is one again.
func TestBuryWithoutStream(t *testing.T) {
	t.Parallel()
	url := targets.NATS(t).URL
	s := open(t, spool.Options{URL: url, Name: "nodead"})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	store(t, q, "one")
	e := next(t, q, 1)[0]
	if err := connect(t, url).DeleteStream(within(t, patience), "hookmux=nodead=p=dead"); err != nil {
		t.Fatal(err)
	}
	if err := q.Bury(within(t, patience), e, mux.Death{Tries: 1, Error: "no"}); err != nil {
		t.Fatal(err)
	}
	if letters, err := s.Letters(within(t, patience), "p", 2); len(letters) != 1 || err != nil {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
}

// What can be stored can become a dead letter, whatever the error says.
func TestLargestEvent(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, opts spool.Options) {
		largest := 32 << 20
		if opts.URL != "" {
			largest = 1 << 20
		}
		s := open(t, opts)
		defer s.Close()
		q := s.Queue("p")
		defer q.Close()
		e := &mux.Stored{Hook: mux.ClientConnected, Body: make([]byte, largest-4<<10+1)}
		if err := q.Store(within(t, patience), e); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Fatalf("stored: %v", err)
		}
		e.Body = e.Body[1:]
		if err := q.Store(within(t, patience), e); err != nil {
			t.Fatal(err)
		}
		got := next(t, q, 1)[0]
		if len(got.Body) != len(e.Body) {
			t.Errorf("read %d bytes", len(got.Body))
		}
		if err := q.Bury(within(t, patience), got, mux.Death{Tries: 10, Error: strings.Repeat("no\x00\U0010ffff", 5000)}); err != nil {
			t.Fatal(err)
		}
		if l, err := s.Letter(within(t, patience), got.ID); err != nil || len(l.Body) != len(e.Body) || !strings.HasPrefix(l.Error, "no\x00\U0010ffffno") || !strings.HasSuffix(l.Error, " …") {
			t.Errorf("the dead letter: %v", err)
		}
	})
}

// Of large events no more are on their way to us than there is memory for.
func TestLargeEventsReadAhead(t *testing.T) {
	t.Parallel()
	url := targets.NATS(t).URL
	s := open(t, spool.Options{URL: url, Name: "large"})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	const events, ahead = 60, 20
	body := bytes.Repeat([]byte("x"), 1<<20-8<<10)
	for range events {
		if err := q.Store(within(t, patience), &mux.Stored{Hook: mux.ClientConnected, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	js := connect(t, url)
	for i := range events {
		next(t, q, 1)
		c, err := js.Consumer(within(t, patience), "hookmux=large=p", "hookmux")
		if err != nil {
			t.Fatal(err)
		}
		if n := c.CachedInfo().NumAckPending - i; n > ahead {
			t.Fatalf("%d events are read ahead", n)
		}
	}
}
