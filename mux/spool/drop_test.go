package spool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/spool"
)

// No name reaches the dead letters of a provider whose name it is not.
func TestNamesOfProviders(t *testing.T) {
	t.Parallel()
	ctx := within(t, patience)
	s := open(t, spool.Options{Dir: t.TempDir()})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	store(t, q, "one", "two")
	events := next(t, q, 2)
	if err := q.Bury(ctx, events[0], mux.Death{Tries: 1, Error: "no"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"p=dead", "p=", "=p", "P", "p.dead", "*", ""} {
		_, letters := s.Letters(ctx, name, 1)
		_, retry := s.RetryAll(ctx, name)
		_, drop := s.DropAll(ctx, name)
		_, orphan := s.DropOrphan(ctx, name)
		for _, err := range []error{letters, retry, drop, orphan} {
			if !errors.Is(err, spool.ErrNoStore) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if err := q.Bury(ctx, events[1], mux.Death{Tries: 1, Error: "no"}); err != nil {
		t.Fatal(err)
	}
	if letters, err := s.Letters(ctx, "p", 5); len(letters) != 2 || err != nil {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
}

// What is stored for a provider is removed either before somebody opens it or not at
// all: nothing that was stored afterwards is.
func TestDropOrphanWhileItIsOpened(t *testing.T) {
	t.Parallel()
	s := open(t, spool.Options{Dir: t.TempDir()})
	defer s.Close()
	for round := range 30 {
		q := s.Queue("p")
		store(t, q, "old")
		q.Close()
		var dropping sync.WaitGroup
		dropping.Go(func() {
			if n, err := s.DropOrphan(within(t, patience), "p"); err != nil && !errors.Is(err, spool.ErrInUse) {
				t.Errorf("dropped %d, %v", n, err)
			}
		})
		q = s.Queue("p")
		want := fmt.Sprint("new ", round)
		store(t, q, want)
		dropping.Wait()
		for {
			e := next(t, q, 1)[0]
			q.Done(e.Seq)
			if string(e.Body) == want {
				break
			}
		}
		q.Close()
	}
}

// All dead letters are those that there are when somebody says so: what dies meanwhile
// nobody has seen.
func TestAllDeadLettersAreThoseOfNow(t *testing.T) {
	t.Parallel()
	ctx := within(t, patience)
	s := open(t, spool.Options{Dir: t.TempDir()})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	store(t, q, "one", "two", "three", "four", "five")
	events := next(t, q, 5)
	bury := func(e *mux.Stored) {
		if err := q.Bury(ctx, e, mux.Death{Tries: 1, Error: "no"}); err != nil {
			t.Error(err)
		}
	}
	bury(events[0])
	bury(events[1])
	waiting := events[2:]
	n, err := s.AllLetters(ctx, "p", func(context.Context, *spool.Letter) error {
		if len(waiting) > 0 {
			bury(waiting[0])
			waiting = waiting[1:]
		}
		return nil
	})
	if n != 2 || err != nil {
		t.Errorf("%d dead letters of 2, %v", n, err)
	}
	if n, err := s.DropAll(ctx, "p"); n != 4 || err != nil {
		t.Errorf("dropped %d of 4, %v", n, err)
	}
}
