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

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// durably is a Mux with one provider to which all is delivered durably.
func durably(t *testing.T, s *memSpool, spec Spec, conn Conn, wants ...HookSpec) (*Mux, *Provider) {
	t.Helper()
	spec.Name, spec.Delivery = "p", By(Durable)
	p := newProvider(t, spec, nil)
	m := newMux(Options{Spool: s}, p)
	if conn != nil {
		up(t, p, conn, wants...)
	} else {
		p.Assume(wants)
	}
	return m, p
}

func tell(t *testing.T, m *Mux, client string, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if got := m.Dispatch(t.Context(), event(t, client, n)); len(got) != 0 {
			t.Fatalf("answer %x", got)
		}
	}
}

func number(t testing.TB, req []byte) (client, n string) {
	t.Helper()
	r := unmarshal[exhookv3.ClientDisconnectedRequest](t, req)
	return r.Clientinfo.Clientid, r.Reason
}

func TestDurableIsStoredThenDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var ids sync.Map
		conn := &fake{}
		conn.notify = func(ctx context.Context, _ Hook, req []byte) error {
			_, n := number(t, req)
			ids.Store(n, EventID(ctx))
			return nil
		}
		m, p := durably(t, &s, Spec{}, nil)
		up(t, p, &fake{}, wants(ClientDisconnected)...)
		p.Down()
		tell(t, m, "a", 1, 2)
		tell(t, m, "b", 3)
		time.Sleep(time.Hour)
		if n := s.store("p").left(); n != 3 {
			t.Fatalf("%d events are stored while the provider is down", n)
		}
		up(t, p, conn, wants(ClientDisconnected)...)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 2)) {
			t.Errorf("a's events: %v", got)
		}
		if id, _ := ids.Load("3"); id != "id-3" {
			t.Errorf("event 3 came with the id %v", id)
		}
		if n := s.store("p").left(); n != 0 {
			t.Errorf("%d events are still stored", n)
		}
		expectStats(t, p, 3, 3, nil)
	})
}

// One client's failing event holds up its later ones, and nobody else's.
func TestDurableFailureHoldsUpItsClientAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := new(fakeStream)
		m, p := durably(t, &s, Spec{Durable: DurableSpec{Tries: 100}}, conn, wants(ClientDisconnected)...)
		tell(t, m, "a", 1, 2, 3)
		tell(t, m, "b", 1, 2)
		synctest.Wait()
		posted := func(client string) []string { return conn.handled(t, client) }
		if !slices.Equal(posted("a"), numbers(1, 1)) || !slices.Equal(posted("b"), numbers(1, 1)) {
			t.Fatalf("posted %v and %v, want the first of each", posted("a"), posted("b"))
		}
		conn.mu.Lock()
		first := conn.calls()[0]
		conn.ids = nil
		conn.mu.Unlock()
		a, b := uint64(1), uint64(2)
		if client, _ := number(t, first.req); client == "b" {
			a, b = b, a
		}
		conn.replied(a, fmt.Errorf("%w: no", ErrAnswered))
		conn.replied(b, nil)
		synctest.Wait()
		if !slices.Equal(posted("b"), numbers(1, 2)) {
			t.Errorf("b's events: %v", posted("b"))
		}
		conn.replyToAll(nil)
		time.Sleep(time.Second)
		if got := posted("a"); !slices.Equal(got, []string{"1", "1"}) {
			t.Errorf("a's events: %v, want the first once more", got)
		}
		for range 5 {
			conn.replyToAll(nil)
			synctest.Wait()
		}
		if got := posted("a"); !slices.Equal(got, []string{"1", "1", "2", "3"}) {
			t.Errorf("a's events: %v", got)
		}
		if s.store("p").loads == 0 {
			t.Error("what waits behind a failure is kept in memory")
		}
		expectStats(t, p, 5, 5, nil)
	})
}

