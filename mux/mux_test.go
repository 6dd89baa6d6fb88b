package mux

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestBrokersWaitUntilReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := says(boolAnswer(stop, true))
		p := newProvider(t, Spec{Hooks: wants(ClientAuthenticate, ClientDisconnected)}, nil)
		m := New(Options{Log: quiet})
		m.SetProviders([]*Provider{p})
		time.AfterFunc(time.Second, func() { up(t, p, conn, wants(ClientAuthenticate, ClientDisconnected)...) })
		time.AfterFunc(2*time.Second, func() { m.SetReady(); m.SetReady() })
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { m.Dispatch(t.Context(), event(t, "c", 1)) })
		wg.Go(func() {
			if told := load(t, m, V3, "n", "5.10.3"); len(told) != 2 {
				t.Errorf("told %q", told)
			}
		})
		got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, ClientAuthenticate)))
		wg.Wait()
		if time.Since(start) != 2*time.Second || !got.GetBoolResult() {
			t.Errorf("after %s: %v", time.Since(start), got)
		}
		synctest.Wait()
		expectStats(t, p, 1, 1, nil)
	})
}

// Who is still starting when the broker's time is up is down, and that has a
// policy. A notification waits in the lane.
func TestNotReadyInTime(t *testing.T) {
	t.Parallel()
	for policy := Deny; policy <= Allow; policy++ {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				spec := Spec{Hooks: wants(ClientAuthenticate, ClientDisconnected)}
				spec.OnFailure[ClientAuthenticate] = Always(policy)
				p := newProvider(t, spec, nil)
				m := New(Options{Log: quiet})
				m.SetProviders([]*Provider{p})
				got := m.Dispatch(t.Context(), question(t, ClientAuthenticate))
				if want := marshal(t, afterFailure(ClientAuthenticate, policy)); string(got) != string(want) {
					t.Errorf("answer % x, want % x", got, want)
				}
				m.Dispatch(t.Context(), event(t, "c", 1))
				up(t, p, &fake{}, wants(ClientAuthenticate, ClientDisconnected)...)
				synctest.Wait()
				expectStats(t, p, 1, 1, nil)
			})
		})
	}
	t.Run("nobody has said who the providers are", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			got := unmarshal[exhookv3.ValuedResponse](t, New(Options{Log: quiet}).Dispatch(t.Context(), question(t, ClientAuthenticate)))
			if got.Type != stop || got.GetBoolResult() {
				t.Errorf("answer %v, want a refusal", got)
			}
		})
	})
}

func TestNotificationGoesToWhoWantsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		acked := func(topics ...string) []HookSpec { return []HookSpec{{Hook: MessageAcked, Topics: topics}} }
		all, match, other, hook := &fake{}, &fake{}, &fake{}, &fake{}
		narrowed := &fake{}
		m := newMux(Options{},
			newProvider(t, Spec{}, all, acked()...),
			newProvider(t, Spec{}, match, acked("x", "a/+")...),
			newProvider(t, Spec{}, other, acked("b/#")...),
			newProvider(t, Spec{}, hook, wants(MessageDropped)...),
			newProvider(t, Spec{Hooks: acked("a/#")}, narrowed, acked("+/c")...))
		body := marshal(t, &exhookv3.MessageAckedRequest{Message: &exhookv3.Message{Topic: "a/b"}})
		if answer := m.Dispatch(t.Context(), NewEvent(MessageAcked, body)); answer == nil || len(answer) != 0 {
			t.Errorf("answer %v, want an empty message", answer)
		}
		synctest.Wait()
		for i, c := range []*fake{all, match, other, hook, narrowed} {
			calls := c.calls()
			if want := i < 2; want != (len(calls) == 1) {
				t.Errorf("provider %d got %d events", i, len(calls))
			} else if want && (calls[0].hook != MessageAcked || string(calls[0].req) != string(body)) {
				t.Errorf("provider %d got %v", i, calls[0])
			}
		}
	})
}

func TestSyncDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func() *fake {
			return &fake{notify: func(context.Context, Hook, []byte) error { time.Sleep(time.Second); return nil }}
		}
		w := wants(ClientDisconnected)
		a, b := newProvider(t, Spec{Delivery: By(Sync)}, slow(), w...), newProvider(t, Spec{Delivery: By(Sync)}, slow(), w...)
		failing, hanging := newProvider(t, Spec{Delivery: By(Sync)}, fails(errBoom), w...), newProvider(t, Spec{Delivery: By(Sync), Timeout: 1500 * time.Millisecond}, hangs(), w...)
		down := newProvider(t, Spec{Delivery: By(Sync), Hooks: w}, nil)
		m := newMux(Options{}, a, b, failing, hanging, down)
		start := time.Now()
		m.Dispatch(t.Context(), event(t, "c", 1))
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("took %s: they are told beside each other, and the slowest timeout is 1.5s", took)
		}
		expectStats(t, a, 1, 1, nil)
		expectStats(t, b, 1, 1, nil)
		expectStats(t, failing, 1, 0, map[Reason]int64{ReasonError: 1})
		expectStats(t, hanging, 1, 0, map[Reason]int64{ReasonTimeout: 1})
		expectStats(t, down, 1, 0, map[Reason]int64{ReasonDown: 1})
	})
}

