package mux

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// handled are the numbers of the client's events, in the order in which the
// connection got them.
func (f *fake) handled(t testing.TB, client string) (out []string) {
	t.Helper()
	for _, c := range f.calls() {
		if r := unmarshal[exhookv3.ClientDisconnectedRequest](t, c.req); r.Clientinfo.Clientid == client {
			out = append(out, r.Reason)
		}
	}
	return out
}

func numbers(from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

// expectStats compares a provider's counters, and that nothing is missing.
func expectStats(t testing.TB, p *Provider, sent, delivered int64, dropped map[Reason]int64) {
	t.Helper()
	s := p.Stats()
	if got := s.Sent.Load(); got != sent {
		t.Errorf("sent %d, want %d", got, sent)
	}
	if got := s.Delivered.Load(); got != delivered {
		t.Errorf("delivered %d, want %d", got, delivered)
	}
	for r := range Reason(numReasons) {
		if got := s.Dropped[r].Load(); got != dropped[r] {
			t.Errorf("dropped %d as %q, want %d", got, r, dropped[r])
		}
	}
	if events, bytes := p.Waiting(); events != 0 || bytes != 0 {
		t.Errorf("%d events of %d bytes still wait", events, bytes)
	}
}

func push(t testing.TB, p *Provider, client string, numbers ...int) {
	for _, n := range numbers {
		ev := event(t, client, n)
		p.lane.push(t.Context(), &ev)
	}
}

func TestLaneWaitsWhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{}, nil)
		push(t, p, "a", 1, 2, 3)
		push(t, p, "b", 1)
		time.Sleep(time.Hour)
		if events, bytes := p.Waiting(); events != 4 || bytes <= 4*eventOverhead {
			t.Errorf("%d events of %d bytes wait, want 4 of more", events, bytes)
		}
		conn := &fake{}
		up(t, p, conn)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 3)) {
			t.Errorf("a's events: %v", got)
		}
		expectStats(t, p, 4, 4, nil)
		// Down again, with a goroutine that waits, and up with another process.
		p.Down()
		push(t, p, "a", 4)
		synctest.Wait()
		again := &fake{}
		up(t, p, again)
		synctest.Wait()
		if got := again.handled(t, "a"); !slices.Equal(got, numbers(4, 4)) {
			t.Errorf("the new process got %v", got)
		}
		expectStats(t, p, 5, 5, nil)
	})
}

func TestLaneWaitsWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		conn := &fake{notify: func(context.Context, Hook, []byte) error {
			if works.Load() {
				return nil
			}
			return errBoom
		}}
		p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 3, Open: 10 * time.Second}}, conn)
		for n := 1; n <= 10; n++ {
			push(t, p, "a", n)
		}
		synctest.Wait()
		if p.Breaker(ClientDisconnected) != "open" || len(conn.calls()) != 3 {
			t.Fatalf("breaker %s after %d calls", p.Breaker(ClientDisconnected), len(conn.calls()))
		}
		time.Sleep(9 * time.Second)
		if len(conn.calls()) != 3 {
			t.Fatalf("%d calls while the breaker was open", len(conn.calls())-3)
		}
		works.Store(true)
		time.Sleep(3 * time.Second)
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 10)) {
			t.Errorf("handled %v", got)
		}
		expectStats(t, p, 10, 7, map[Reason]int64{ReasonError: 3})
	})
}

func TestNewProcessEndsTheWaitForTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 1, Open: time.Hour}}, fails(errBoom))
		push(t, p, "a", 1, 2)
		synctest.Wait()
		up(t, p, &fake{})
		synctest.Wait()
		expectStats(t, p, 2, 1, map[Reason]int64{ReasonError: 1})
	})
}