// An event's tries grow apart, and in the end it is a dead letter.
func TestDurableDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var at []time.Time
		conn := &fake{}
		conn.notify = func(_ context.Context, _ Hook, req []byte) error {
			if _, n := number(t, req); n == "2" {
				return nil
			}
			at = append(at, time.Now())
			return fmt.Errorf("%w: disk on fire", ErrAnswered)
		}
		m, p := durably(t, &s, Spec{Durable: DurableSpec{Tries: 6}}, conn, wants(ClientDisconnected)...)
		s.store("p").set(nil, false)
		tell(t, m, "a", 1, 2)
		time.Sleep(time.Hour)
		q := s.store("p")
		if len(at) != 6 || len(q.buried) != 1 || q.buried[0].ID != "id-1" || q.deaths[0].Tries != 6 || q.deaths[0].Error != "the provider answered with an error: disk on fire" {
			t.Fatalf("%d tries, buried %v %v", len(at), q.buried, q.deaths)
		}
		for i := 2; i < len(at); i++ {
			base := firstBackoff << (i - 1)
			if d := at[i].Sub(at[i-1]); d < base/2 || d > base*3/2 {
				t.Errorf("%s before try %d", d, i+1)
			}
		}
		expectStats(t, p, 2, 1, map[Reason]int64{ReasonDeadLetter: 1})
	})
}

// A dead letter that cannot be stored is not lost.
func TestDurableDeadLetterThatCannotBeStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		m, p := durably(t, &s, Spec{Durable: DurableSpec{Tries: 1}}, fails(fmt.Errorf("%w: no", ErrAnswered)), wants(ClientDisconnected)...)
		tell(t, m, "a", 1)
		s.store("p").set(ErrStoreFull, false)
		time.Sleep(time.Hour)
		if n := s.store("p").left(); n != 1 {
			t.Fatalf("%d events are stored", n)
		}
		s.store("p").set(nil, false)
		time.Sleep(2 * time.Minute)
		expectStats(t, p, 1, 0, map[Reason]int64{ReasonDeadLetter: 1})
	})
}

// open is how many events have no reply.
func (f *fakeStream) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// A crash is no try of what was under way together; alone it is.
func TestDurableCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		m, p := durably(t, &s, Spec{Timeout: 24 * time.Hour, Durable: DurableSpec{Tries: 3}}, nil)
		conn := new(fakeStream)
		up(t, p, conn, wants(ClientDisconnected)...)
		for _, c := range []string{"a", "b", "killer", "d"} {
			tell(t, m, c, 1, 2)
		}
		synctest.Wait()
		if n := len(conn.calls()); n != 4 {
			t.Fatalf("%d events are under way, want one of each client", n)
		}
		crashes := 0
		for p.Down(); crashes < 10; {
			conn = new(fakeStream)
			up(t, p, conn, wants(ClientDisconnected)...)
			synctest.Wait()
			crashed := false
			for !crashed {
				calls := conn.calls()
				if len(calls) == 0 || conn.open() == 0 {
					time.Sleep(time.Minute) // the killer waits for its next try, or all is done
					synctest.Wait()
					if conn.open() == 0 {
						break
					}
				}
				calls = conn.calls()
				client, n := number(t, calls[len(calls)-1].req)
				if conn.open() > 1 {
					// Not all are suspects any more.
					for _, c := range calls[len(calls)-conn.open():] {
						if client, n := number(t, c.req); client == "killer" && n == "1" {
							t.Error("the killer is under way with others")
						}
					}
				}
				if client == "killer" && n == "1" {
					crashed = true
					crashes++
					p.Down()
				} else {
					conn.replyToAll(nil)
					synctest.Wait()
				}
			}
			if !crashed {
				break
			}
		}
		if crashes != 3 {
			t.Errorf("%d crashes by one event alone, want 3", crashes)
		}
		expectStats(t, p, 8, 7, map[Reason]int64{ReasonDeadLetter: 1})
	})
}

