package mux

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

var errBoom = errors.New("boom")

// takes is a connection that answers a decision after d.
func takes(d time.Duration, answer []byte) *fake {
	return &fake{decide: func(ctx context.Context, _ Hook, _ []byte) ([]byte, error) {
		select {
		case <-time.After(d):
			return answer, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func TestAnswerIsThereBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		broker         time.Duration // its grpc-timeout, 0: none
		event, a, b    time.Duration // configured timeouts
		took           time.Duration
		missingAtFirst Reason
	}{
		{name: "the provider's timeout is the smallest", broker: 5 * time.Second, a: time.Second, b: time.Second, took: 2 * time.Second},
		{name: "the event's timeout is the smallest", broker: 5 * time.Second, event: 1500 * time.Millisecond, a: time.Second, b: time.Second, took: 1500 * time.Millisecond},
		{name: "the broker's is, less a twentieth", broker: 3 * time.Second, event: 10 * time.Second, a: 9 * time.Second, b: time.Second, took: 2850 * time.Millisecond},
		{name: "the broker's is, less a twentieth", broker: time.Second, a: 2 * time.Second, b: time.Second, took: 950 * time.Millisecond},
		{name: "the broker's is, less 2 ms", broker: 10 * time.Millisecond, a: 2 * time.Second, b: time.Second, took: 8 * time.Millisecond},
		{name: "no broker's: 4 s by default", a: 9 * time.Second, b: time.Second, took: 4 * time.Second},
		{name: "2 s for each provider by default", broker: 5 * time.Second, took: 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				spec := Spec{Timeout: tt.a}
				spec.OnFailure[ClientAuthenticate] = Always(Ignore)
				first := newProvider(t, spec, hangs(), wants(ClientAuthenticate)...)
				spec.Timeout = tt.b
				second := newProvider(t, spec, hangs(), wants(ClientAuthenticate)...)
				m := newMux(Options{Timeout: tt.event}, first, second)
				ctx := t.Context()
				if tt.broker != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.broker)
					defer cancel()
				}
				start := time.Now()
				got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(ctx, question(t, ClientAuthenticate)))
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if got.Type != ignore || ctx.Err() != nil {
					t.Errorf("answer %v, context %v", got, ctx.Err())
				}
			})
		})
	}
}

// What an earlier provider used up is not held against the next one.
func TestSharedDeadlineIsNotHeldAgainstTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spec := Spec{Timeout: 2 * time.Second, Breaker: BreakerSpec{Failures: 2}}
		spec.OnFailure[ClientAuthenticate] = Always(Ignore)
		slow := newProvider(t, spec, takes(1900*time.Millisecond, ignoreResponse), wants(ClientAuthenticate)...)
		next := newProvider(t, spec, takes(300*time.Millisecond, ignoreResponse), wants(ClientAuthenticate)...)
		m := newMux(Options{Timeout: 2 * time.Second}, slow, next)
		for range 10 {
			m.Dispatch(t.Context(), question(t, ClientAuthenticate))
		}
		if state := next.Breaker(ClientAuthenticate); state != "closed" {
			t.Errorf("the next one's breaker is %s", state)
		}
		if n := next.Stats().Missing[ReasonTimeout].Load(); n != 10 {
			t.Errorf("the next one timed out %d times, want 10", n)
		}
		// Its own slowness is.
		m.SetProviders([]*Provider{newProvider(t, spec, nil), next})
		up(t, next, hangs(), wants(ClientAuthenticate)...)
		for range 2 {
			m.Dispatch(t.Context(), question(t, ClientAuthenticate))
		}
		if state := next.Breaker(ClientAuthenticate); state != "open" {
			t.Errorf("after two timeouts of its own the breaker is %s", state)
		}
	})
}

// A broker in a hurry opens no breaker for those that are not; one that leaves
// the provider a fair part of its timeout does.
func TestBrokerInAHurryOpensNoBreaker(t *testing.T) {
	t.Parallel()
	for patience, want := range map[time.Duration]string{400 * time.Millisecond: "closed", time.Second: "open"} {
		synctest.Test(t, func(t *testing.T) {
			p := newProvider(t, Spec{Timeout: 2 * time.Second, Breaker: BreakerSpec{Failures: 2}}, hangs(), wants(ClientAuthenticate)...)
			m := newMux(Options{}, p)
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				m.Dispatch(ctx, question(t, ClientAuthenticate))
				cancel()
			}
			if state := p.Breaker(ClientAuthenticate); state != want {
				t.Errorf("after brokers that wait %s the breaker is %s, want %s", patience, state, want)
			}
		})
	}
	// What hookmux itself does not give it, is not the broker's hurry.
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Timeout: time.Minute, Breaker: BreakerSpec{Failures: 2}}, hangs(), wants(ClientAuthenticate)...)
		m := newMux(Options{Timeout: time.Second}, p)
		for range 2 {
			m.Dispatch(t.Context(), question(t, ClientAuthenticate))
		}
		if state := p.Breaker(ClientAuthenticate); state != "open" {
			t.Errorf("with a timeout longer than the event's the breaker is %s", state)
		}
	})
}

func TestDecisionBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer, err := ignoreResponse, errBoom
		conn := &fake{decide: func(context.Context, Hook, []byte) ([]byte, error) { return answer, err }}
		p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 3, Open: 5 * time.Second}}, conn, wants(ClientAuthenticate, ClientAuthorize)...)
		m := newMux(Options{}, p)
		ask := func(h Hook) { m.Dispatch(t.Context(), question(t, h)) }
		expect := func(when, state string, calls int) {
			t.Helper()
			if got := p.Breaker(ClientAuthenticate); got != state || len(conn.calls()) != calls {
				t.Fatalf("%s: breaker %s after %d calls, want %s after %d", when, got, len(conn.calls()), state, calls)
			}
		}
		ask(ClientAuthenticate)
		ask(ClientAuthenticate)
		err = nil
		ask(ClientAuthenticate)
		expect("a success between", "closed", 3)
		err = errBoom
		for range 3 {
			ask(ClientAuthenticate)
		}
		expect("three failures in a row", "open", 6)
		ask(ClientAuthenticate)
		expect("while open", "open", 6)
		if p.Breaker(ClientAuthorize) != "closed" {
			t.Fatal("another hook's breaker opened too")
		}
		ask(ClientAuthorize)
		expect("another hook is still asked", "open", 7)

		time.Sleep(5*time.Second + 1)
		expect("after Open", "half-open", 7)
		ask(ClientAuthenticate)
		expect("the probe fails", "open", 8)
		time.Sleep(5*time.Second + 1)
		err = nil
		ask(ClientAuthenticate)
		expect("the next probe succeeds", "closed", 9)

		err = errBoom
		for range 3 {
			ask(ClientAuthenticate)
		}
		expect("open again", "open", 12)
		up(t, p, conn, wants(ClientAuthenticate, ClientAuthorize)...)
		expect("a new process", "closed", 12)
		p.Down()
		if p.Breaker(ClientAuthenticate) != "" {
			t.Error("a provider that is down has a breaker")
		}
	})
}

// A denial is an answer; an answer without sense is a failure.
func TestWhatCountsAsABreakerFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		conn  *fake
		opens bool
	}{
		"denial":         {says(boolAnswer(stop, false)), false},
		"ignore":         {says(ignoreResponse), false},
		"error":          {fails(errBoom), true},
		"its own error":  {fails(fmt.Errorf("%w: no such table", ErrAnswered)), false},
		"panic":          {&fake{decide: func(context.Context, Hook, []byte) ([]byte, error) { panic("boom") }}, true},
		"invalid answer": {says([]byte("no")), true},
		"no value":       {says(nil), true},
		"timeout":        {hangs(), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 2}}, tt.conn, wants(ClientAuthenticate)...)
				m := newMux(Options{}, p)
				for range 3 {
					m.Dispatch(t.Context(), question(t, ClientAuthenticate))
				}
				if open := p.Breaker(ClientAuthenticate) == "open"; open != tt.opens {
					t.Errorf("the breaker is %s", p.Breaker(ClientAuthenticate))
				}
			})
		})
	}
}

func TestBrokerThatGivesUpIsNoFailureOfTheProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 1, Open: time.Second}}, hangs(), wants(ClientAuthenticate)...)
		m := newMux(Options{}, p)
		giveUp := func() {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			m.Dispatch(ctx, question(t, ClientAuthenticate))
		}
		for range 5 {
			giveUp()
		}
		if p.Breaker(ClientAuthenticate) != "closed" || p.Stats().Missing[ReasonCanceled].Load() != 5 {
			t.Errorf("breaker %s, %d canceled", p.Breaker(ClientAuthenticate), p.Stats().Missing[ReasonCanceled].Load())
		}
		// Also as the probe: it neither closes nor opens it, and frees its place.
		m.Dispatch(t.Context(), question(t, ClientAuthenticate))
		time.Sleep(time.Second + 1)
		giveUp()
		if p.Breaker(ClientAuthenticate) != "half-open" {
			t.Fatalf("after a canceled probe: %s", p.Breaker(ClientAuthenticate))
		}
		conn := p.link.Load().conn.(*fake)
		before := len(conn.calls())
		giveUp()
		if len(conn.calls()) != before+1 {
			t.Error("the canceled probe still holds its place")
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Concurrency: 2, Timeout: time.Second, Breaker: BreakerSpec{Failures: 1}}, takes(600*time.Millisecond, boolAnswer(stop, true)), wants(ClientAuthenticate)...)
		m := newMux(Options{}, p)
		for n := range 6 {
			patience := 5 * time.Second
			if n >= 4 {
				patience = 900 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go m.Dispatch(ctx, question(t, ClientAuthenticate))
			synctest.Wait()
		}
		if n := len(p.link.Load().conn.(*fake).calls()); n != 2 {
			t.Errorf("%d calls at a time, want 2", n)
		}
		time.Sleep(2 * time.Second)
		s := p.Stats()
		decided, timeout, overload := s.Decided[ClientAuthenticate].Load(), s.Missing[ReasonTimeout].Load(), s.Missing[ReasonOverload].Load()
		// The first two decide; the next two get a slot with 400 of 1000 ms left,
		// too little to be asked; the last two none in time.
		if decided != 2 || timeout != 0 || overload != 4 {
			t.Errorf("decided %d, timeout %d, overload %d, want 2, 0 and 4", decided, timeout, overload)
		}
		if p.Breaker(ClientAuthenticate) != "closed" {
			t.Errorf("waiting in the queue opened the breaker: %s", p.Breaker(ClientAuthenticate))
		}
	})
}

// A slow provider holds up nobody who does not stand behind it in the chain.
func TestWaitingForASlotDoesNotMakeOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := newProvider(t, Spec{Concurrency: 1}, hangs(), wants(ClientAuthorize)...)
		quick := newProvider(t, Spec{}, says(boolAnswer(stop, true)), wants(ClientAuthenticate)...)
		m := newMux(Options{}, slow, quick)
		for range 20 {
			go m.Dispatch(t.Context(), question(t, ClientAuthorize))
		}
		synctest.Wait()
		start := time.Now()
		m.Dispatch(t.Context(), question(t, ClientAuthenticate))
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		time.Sleep(time.Minute)
	})
}
