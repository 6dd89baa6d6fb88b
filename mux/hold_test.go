package mux

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What waits when the provider is held is delivered; what comes then waits until it
// is released, in order.
func TestHoldDeliversWhatWaitedAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &fake{notify: func(context.Context, Hook, []byte) error { time.Sleep(time.Second); return nil }}
		p := newProvider(t, Spec{Timeout: time.Minute}, slow)
		push(t, p, "a", 1, 2, 3)
		p.Hold()
		if !p.Held() {
			t.Error("it is not held")
		}
		push(t, p, "a", 4, 5)
		start := time.Now()
		if err := p.AwaitDelivered(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("delivered after %s", took)
		}
		if got := slow.handled(t, "a"); !slices.Equal(got, numbers(1, 3)) {
			t.Errorf("a's events: %v", got)
		}
		p.Down()
		time.Sleep(time.Hour)
		if events, _ := p.Waiting(); events != 2 {
			t.Errorf("%d events wait", events)
		}
		p.Release()
		push(t, p, "a", 6)
		conn := &fake{}
		up(t, p, conn)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(4, 6)) {
			t.Errorf("a's events: %v", got)
		}
		expectStats(t, p, 6, 6, nil)
	})
}

// A provider that hangs does not let its lane be delivered; who waits for it can
// give up.
func TestHoldOfAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Lane: LaneSpec{Events: 3, Overflow: DropOldest}}, nil)
		push(t, p, "a", 1)
		p.Hold()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.AwaitDelivered(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error: %v", err)
		}
		// The lane keeps its bounds: the oldest go, but for 1, which is about to be sent.
		push(t, p, "a", 2, 3, 4, 5)
		p.Release()
		conn := &fake{}
		up(t, p, conn)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, []string{"1", "4", "5"}) {
			t.Errorf("a's events: %v", got)
		}
		expectStats(t, p, 5, 3, map[Reason]int64{ReasonLaneFull: 2})
	})
}

// What is under way when the provider is paused comes to its end, and what waits waits on.
func TestPauseLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &fake{notify: func(context.Context, Hook, []byte) error { time.Sleep(time.Second); return nil }}
		p := newProvider(t, Spec{Timeout: time.Minute}, slow)
		push(t, p, "a", 1, 2, 3)
		synctest.Wait()
		p.Hold()
		p.Pause()
		push(t, p, "a", 4)
		start := time.Now()
		if err := p.AwaitIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Second || took > time.Second+lookEvery {
			t.Errorf("idle after %s", took)
		}
		time.Sleep(time.Hour)
		if got := slow.handled(t, "a"); !slices.Equal(got, numbers(1, 1)) {
			t.Errorf("a's events: %v", got)
		}
		p.Down()
		conn := &fake{}
		up(t, p, conn)
		time.Sleep(time.Hour)
		if got := conn.handled(t, "a"); got != nil {
			t.Errorf("a's events: %v", got)
		}
		p.Release()
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(2, 4)) {
			t.Errorf("a's events: %v", got)
		}
		expectStats(t, p, 4, 4, nil)
		// Who hangs is not waited for for ever.
		hung := newProvider(t, Spec{Timeout: time.Hour}, hangs())
		push(t, hung, "a", 1)
		synctest.Wait()
		hung.Hold()
		hung.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := hung.AwaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error: %v", err)
		}
	})
}

// What is held when hookmux stops is counted.
func TestCloseOfAHeldProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{}, &fake{})
		p.Hold()
		push(t, p, "a", 1, 2)
		p.Close(t.Context())
		push(t, p, "a", 3)
		p.Release()
		expectStats(t, p, 3, 0, map[Reason]int64{ReasonShutdown: 3})
	})
}

// With a connection or without one, under its Spec or another: who is held decides
// nothing, and lets nothing pass that its failure policy does not.
func TestHeldProviderFollowsItsFailurePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, end := make(chan struct{}), make(chan struct{})
		conn := &fake{decide: func(context.Context, Hook, []byte) ([]byte, error) {
			begun <- struct{}{}
			<-end
			return boolAnswer(cont, true), nil
		}}
		p := newProvider(t, Spec{Name: "p"}, conn, wants(ClientAuthenticate)...)
		rec := new(recorder)
		var said []string
		rec.decided = func(d *Decision) { said = append(said, say(d)...) }
		m := newMux(Options{Recorder: rec}, p)
		ask := func() { m.Dispatch(t.Context(), NewEvent(ClientAuthenticate, marshal(t, authenticate("c", true)))) }
		go ask()
		<-begun
		p.Hold()
		idle := make(chan error)
		go func() { idle <- p.AwaitIdle(t.Context()) }()
		synctest.Wait()
		select {
		case <-idle:
			t.Error("a decision was under way")
		default:
		}
		close(end) // the one under way is still heard
		if err := <-idle; err != nil {
			t.Error(err)
		}
		ask()
		next := p.With(Spec{Timeout: time.Second})
		m.SetProviders([]*Provider{next})
		ask()
		next.Down()
		ask()
		next.Release()
		synctest.Wait()
		want := []string{
			`allow of "c" by "p", final false`, "p allow in 0s",
			`deny of "c" by "p, which did not answer", final true`, "p none in 0s, down (an operator has disabled it): deny",
			`deny of "c" by "p, which did not answer", final true`, "p none in 0s, down (an operator has disabled it): deny",
			`deny of "c" by "p, which did not answer", final true`, "p none in 0s, down (an operator has disabled it): deny",
		}
		if !slices.Equal(said, want) {
			t.Errorf("got  %q\nwant %q", said, want)
		}
	})
}