// Lost is only what was under way when the provider crashed; what had not been
// sent yet, and all behind it, goes to the next process in order.
func TestCrashLosesOnlyWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		crashed := make(chan struct{})
		first := &fake{notify: func(ctx context.Context, _ Hook, _ []byte) error {
			select {
			case <-crashed:
				return ErrNotSent
			default:
			}
			select {
			case <-crashed:
				return ErrDown
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		p := newProvider(t, Spec{}, first)
		push(t, p, "a", 1, 2, 3)
		synctest.Wait()
		close(crashed)
		time.Sleep(time.Minute) // the host has not noticed
		if n := len(first.calls()); n != 2 {
			t.Errorf("%d calls, want the one that was lost and one that was not sent", n)
		}
		p.Down()
		time.Sleep(time.Minute)
		second := &fake{}
		up(t, p, second)
		synctest.Wait()
		if got := second.handled(t, "a"); !slices.Equal(got, numbers(2, 3)) {
			t.Errorf("the next process got %v", got)
		}
		expectStats(t, p, 3, 2, map[Reason]int64{ReasonDown: 1})
	})
}

func TestFailedNotificationIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		conn   *fake
		reason Reason
	}{
		{fails(errBoom), ReasonError},
		{fails(ErrDown), ReasonDown},
		{hangs(), ReasonTimeout},
		{&fake{notify: func(context.Context, Hook, []byte) error { panic("boom") }}, ReasonError},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProvider(t, Spec{Timeout: time.Second}, tt.conn)
			push(t, p, "a", 1, 2)
			time.Sleep(3 * time.Second)
			if n := len(tt.conn.calls()); n != 2 {
				t.Errorf("%s: %d calls for 2 events", tt.reason, n)
			}
			expectStats(t, p, 2, 0, map[Reason]int64{tt.reason: 2})
		})
	}
}

func TestCloseDeliversThenCountsTheRest(t *testing.T) {
	t.Parallel()
	t.Run("all in time", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			conn := &fake{notify: func(context.Context, Hook, []byte) error { time.Sleep(time.Second); return nil }}
			p := newProvider(t, Spec{}, conn)
			push(t, p, "a", 1, 2, 3)
			start := time.Now()
			p.Close(t.Context())
			if took := time.Since(start); took != 3*time.Second {
				t.Errorf("took %s", took)
			}
			expectStats(t, p, 3, 3, nil)
			push(t, p, "a", 4)
			expectStats(t, p, 4, 3, map[Reason]int64{ReasonShutdown: 1})
			p.Close(t.Context()) // again does nothing
		})
	})
	t.Run("not all in time", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			conn := &fake{notify: func(ctx context.Context, _ Hook, _ []byte) error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}}
			p := newProvider(t, Spec{}, conn)
			push(t, p, "a", 1, 2, 3, 4, 5)
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			p.Close(ctx)
			expectStats(t, p, 5, 2, map[Reason]int64{ReasonShutdown: 3})
			if n := len(conn.calls()); n != 3 {
				t.Errorf("%d calls: what waited was sent although nobody waited for it", n)
			}
		})
	})
	t.Run("while down", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := newProvider(t, Spec{}, nil)
			push(t, p, "a", 1, 2)
			push(t, p, "b", 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p.Close(ctx)
			expectStats(t, p, 3, 0, map[Reason]int64{ReasonShutdown: 3})
		})
	})
	t.Run("with the breaker open, and not sent", func(t *testing.T) {
		t.Parallel()
		for _, err := range []error{errBoom, ErrNotSent} {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 1, Open: time.Hour}}, fails(err))
				push(t, p, "a", 1, 2)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				p.Close(ctx)
				s := p.Stats()
				if s.Sent.Load() != 2 || s.DroppedTotal() != 2 || s.Dropped[ReasonShutdown].Load() == 0 {
					t.Errorf("sent %d, dropped %d, at shutdown %d", s.Sent.Load(), s.DroppedTotal(), s.Dropped[ReasonShutdown].Load())
				}
			})
		}
	})
}

// An idle lane costs no goroutine: goleak would find one, and so does this.
func TestIdleLaneHasNoGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewProvider(Spec{Name: "never closed"}, quiet)
		up(t, p, &fake{})
		for c := range 100 {
			push(t, p, fmt.Sprint(c), 1)
		}
		synctest.Wait()
		// The bubble would not end with a goroutine of the lane in it.
	})
}
