package mux

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// While what the provider needs is away, its events wait, however long; then they come in order,
// and those of all clients at once. What fails for another reason is a dead letter all the same.
func TestDurableUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var away atomic.Bool
		var tries atomic.Int64
		var mu sync.Mutex
		var got []string
		var times []time.Time
		conn := &fake{}
		conn.notify = func(_ context.Context, _ Hook, req []byte) error {
			client, n := number(t, req)
			switch {
			case client == "poisoned":
				return fmt.Errorf("%w: it is wrong", ErrAnswered)
			case away.Load():
				tries.Add(1)
				return fmt.Errorf("%w: %w: connection refused", ErrAnswered, ErrUnavailable)
			}
			mu.Lock()
			defer mu.Unlock()
			got, times = append(got, client+n), append(times, time.Now())
			return nil
		}
		m, p := durably(t, &s, Spec{Concurrency: 1, Durable: DurableSpec{Tries: 3}}, conn, wants(ClientDisconnected)...)
		away.Store(true)
		tell(t, m, "poisoned", 1)
		for _, client := range []string{"a", "b", "c"} {
			tell(t, m, client, 1, 2)
		}
		const outage = 10 * time.Hour
		time.Sleep(outage)
		q := s.store("p")
		mu.Lock()
		if len(got) != 0 || len(q.buried) != 1 || q.buried[0].ID != "id-1" {
			t.Fatalf("handled %v, dead %v", got, q.buried)
		}
		if n, most := tries.Load(), 3*int64(outage/(maxBackoff/2))+30; n > most || n < most/5 {
			t.Errorf("%d tries in %s, at most %d", n, outage, most)
		}
		mu.Unlock()
		away.Store(false)
		time.Sleep(2 * maxBackoff)
		mu.Lock()
		defer mu.Unlock()
		for _, client := range []string{"a", "b", "c"} {
			if one, two := slices.Index(got, client+"1"), slices.Index(got, client+"2"); one < 0 || one > two {
				t.Errorf("client %s: handled %v", client, got)
			}
		}
		if len(got) != 6 || s.store("p").left() != 0 {
			t.Errorf("handled %v, %d are left", got, s.store("p").left())
		}
		if took := times[len(times)-1].Sub(times[0]); took > time.Second {
			t.Errorf("the last came %s after the first", took)
		}
		expectStats(t, p, 7, 6, map[Reason]int64{ReasonDeadLetter: 1})
	})
}

// A new connection may be one to a plugin that finds what it needs: nobody waits for the end of a pause.
func TestDurableUnavailableUntilReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		m, p := durably(t, &s, Spec{}, fails(fmt.Errorf("%w: %w", ErrAnswered, ErrUnavailable)), wants(ClientDisconnected)...)
		tell(t, m, "a", 1)
		time.Sleep(time.Hour)
		expectStats(t, p, 1, 0, nil)
		up(t, p, &fake{}, wants(ClientDisconnected)...)
		synctest.Wait()
		expectStats(t, p, 1, 1, nil)
	})
}
