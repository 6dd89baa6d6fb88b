package mux

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestFullLane(t *testing.T) {
	t.Parallel()
	one := cost(ptr(event(t, "a", 1)))
	for _, tt := range []struct {
		name string
		lane LaneSpec
	}{
		{"by events", LaneSpec{Events: 3}},
		{"by bytes", LaneSpec{Bytes: 3*one + one/2}},
	} {
		for _, mode := range []Overflow{DropNewest, DropOldest} {
			t.Run(fmt.Sprintf("%s/%s", tt.name, mode), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					spec := Spec{Lane: tt.lane}
					spec.Lane.Overflow = mode
					p := newProvider(t, spec, nil)
					push(t, p, "a", 1)
					synctest.Wait() // it is about to be delivered, and no longer in the queue
					push(t, p, "a", 2, 3, 4, 5)
					if events, bytes := p.Waiting(); events != 3 || bytes != 3*one {
						t.Errorf("%d events of %d bytes wait, want 3 of %d", events, bytes, 3*one)
					}
					conn := &fake{}
					up(t, p, conn)
					synctest.Wait()
					want := []string{"1", "2", "3"}
					if mode == DropOldest {
						want = []string{"1", "4", "5"}
					}
					if got := conn.handled(t, "a"); !slices.Equal(got, want) {
						t.Errorf("handled %v, want %v", got, want)
					}
					expectStats(t, p, 5, 3, map[Reason]int64{ReasonLaneFull: 2})
				})
			})
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestEventLargerThanTheLaneIsDropped(t *testing.T) {
	t.Parallel()
	for _, mode := range []Overflow{DropNewest, DropOldest, Block} {
		synctest.Test(t, func(t *testing.T) {
			p := newProvider(t, Spec{Lane: LaneSpec{Bytes: 1000, Overflow: mode}}, &fake{})
			push(t, p, "a", 1)
			ev := NewEvent(ClientDisconnected, make([]byte, 1000))
			p.lane.push(t.Context(), &ev)
			synctest.Wait()
			expectStats(t, p, 2, 1, map[Reason]int64{ReasonLaneFull: 1})
		})
	}
}

// The oldest of another client makes room too, if the new one's has none.
func TestDropOldestTakesFromOtherClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Lane: LaneSpec{Events: 2, Overflow: DropOldest}}, nil)
		push(t, p, "a", 1)
		synctest.Wait()
		push(t, p, "a", 2)
		for n := range 50 { // in every shard
			push(t, p, fmt.Sprint("other", n), 1)
		}
		if events, _ := p.Waiting(); events != 2 {
			t.Errorf("%d events wait", events)
		}
		up(t, p, &fake{})
		synctest.Wait()
		expectStats(t, p, 52, 2, map[Reason]int64{ReasonLaneFull: 50})
	})
}

func TestBlockWaitsForRoomUntilTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Lane: LaneSpec{Events: 1, Overflow: Block}}, nil, wants(ClientDisconnected)...)
		p.wants = wants(ClientDisconnected)
		other := newProvider(t, Spec{}, &fake{}, wants(ClientDisconnected)...)
		m := newMux(Options{Timeout: time.Second}, p, other)
		m.Dispatch(t.Context(), event(t, "a", 1))
		start := time.Now()
		go func() {
			synctest.Wait()
			if n := other.Stats().Delivered.Load(); n != 2 {
				t.Errorf("the other provider has %d events, want 2: it waits for the first one's room", n)
			}
		}()
		m.Dispatch(t.Context(), event(t, "a", 2))
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s, want 1s", took)
		}
		time.AfterFunc(500*time.Millisecond, func() { up(t, p, &fake{}, wants(ClientDisconnected)...) })
		start = time.Now()
		m.Dispatch(t.Context(), event(t, "a", 3))
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("took %s, want 500ms", took)
		}
		synctest.Wait()
		expectStats(t, p, 3, 2, map[Reason]int64{ReasonLaneFull: 1})
	})
}

func TestCloseEndsTheWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Lane: LaneSpec{Events: 1, Overflow: Block}}, nil)
		push(t, p, "a", 1)
		done := make(chan struct{})
		go func() { defer close(done); push(t, p, "a", 2) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.Close(ctx)
		<-done
		expectStats(t, p, 2, 0, map[Reason]int64{ReasonShutdown: 2})
	})
}

// Whatever happens to a provider, each event is counted exactly once, none is
// handled twice, and those of a client that arrive do so in order.
func TestNothingIsLostUncounted(t *testing.T) {
	t.Parallel()
	for _, mode := range []Overflow{DropNewest, DropOldest, Block} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			const clients, each = 20, 200
			p := NewProvider(Spec{
				Name: "flapping", Timeout: time.Millisecond, Breaker: BreakerSpec{Failures: 3, Open: time.Millisecond},
				Lane: LaneSpec{Events: 50, Bytes: 40 * (eventOverhead + 20), Overflow: mode},
			}, quiet)
			m := newMux(Options{Timeout: 20 * time.Millisecond}, p)

			var mu sync.Mutex
			got := map[string][]string{}
			handle := func(req []byte) {
				r := unmarshal[exhookv3.ClientDisconnectedRequest](t, req)
				mu.Lock()
				defer mu.Unlock()
				got[r.Clientinfo.Clientid] = append(got[r.Clientinfo.Clientid], r.Reason)
			}
			stopFlapping := make(chan struct{})
			var flapping sync.WaitGroup
			flapping.Go(func() {
				for n := uint64(0); ; n++ {
					conn := &flaky{handle: handle, dead: make(chan struct{})}
					up(t, p, conn, wants(ClientDisconnected)...)
					select {
					case <-stopFlapping:
						return
					case <-time.After(time.Duration(n%3) * time.Millisecond):
					}
					close(conn.dead)
					p.Down()
				}
			})
			eventually(t, "up, and in the table", func() bool { return len(m.table.Load().routes[ClientDisconnected]) > 0 })
			var producers sync.WaitGroup
			for c := range clients {
				producers.Go(func() {
					for n := range each {
						m.Dispatch(context.Background(), event(t, fmt.Sprint("client", c), n))
					}
				})
			}
			producers.Wait()
			close(stopFlapping)
			flapping.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			p.Close(ctx)

			s := p.Stats()
			if s.Sent.Load() != clients*each || s.Delivered.Load()+s.DroppedTotal() != clients*each {
				t.Errorf("sent %d, delivered %d, dropped %d, of %d", s.Sent.Load(), s.Delivered.Load(), s.DroppedTotal(), clients*each)
			}
			if events, bytes := p.Waiting(); events != 0 || bytes != 0 {
				t.Errorf("%d events, %d bytes still wait", events, bytes)
			}
			for client, numbers := range got {
				last := -1
				for _, s := range numbers {
					var n int
					if _, err := fmt.Sscan(s, &n); err != nil || n <= last {
						t.Fatalf("%s: event %s after %d", client, s, last)
					}
					last = n
				}
			}
			t.Logf("delivered %d, dropped %d", s.Delivered.Load(), s.DroppedTotal())
		})
	}
}

// flaky is a connection that handles, fails, times out or panics, and dies.
type flaky struct {
	handle func(req []byte)
	dead   chan struct{}
}

func (f *flaky) Decide(context.Context, Hook, []byte) ([]byte, error) { return ignoreResponse, nil }

func (f *flaky) Notify(ctx context.Context, _ Hook, req []byte) error {
	select {
	case <-f.dead:
		return ErrNotSent
	default:
	}
	switch rand.IntN(40) {
	case 0:
		return errBoom
	case 1:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.dead:
			return ErrDown
		}
	case 2:
		panic("boom")
	}
	f.handle(req)
	return nil
}
