package mux

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// newObserver is an observer of every hook, and its connection.
func newObserver(t *testing.T, spec Spec, decide ...HookSpec) (*Provider, *fake) {
	conn := &fake{}
	spec.Observe = true
	if decide == nil {
		decide = wants(Hooks()...)
	}
	return newProvider(t, spec, conn, decide...), conn
}

func TestObserverSeesWhatWasDecided(t *testing.T) {
	t.Parallel()
	moved := proto.CloneOf(theMessage)
	moved.Topic = "elsewhere"
	refused := proto.CloneOf(moved)
	refused.Headers[allowPublishHeader] = "false"
	denies := func(t *testing.T) *Provider {
		return newProvider(t, Spec{}, says(boolAnswer(cont, false)), wants(ClientAuthorize)...)
	}
	moves := func(t *testing.T) *Provider {
		return newProvider(t, Spec{}, says(messageAnswer(cont, moved)), wants(MessagePublish)...)
	}
	down := func(t *testing.T) *Provider { return newProvider(t, Spec{Hooks: wants(MessagePublish)}, nil) }
	var any Options
	any.Strategy[ClientAuthorize] = Any
	for name, tt := range map[string]struct {
		hook      Hook
		opts      Options
		providers []func(*testing.T) *Provider
		result    bool
		message   *exhookv3.Message
	}{
		"nobody else":      {hook: ClientAuthorize, result: true},
		"a denial":         {hook: ClientAuthorize, providers: []func(*testing.T) *Provider{denies}},
		"a vote":           {hook: ClientAuthorize, opts: any, providers: []func(*testing.T) *Provider{denies, denies}},
		"the default":      {hook: ClientAuthorize, opts: Options{Defaults: map[Hook]bool{ClientAuthorize: false}}},
		"an old message":   {hook: MessagePublish, message: theMessage},
		"a new message":    {hook: MessagePublish, providers: []func(*testing.T) *Provider{moves}, message: moved},
		"a failure policy": {hook: MessagePublish, providers: []func(*testing.T) *Provider{moves, down}, message: refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				observer, conn := newObserver(t, Spec{})
				providers := []*Provider{observer} // first, and yet told last
				for _, p := range tt.providers {
					providers = append(providers, p(t))
				}
				m := newMux(tt.opts, providers...)
				ev := question(t, tt.hook)
				m.Dispatch(t.Context(), ev)
				synctest.Wait()
				calls := conn.calls()
				if len(calls) != 1 || calls[0].hook != tt.hook {
					t.Fatalf("it was told %v", calls)
				}
				want := newRequest(V3, tt.hook)
				if err := proto.Unmarshal(ev.Body, want); err != nil {
					t.Fatal(err)
				}
				setValue(want, tt.result, tt.message)
				got := newRequest(V3, tt.hook)
				if err := proto.Unmarshal(calls[0].req, got); err != nil || !proto.Equal(got, want) {
					t.Errorf("it saw %v, want %v", got, want)
				}
				if s := observer.Stats(); s.Sent.Load() != 1 || s.Delivered.Load() != 1 || s.Decided[tt.hook].Load() != 0 {
					t.Errorf("sent %d, delivered %d, decided %d", s.Sent.Load(), s.Delivered.Load(), s.Decided[tt.hook].Load())
				}
			})
		})
	}
}

// Whatever an observer answers or does not, the broker's answer is as if it were
// not there, and there as soon.
func TestObserverChangesNothing(t *testing.T) {
	t.Parallel()
	for name, conn := range map[string]*fake{
		"denies": says(boolAnswer(stop, false)), "drops": says(messageAnswer(stop, &exhookv3.Message{})), "hangs": hangs(), "fails": fails(errBoom), "is down": nil,
	} {
		for _, overflow := range []Overflow{DropNewest, DropOldest, Block} {
			for _, delivery := range []Delivery{Async, Sync} {
				t.Run(name+"/"+overflow.String()+"/"+delivery.String(), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						observer := newProvider(t, Spec{Observe: true, Lane: LaneSpec{Events: 2, Overflow: overflow}, Delivery: By(delivery)}, nil)
						if conn != nil {
							up(t, observer, &fake{decide: conn.decide, notify: conn.notify}, wants(valued...)...)
						}
						m := newMux(Options{}, observer)
						start := time.Now()
						for range 5 {
							for _, h := range valued {
								if got := unmarshalled(m.Dispatch(t.Context(), question(t, h))); got.Type != ignore {
									t.Errorf("%s: answer %v", h, got)
								}
							}
						}
						if took := time.Since(start); took != 0 {
							t.Errorf("took %s", took)
						}
					})
				})
			}
		}
	}
}