// The next hookmux delivers what the last one did not see handled, in order, with the
// same ids.
func TestDurableOutlivesHookmux(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := new(fakeStream)
		m, p := durably(t, &s, Spec{}, conn, wants(ClientDisconnected)...)
		tell(t, m, "a", 1, 2, 3)
		synctest.Wait()
		conn.replyToAll(nil)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 2)) {
			t.Fatalf("posted %v", got)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		p.Close(gone)
		again := &fake{}
		m, _ = durably(t, &s, Spec{}, again, wants(ClientDisconnected)...)
		tell(t, m, "a", 4)
		synctest.Wait()
		if got := again.handled(t, "a"); !slices.Equal(got, numbers(2, 4)) {
			t.Errorf("the next hookmux delivered %v", got)
		}
	})
}

func TestDurableTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := new(fakeStream)
		m, p := durably(t, &s, Spec{Timeout: time.Second, Durable: DurableSpec{Tries: 2}, Breaker: BreakerSpec{Failures: 100}}, conn, wants(ClientDisconnected)...)
		tell(t, m, "a", 1, 2)
		time.Sleep(10 * time.Second)
		if got := conn.handled(t, "a"); !slices.Equal(got, []string{"1", "1", "2", "2"}) {
			t.Errorf("posted %v", got)
		}
		conn.mu.Lock()
		canceled := len(conn.canceled)
		conn.mu.Unlock()
		if canceled != 4 {
			t.Errorf("%d canceled", canceled)
		}
		expectStats(t, p, 2, 0, map[Reason]int64{ReasonDeadLetter: 2})
		conn.replied(1, nil)
		if p.Stats().Late.Load() != 1 {
			t.Error("the late reply is not counted")
		}
	})
}

// A store that fails, is full or hangs loses a notification, in time and counted.
func TestDurableNotStored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fail   error
		hang   bool
		reason Reason
	}{{errBoom, false, ReasonStoreFailed}, {ErrStoreFull, false, ReasonStoreFull}, {nil, true, ReasonStoreFailed}} {
		synctest.Test(t, func(t *testing.T) {
			var s memSpool
			m, p := durably(t, &s, Spec{}, &fake{}, wants(ClientDisconnected)...)
			s.store("p").set(tt.fail, tt.hang)
			start := time.Now()
			tell(t, m, "a", 1)
			if took := time.Since(start); took > DefaultEventTimeout {
				t.Errorf("the broker waited %s", took)
			}
			expectStats(t, p, 1, 0, map[Reason]int64{tt.reason: 1})
		})
	}
}

func TestDurableWithoutAStore(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Spec{Delivery: By(Durable)}, &fake{}, wants(ClientDisconnected)...)
	tell(t, newMux(Options{}, p), "a", 1)
	expectStats(t, p, 1, 0, map[Reason]int64{ReasonStoreFailed: 1})
}

func TestDurableAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		m, p := durably(t, &s, Spec{Durable: DurableSpec{Age: time.Hour}}, nil)
		up(t, p, &fake{}, wants(ClientDisconnected)...)
		p.Down()
		tell(t, m, "a", 1, 2)
		time.Sleep(30 * time.Minute)
		tell(t, m, "a", 3)
		time.Sleep(31 * time.Minute)
		expectLeft := func(n int) {
			t.Helper()
			if got := s.store("p").left(); got != n {
				t.Errorf("%d events are stored, want %d", got, n)
			}
		}
		expectLeft(1)
		conn := &fake{}
		up(t, p, conn, wants(ClientDisconnected)...)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(3, 3)) {
			t.Errorf("handled %v", got)
		}
		expectLeft(0)
		expectStats(t, p, 3, 1, map[Reason]int64{ReasonExpired: 2})
	})
}

