package mux

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// A client whose events take long has its own wait, also when it has more of them than there is
// memory for.
func TestDurableSlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var slow, other atomic.Int64
		conn := &fake{}
		conn.notify = func(ctx context.Context, _ Hook, req []byte) error {
			if client, _ := number(t, req); client == "other" {
				other.Add(1)
				return nil
			}
			time.Sleep(100 * time.Millisecond)
			slow.Add(1)
			return ctx.Err()
		}
		m, p := durably(t, &s, Spec{}, conn, wants(ClientDisconnected)...)
		const events = 3 * durableLoaded
		for i := range events {
			tell(t, m, "slow", i)
		}
		tell(t, m, "other", 1)
		time.Sleep(3 * time.Second)
		if other.Load() != 1 {
			t.Errorf("another client's event waits, with %d of %d handled", slow.Load(), events)
		}
		d := p.durable.Load()
		d.mu.Lock()
		if d.loaded > durableLoaded {
			t.Errorf("%d events are in memory", d.loaded)
		}
		d.mu.Unlock()
		time.Sleep(events * 100 * time.Millisecond)
		if slow.Load() != events || s.store("p").left() != 0 {
			t.Errorf("%d of %d events handled, %d are left", slow.Load(), events, s.store("p").left())
		}
	})
}

// Of many clients that failed, only as many events are loaded for their next try as can be under way.
func TestDurableLoadsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		var hang, well atomic.Bool
		conn := &fake{}
		conn.notify = func(ctx context.Context, _ Hook, _ []byte) error {
			switch {
			case hang.Load():
				<-ctx.Done()
				return ctx.Err()
			case well.Load():
				return nil
			}
			return fmt.Errorf("%w: no", ErrAnswered)
		}
		m, p := durably(t, &s, Spec{Timeout: time.Hour, Durable: DurableSpec{Tries: 1000}}, conn, wants(ClientDisconnected)...)
		for i := range 2 * durableLoaded {
			tell(t, m, fmt.Sprint("c", i), 1)
		}
		synctest.Wait()
		hang.Store(true)
		time.Sleep(3 * time.Minute)
		d := p.durable.Load()
		d.mu.Lock()
		if d.loaded > durableWindow || len(d.flights) != durableCalls {
			t.Errorf("%d events are loaded, %d are under way", d.loaded, len(d.flights))
		}
		d.mu.Unlock()
		hang.Store(false)
		well.Store(true)
		time.Sleep(time.Hour + 3*time.Minute)
		if n := s.store("p").left(); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// After a crash with many events under way each of them is tried alone, and others do not wait for all.
func TestDurableSuspectsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		m, p := durably(t, &s, Spec{}, &fakeStream{}, wants(ClientDisconnected)...)
		for i := range durableWindow {
			tell(t, m, fmt.Sprint("c", i), 1)
		}
		synctest.Wait()
		p.Down()
		conn := &fakeStream{}
		up(t, p, conn, wants(ClientDisconnected)...)
		tell(t, m, "new", 1)
		start := time.Now()
		for len(conn.handled(t, "new")) == 0 && time.Since(start) < time.Minute {
			synctest.Wait()
			time.Sleep(100 * time.Millisecond) // what an event takes
			conn.replyToAll(nil)
			synctest.Wait()
		}
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("an event of another client waited for %s", waited)
		}
		for conn.replyToAll(nil) > 0 {
			synctest.Wait()
		}
		expectStats(t, p, durableWindow+1, durableWindow+1, nil)
	})
}

// fullStream has room for nothing.
type fullStream struct {
	fakeStream

	posts atomic.Int64
}

func (c *fullStream) Post(uint64, Hook, []byte, []byte, string, time.Duration) error {
	c.posts.Add(1)
	return ErrNoRoom
}

// A stream that has no room is asked again after a pause.
func TestDurableNoRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := new(fullStream)
		m, _ := durably(t, &s, Spec{}, conn, wants(ClientDisconnected)...)
		tell(t, m, "a", 1)
		time.Sleep(time.Second)
		if n := conn.posts.Load(); n < 2 || n > int64(time.Second/windowRetry)+1 {
			t.Errorf("asked %d times in a second", n)
		}
	})
}

// A provider that uses up its time does not have a message refused that there was time to store.
func TestDurableStoreHasItsShareOfTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s memSpool
		conn := &fake{decide: func(ctx context.Context, _ Hook, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		slow := newProvider(t, Spec{Name: "slow", Timeout: time.Minute, OnFailure: [NumHooks]Policies{MessagePublish: Always(Ignore)}}, conn, wants(MessagePublish)...)
		archive := newProvider(t, Spec{Name: "archive", Observe: true, Delivery: By(Durable)}, nil)
		m := newMux(Options{Spool: &s, Timeout: 4 * time.Second}, slow, archive)
		up(t, archive, &fake{}, wants(MessagePublish)...)
		begin := time.Now()
		msg := &exhookv3.Message{From: "c", Topic: "a", Payload: []byte("x"), Qos: 1}
		resp := m.Dispatch(t.Context(), NewEvent(MessagePublish, marshal(t, &exhookv3.MessagePublishRequest{Message: msg})))
		if a, err := parseAnswer(MessagePublish, resp); err != nil || a.typ != typeIgnore {
			t.Errorf("answer %v %v", a, err)
		}
		if took := time.Since(begin); took < 3*time.Second || took >= 4*time.Second {
			t.Errorf("it took %s", took)
		}
		if n := len(s.store("archive").events); n != 1 {
			t.Errorf("%d are stored", n)
		}
	})
}
