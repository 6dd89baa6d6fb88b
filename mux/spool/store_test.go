package spool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/mux/spool"
)

// patience is for what should be quick, on a machine that is not.
const patience = 60 * time.Second

// eachStore runs a test on a store of our own and on a nats-server.
func eachStore(t *testing.T, f func(t *testing.T, opts spool.Options)) {
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		f(t, spool.Options{Dir: t.TempDir()})
	})
	t.Run("NATS", func(t *testing.T) {
		t.Parallel()
		f(t, spool.Options{URL: targets.NATS(t).URL, Name: strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())})
	})
}

func open(t *testing.T, opts spool.Options) *spool.Spool {
	t.Helper()
	opts.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := spool.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func store(t *testing.T, q mux.Queue, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := q.Store(within(t, patience), &mux.Stored{Hook: mux.ClientConnected, Body: []byte(b)}); err != nil {
			t.Fatalf("store %.20s: %v", b, err)
		}
	}
}

// next are the next events of a queue; it does not wait for more.
func next(t *testing.T, q mux.Queue, n int) (out []*mux.Stored) {
	t.Helper()
	for range n {
		e, err := q.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func bodies(events []*mux.Stored) (out []string) {
	for _, e := range events {
		out = append(out, string(e.Body))
	}
	return out
}

// What is not done is there again, in order and under its id, when the store is opened
// again; what is done is not.
func TestStoreKeepsWhatIsNotDone(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, opts spool.Options) {
		s := open(t, opts)
		q := s.Queue("p")
		before := time.Now().Add(-time.Second)
		var all []string
		for i := range 20 {
			all = append(all, fmt.Sprint(i))
		}
		store(t, q, all...)
		first := next(t, q, 20)
		if got := bodies(first); !slices.Equal(got, all) {
			t.Fatalf("read %v", got)
		}
		for _, e := range first {
			if e.Hook != mux.ClientConnected || e.Time.Before(before) || e.Time.After(time.Now().Add(time.Second)) || len(e.ID) != 36 {
				t.Fatalf("read %+v", e)
			}
		}
		for i, e := range first {
			if i%2 == 0 {
				q.Done(e.Seq)
			}
		}
		if e, err := q.Load(within(t, patience), first[3].Seq); err != nil || string(e.Body) != "3" || e.ID != first[3].ID || e.Seq != first[3].Seq {
			t.Errorf("loaded %+v, %v", e, err)
		}
		q.Close()
		s.Close()

		s = open(t, opts)
		defer s.Close()
		q = s.Queue("p")
		defer q.Close()
		store(t, q, "new")
		again := next(t, q, 11)
		for i, e := range again[:10] {
			if want := first[2*i+1]; e.ID != want.ID || string(e.Body) != string(want.Body) {
				t.Errorf("event %d is %s %s, want %s %s", i, e.ID, e.Body, want.ID, want.Body)
			}
		}
		if string(again[10].Body) != "new" {
			t.Errorf("the new event is %s", again[10].Body)
		}
		if _, err := q.Load(within(t, patience), first[0].Seq); !errors.Is(err, mux.ErrNotStored) {
			t.Errorf("loaded what is done: %v", err)
		}
	})
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, opts spool.Options) {
		ctx := within(t, patience)
		s := open(t, opts)
		defer s.Close()
		q := s.Queue("p")
		store(t, q, "one", "two", "three")
		events := next(t, q, 3)
		for i, e := range events {
			if err := q.Bury(ctx, e, mux.Death{Tries: 3 + i, Error: "no\r\nsuch: header"}); err != nil {
				t.Fatal(err)
			}
		}
		letters, err := s.Letters(ctx, "p", 2)
		if err != nil || len(letters) != 2 || letters[0].ID != events[0].ID || letters[1].Tries != 4 || letters[0].Error != "no\r\nsuch: header" ||
			letters[0].Hook != mux.ClientConnected || !letters[0].Time.Equal(events[0].Time) || letters[0].Body != nil {
			t.Fatalf("%+v, %v", letters, err)
		}
		if l, err := s.Letter(ctx, events[1].ID); err != nil || string(l.Body) != "two" {
			t.Fatalf("%+v, %v", l, err)
		}
		for _, id := range []string{"*", ">", "x", "", "00000000-0000-7000-8000-000000000000"} {
			if _, err := s.Letter(ctx, id); !errors.Is(err, spool.ErrNoLetter) {
				t.Errorf("%q: %v", id, err)
			}
		}
		// One is dropped, one retried by several at once, the last with all that there are.
		if err := s.Drop(ctx, events[0].ID); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := s.Retry(ctx, events[1].ID); err != nil && !errors.Is(err, spool.ErrNoLetter) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n, err := s.RetryAll(ctx, "p"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for i, e := range next(t, q, 2) {
			if want := events[i+1]; e.ID != want.ID || string(e.Body) != string(want.Body) || e.Seq <= want.Seq {
				t.Errorf("retried %+v", e)
			}
		}
		infos, err := s.List(ctx)
		if err != nil || len(infos) != 1 || infos[0].Dead != 0 || infos[0].Events != 2 || infos[0].Orphaned || infos[0].Oldest.IsZero() {
			t.Fatalf("%+v, %v", infos, err)
		}
		if _, err := s.DropOrphan(ctx, "p"); !errors.Is(err, spool.ErrInUse) {
			t.Error(err)
		}
		q.Close()
		if infos, err = s.List(ctx); err != nil || len(infos) != 1 || !infos[0].Orphaned {
			t.Fatalf("%+v, %v", infos, err)
		}
		if n, err := s.DropOrphan(ctx, "p"); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if infos, err = s.List(ctx); err != nil || len(infos) != 0 {
			t.Fatalf("%+v, %v", infos, err)
		}
		for _, provider := range []string{"p", "*", ".", ""} {
			if _, err := s.Letters(ctx, provider, 1); !errors.Is(err, spool.ErrNoStore) {
				t.Errorf("%q: %v", provider, err)
			}
		}
	})
}