// Decisions and notifications of one client come in the order in which they
// happened, and each is accounted for.
func TestObserverSeesTheOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		observer, conn := newObserver(t, Spec{})
		observer.Down() // so that they wait
		m := newMux(Options{}, observer)
		var want []Hook
		for range 20 {
			for _, h := range []Hook{ClientAuthenticate, ClientAuthorize, MessagePublish} {
				m.Dispatch(t.Context(), question(t, h))
				m.Dispatch(t.Context(), event(t, "c", 1))
				want = append(want, h, ClientDisconnected)
			}
		}
		up(t, observer, conn, wants(Hooks()...)...)
		synctest.Wait()
		var got []Hook
		for _, c := range conn.calls() {
			got = append(got, c.hook)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if s := observer.Stats(); s.Sent.Load() != int64(len(want)) || s.Delivered.Load() != int64(len(want)) {
			t.Errorf("sent %d, delivered %d, want %d", s.Sent.Load(), s.Delivered.Load(), len(want))
		}
	})
}

// As with who decides, the topic in the end is what counts.
func TestObserversFiltersAreHeldAgainstTheTopicInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		moved := proto.CloneOf(theMessage)
		moved.Topic = "elsewhere"
		before, old := newObserver(t, Spec{}, HookSpec{Hook: MessagePublish, Topics: []string{theMessage.Topic}})
		after, now := newObserver(t, Spec{}, HookSpec{Hook: MessagePublish, Topics: []string{"elsewhere"}})
		m := newMux(Options{}, before, after, newProvider(t, Spec{}, says(messageAnswer(cont, moved)), wants(MessagePublish)...))
		m.Dispatch(t.Context(), question(t, MessagePublish))
		synctest.Wait()
		if len(old.calls()) != 0 || len(now.calls()) != 1 {
			t.Errorf("who watches the old topic was told %d times, the new one %d times", len(old.calls()), len(now.calls()))
		}
	})
}

func TestObserverIsRegisteredForAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	observer := newProvider(t, Spec{Observe: true}, nil)
	m := newMux(Options{}, observer)
	if told := load(t, m, V3, "a", "5.10.3"); len(told) != 0 {
		t.Errorf("before it has started the broker is told %q", told)
	}
	up(t, observer, &fake{}, wants(ClientAuthenticate, ClientConnected)...)
	if told := load(t, m, V3, "b", "5.10.3"); !slices.Equal(told, []string{"client.connected", "client.authenticate"}) {
		t.Errorf("the broker is told %q", told)
	}
	if err := observer.Up(&fake{}, wants(ClientConnected)); err != nil {
		t.Errorf("refused, though it decides nothing: %v", err)
	}
}

func TestNotificationsAreRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got, breakers []string
		opts := Options{Recorder: &recorder{
			notified: func(n *Notification) {
				got = append(got, n.Provider+" "+n.Event.Hook.String()+" "+n.Event.Client()+" "+n.Reason.String()+" "+n.Took.String())
			},
			breaker: func(provider, what, state string) { breakers = append(breakers, provider+" "+what+" "+state) },
		}}
		after := func(d time.Duration, err error) *fake {
			return &fake{notify: func(ctx context.Context, _ Hook, _ []byte) error { time.Sleep(d); return err }}
		}
		fine := newProvider(t, Spec{Name: "fine", Observe: true}, after(time.Second, nil), wants(ClientDisconnected, ClientAuthorize)...)
		broken := newProvider(t, Spec{Name: "broken", Breaker: BreakerSpec{Failures: 1}, Delivery: By(Sync)}, after(2*time.Second, errBoom), wants(ClientDisconnected)...)
		m := newMux(opts, fine, broken)
		m.Dispatch(t.Context(), event(t, "c", 1))
		m.Dispatch(t.Context(), question(t, ClientAuthorize))
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"fine client.disconnected c  1s", "broken client.disconnected c error 2s", "fine client.authorize c  1s"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if want := []string{"broken notifications open"}; !slices.Equal(breakers, want) {
			t.Errorf("breakers %q, want %q", breakers, want)
		}
	})
}
