package spool_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/mux/spool"
)

// Somebody empties a NATS that begins again at its first number. Who has an event of
// before can neither remove what is there in its place, nor take it for it.
func TestPlacesUsedAgain(t *testing.T) {
	t.Parallel()
	url := targets.NATS(t).URL
	s := open(t, spool.Options{URL: url, Name: "again"})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	store(t, q, "old 1", "old 2", "old 3")
	old := next(t, q, 3)
	q.Done(old[2].Seq)
	if err := connect(t, url).DeleteStream(within(t, patience), "hookmux=again=p"); err != nil {
		t.Fatal(err)
	}
	given := make(chan *mux.Stored)
	go func() {
		defer close(given)
		for {
			e, err := q.Next()
			if err != nil {
				return
			}
			given <- e
		}
	}()
	store(t, q, "new 1", "new 2", "new 3")
	q.Done(old[0].Seq)
	seen := make(map[uint64]bool)
	for _, e := range old {
		seen[e.Seq] = true
	}
	var got []*mux.Stored
	for i := range 3 {
		e := <-given
		if want := fmt.Sprint("new ", i+1); string(e.Body) != want || seen[e.Seq] {
			t.Errorf("given %s as %d, want %s", e.Body, e.Seq, want)
		}
		got = append(got, e)
	}
	q.Done(old[0].Seq)
	q.Done(old[1].Seq)
	if e, err := q.Load(within(t, patience), old[1].Seq); !errors.Is(err, mux.ErrNotStored) {
		t.Errorf("loaded %v, %v", e, err)
	}
	for i, e := range got {
		if l, err := q.Load(within(t, patience), e.Seq); err != nil || string(l.Body) != fmt.Sprint("new ", i+1) || l.Seq != e.Seq {
			t.Errorf("loaded %v, %v", l, err)
		}
	}
	q.Close()
	if _, open := <-given; open {
		t.Error("an event was given twice")
	}
}