// A full store says so, and takes events again when there is room; one provider's does
// not fill another's.
func TestFullStore(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, opts spool.Options) {
		opts.Bytes = 1 << 20
		s := open(t, opts)
		defer s.Close()
		q, other := s.Queue("p"), s.Queue("other")
		defer q.Close()
		defer other.Close()
		body := strings.Repeat("x", 100<<10)
		n := 0
		for ; ; n++ {
			err := q.Store(within(t, patience), &mux.Stored{Hook: mux.ClientConnected, Body: []byte(body)})
			if errors.Is(err, mux.ErrStoreFull) {
				break
			}
			if err != nil || n > 20 {
				t.Fatal(n, err)
			}
		}
		if n < 8 {
			t.Errorf("full after %d events of 100 KiB", n)
		}
		store(t, other, "fits")
		q.Done(next(t, q, 1)[0].Seq)
		deadline := time.Now().Add(patience)
		for q.Store(within(t, patience), &mux.Stored{Hook: mux.ClientConnected, Body: []byte(body)}) != nil {
			if time.Now().After(deadline) {
				t.Fatal("it stays full")
			}
		}
	})
}

// A NATS that is not there yet, is gone or hangs keeps nobody waiting beyond the time.
func TestNATSIsAway(t *testing.T) {
	t.Parallel()
	nats := targets.NewNATS(t)
	nats.Stop(t)
	s := open(t, spool.Options{URL: nats.URL, Name: "away"})
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	e := &mux.Stored{Hook: mux.ClientConnected, Body: []byte("lost")}
	if err := q.Store(within(t, 100*time.Millisecond), e); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("stored nowhere: %v", err)
	}
	nats.Start(t)
	store(t, q, "one")
	if got := bodies(next(t, q, 1)); got[0] != "one" {
		t.Fatalf("read %v", got)
	}
	nats.Pause(t)
	if err := q.Store(within(t, 200*time.Millisecond), e); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stored in a store that hangs: %v", err)
	}
	nats.Resume(t)
	// What was sent may be stored after all, as long as it comes before what is sent later.
	store(t, q, "two")
	if got := bodies(next(t, q, 2)); got[0] != "lost" && got[0] != "two" {
		t.Errorf("read %v", got)
	}
}

// Two cannot use one directory.
func TestOneDirectoryIsForOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, spool.Options{Dir: dir})
	if _, err := spool.Open(spool.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another hookmux uses the store in "+dir) {
		t.Errorf("opened twice: %v", err)
	}
	s.Close()
	open(t, spool.Options{Dir: dir}).Close()
}

// A damaged store does not begin anew by itself.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"its description": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "meta.inf"), []byte("garbage"), 0o600)
		},
		"its events":              func(dir string) error { return os.RemoveAll(filepath.Join(dir, "msgs")) },
		"its description is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "meta.inf")) },
		"its checksum":            func(dir string) error { return os.WriteFile(filepath.Join(dir, "meta.sum"), []byte("garbage"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, spool.Options{Dir: dir})
			q := s.Queue("p")
			store(t, q, "one")
			q.Close()
			s.Close()
			stream := filepath.Join(dir, "jetstream", "$G", "streams", "hookmux=hookmux=p")
			if err := damage(stream); err != nil {
				t.Fatal(err)
			}
			_, err := spool.Open(spool.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			if err == nil || !strings.Contains(err.Error(), stream) || !strings.Contains(err.Error(), "it is damaged") {
				t.Fatalf("opened: %v", err)
			}
			t.Log(err)
			if err := os.RemoveAll(stream); err != nil {
				t.Fatal(err)
			}
			open(t, spool.Options{Dir: dir}).Close()
		})
	}
}

// A disk that is full to the last byte, which the store finds out by itself.
func TestDiskFullAtOnce(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, err := spool.OpenWithoutReserve(spool.Options{Dir: filepath.Join(dir, "spool"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := s.Queue("p")
	defer q.Close()
	body := strings.Repeat("x", 50<<10)
	var stored []string
	fails := 0
	for n := 0; fails < 20; n++ {
		e := &mux.Stored{Hook: mux.ClientConnected, Body: fmt.Appendf(nil, "%d %s", n, body)}
		if err := q.Store(within(t, time.Second), e); err != nil {
			fails++
			continue
		}
		stored = append(stored, e.ID)
		if n > 1000 {
			t.Fatal("the disk never gets full")
		}
	}
	// Half of it is handled, which makes room, as soon as the store is up again.
	seen := make(map[string]bool)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	store(t, q, "after")
	for range len(stored) + 1 {
		e := next(t, q, 1)[0]
		seen[e.ID] = true
		q.Done(e.Seq)
		if string(e.Body) == "after" {
			break
		}
	}
	for i, id := range stored {
		if !seen[id] {
			t.Errorf("event %d of %d is lost", i, len(stored))
		}
	}
}