// A set of providers that was replaced is drained once the last event that
// was under way with it has been answered.
func TestReplacedProvidersDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := newProvider(t, Spec{}, takes(time.Second, boolAnswer(stop, true)), wants(ClientAuthenticate)...)
		m := newMux(Options{}, old)
		answered := make(chan time.Time, 1)
		go func() {
			got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, ClientAuthenticate)))
			if !got.GetBoolResult() {
				t.Errorf("the event under way: %v", got)
			}
			answered <- time.Now()
		}()
		synctest.Wait()
		up(t, old, takes(time.Second, boolAnswer(stop, true)), wants(ClientAuthenticate, ClientAuthorize)...) // a new table, the same set
		next := newProvider(t, Spec{}, says(boolAnswer(stop, false)), wants(ClientAuthenticate)...)
		drained := m.SetProviders([]*Provider{next})
		if got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, ClientAuthenticate))); got.GetBoolResult() {
			t.Error("the new set is not asked")
		}
		select {
		case <-drained:
			t.Error("drained with an event under way")
		default:
		}
		<-drained
		if when := <-answered; !time.Now().Equal(when) {
			t.Errorf("drained %s after the answer", time.Since(when))
		}
		<-m.SetProviders(nil) // nothing is under way
	})
}

// Reloading under load: each event is answered by a set that is in place, and
// a set is not used after it is drained.
func TestReplacingProvidersUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMux(Options{})
	var stopped atomic.Bool
	var wg sync.WaitGroup
	set := func() ([]*Provider, *atomic.Bool) {
		var closed atomic.Bool
		c := &fakeFunc{func() []byte {
			if closed.Load() {
				t.Error("asked after it was drained")
			}
			return boolAnswer(stop, true)
		}}
		return []*Provider{newProvider(t, Spec{}, c, wants(ClientAuthenticate)...)}, &closed
	}
	providers, closed := set()
	m.SetProviders(providers)
	for range 4 {
		wg.Go(func() {
			for !stopped.Load() {
				got := m.Dispatch(context.Background(), question(t, ClientAuthenticate))
				if string(got) != string(boolAnswer(stop, true)) {
					t.Errorf("answer % x", got)
					return
				}
			}
		})
	}
	for range 200 {
		next, nextClosed := set()
		<-m.SetProviders(next)
		closed.Store(true)
		closed = nextClosed
	}
	stopped.Store(true)
	wg.Wait()
}

type fakeFunc struct{ decide func() []byte }

func (f *fakeFunc) Decide(context.Context, Hook, []byte) ([]byte, error) { return f.decide(), nil }
func (f *fakeFunc) Notify(context.Context, Hook, []byte) error           { return nil }

// A provider is never asked a hook that it does not declare, not even in the
// moment between its start and the new route table.
func TestProviderIsAskedOnlyWhatItDeclares(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Spec{}, nil) // until it starts, it counts for every valued hook
	m := newMux(Options{}, p)
	var stopped atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stopped.Load() {
			m.Dispatch(context.Background(), question(t, ClientAuthorize))
		}
	})
	conn := says(boolAnswer(cont, true))
	up(t, p, conn, wants(ClientAuthenticate)...)
	stopped.Store(true)
	wg.Wait()
	if n := len(conn.calls()); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

func TestUpRefusesWhatCannotBeServed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spec     Spec
		declared []HookSpec
		want     string
	}{
		"a filter with # in the middle": {Spec{}, []HookSpec{{Hook: MessagePublish, Topics: []string{"ok", "a/#/b"}}}, `it declares message.publish with an invalid filter: topic filter "a/#/b": # must be the last level`},
		"a hook the config counts on":   {Spec{Hooks: wants(ClientAuthenticate)}, wants(ClientAuthorize), "the config lists client.authenticate under hooks, but the provider does not answer it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, tt.spec, nil)
			before, _ := p.Wants()
			if err := p.Up(&fake{}, tt.declared); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if after, _ := p.Wants(); p.IsUp() || fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("it is up: %t, wants %v", p.IsUp(), after)
			}
		})
	}
}

func TestWordsOfTheConfig(t *testing.T) {
	t.Parallel()
	words(t, PolicyNames(), ParsePolicy)
	words(t, OverflowNames(), ParseOverflow)
	words(t, DeliveryNames(), ParseDelivery)
}

func words[T fmt.Stringer](t *testing.T, names []string, parse func(string) (T, error)) {
	t.Helper()
	for _, n := range names {
		if v, err := parse(n); err != nil || v.String() != n {
			t.Errorf("%q reads as %v, %v", n, v, err)
		}
	}
	for _, bad := range []string{"", "Deny", "no"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q reads as a %T", bad, *new(T))
		}
	}
}

func TestRateLimitSaysHowManyItHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r rateLimit
		for n, want := range []bool{true, false, false} {
			if ok, held := r.allow(); ok != want || held != 0 {
				t.Errorf("call %d: %t, %d", n, ok, held)
			}
		}
		time.Sleep(logEvery)
		if ok, held := r.allow(); !ok || held != 2 {
			t.Errorf("later: %t, %d", ok, held)
		}
	})
}
