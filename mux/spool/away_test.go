package spool_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/mux/spool"
)

// A NATS that hangs, with no room left for what is written to it, keeps nobody waiting
// beyond his time, and is used again when it goes on.
func TestHungNATSKeepsNobody(t *testing.T) {
	t.Parallel()
	const (
		given = 200 * time.Millisecond
		late  = 20 * time.Second // of a busy machine; a write over TCP waits for a minute and more
	)
	nats := targets.NewNATS(t)
	s := open(t, spool.Options{URL: nats.URL, Name: "hung"})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	store(t, q, "one", "two")
	events := next(t, q, 2)
	q.Done(events[0].Seq)
	nats.Pause(t)
	body := bytes.Repeat([]byte("x"), 64<<10)
	var all sync.WaitGroup
	for range 400 { // far more than what TCP buffers
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), given)
			defer cancel()
			at := time.Now()
			if err := q.Store(ctx, &mux.Stored{Hook: mux.ClientConnected, Body: body}); err == nil {
				t.Error("stored in a store that hangs")
			}
			if took := time.Since(at); took > given+late {
				t.Errorf("Store came back after %s", took)
			}
		})
	}
	all.Wait()
	q.Done(events[1].Seq)
	nats.Resume(t)
	store(t, q, "three")
	for {
		if e := next(t, q, 1)[0]; string(e.Body) == "three" {
			return
		}
	}
}

// An event whose time is over is not stored, since the broker is told that it is not.
func TestStoreTooLate(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, opts spool.Options) {
		s := open(t, opts)
		defer s.Close()
		q := s.Queue("p")
		defer q.Close()
		store(t, q, "before")
		over, cancel := context.WithCancel(context.Background())
		cancel()
		for range 20 {
			if err := q.Store(over, &mux.Stored{Hook: mux.ClientConnected, Body: []byte("late")}); !errors.Is(err, context.Canceled) {
				t.Fatalf("stored too late: %v", err)
			}
		}
		store(t, q, "after")
		if got := bodies(next(t, q, 2)); got[0] != "before" || got[1] != "after" {
			t.Errorf("stored %v", got)
		}
	})
}

// A NATS of others without a name would take what is not ours, or lose what is.
func TestNATSNeedsName(t *testing.T) {
	t.Parallel()
	if s, err := spool.Open(spool.Options{URL: "nats://127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "spool.name") {
		if s != nil {
			s.Close()
		}
		t.Errorf("opened: %v", err)
	}
}