// A held provider gets nothing that is stored until it is released.
func TestDurableHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := &fake{}
		m, p := durably(t, &s, Spec{}, conn, wants(ClientDisconnected)...)
		p.Hold()
		tell(t, m, "a", 1)
		time.Sleep(time.Minute)
		if n := len(conn.calls()); n != 0 {
			t.Errorf("%d calls of a held provider", n)
		}
		if err := p.AwaitDelivered(t.Context()); err != nil {
			t.Error(err)
		}
		p.Release()
		synctest.Wait()
		expectStats(t, p, 1, 1, nil)
	})
}

// A connection that another takes over from comes to its end, and no client's events
// overtake each other.
func TestDurableTakeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		first, second := new(fakeStream), new(fakeStream)
		m, p := durably(t, &s, Spec{}, first, wants(ClientDisconnected)...)
		tell(t, m, "a", 1, 2)
		tell(t, m, "b", 1)
		synctest.Wait()
		old := p.link.Load().Link
		next := p.With(Spec{Delivery: By(Durable)})
		if err := next.StartWith(next.NewLink(second, wants(ClientDisconnected))); err != nil {
			t.Fatal(err)
		}
		m.SetProviders([]*Provider{next})
		tell(t, m, "b", 2)
		synctest.Wait()
		if n := len(second.calls()); n != 0 {
			t.Errorf("%d events overtook those on the old connection", n)
		}
		select {
		case <-old.Settled():
			t.Error("the old connection is let go with events under way")
		default:
		}
		first.replyToAll(nil)
		synctest.Wait()
		<-old.Settled()
		if a, b := second.handled(t, "a"), second.handled(t, "b"); !slices.Equal(a, numbers(2, 2)) || !slices.Equal(b, numbers(2, 2)) {
			t.Errorf("the new connection got %v and %v", a, b)
		}
		second.replyToAll(nil)
		synctest.Wait()
		expectStats(t, p, 4, 4, nil)
	})
}

// While an event of one client is not handled, the memory for all others does not run out.
func TestDurableManyBehindAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := &fake{}
		var works atomic.Bool
		conn.notify = func(_ context.Context, _ Hook, req []byte) error {
			if client, _ := number(t, req); client == "stuck" && !works.Load() {
				return fmt.Errorf("%w: no", ErrAnswered)
			}
			return nil
		}
		m, p := durably(t, &s, Spec{Durable: DurableSpec{Tries: 1000}}, conn, wants(ClientDisconnected)...)
		const many = 2 * durableLoaded
		for n := range many {
			tell(t, m, "stuck", n)
		}
		tell(t, m, "b", 1)
		time.Sleep(time.Second)
		if got := conn.handled(t, "b"); len(got) != 1 {
			t.Fatalf("b's events: %v", got)
		}
		works.Store(true)
		time.Sleep(2 * time.Minute)
		expectStats(t, p, many+1, many+1, nil)
	})
}

// What a Recorder is told of a delivery is of the event that it was told of, and when it
// was sent.
func TestDurableDeliveryIsRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var told time.Time
		var got []Notification
		rec := &recorder{
			answered: func(ev *Event, _ time.Duration) { told = ev.Told() },
			notified: func(n *Notification) { got = append(got, *n) },
		}
		p := newProvider(t, Spec{Name: "p", Delivery: By(Durable), Timeout: time.Minute}, nil)
		p.Assume(wants(ClientDisconnected))
		m := newMux(Options{Spool: &s, Recorder: rec}, p)
		tell(t, m, "a", 1)
		time.Sleep(time.Hour)
		conn := &fake{}
		conn.notify = func(context.Context, Hook, []byte) error { time.Sleep(time.Second); return nil }
		up(t, p, conn, wants(ClientDisconnected)...)
		time.Sleep(time.Minute)
		rec.mu.Lock()
		defer rec.mu.Unlock()
		if len(got) != 1 || !got[0].Start.Equal(told) || !got[0].Event.Told().Equal(told) || got[0].Waited != time.Hour || got[0].Took != time.Hour+time.Second {
			t.Errorf("told at %v, recorded %+v", told, got)
		}
	})
}
