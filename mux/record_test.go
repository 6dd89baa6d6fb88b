package mux

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// recorder is a Recorder made of functions, called one at a time; nil ones do
// nothing.
type recorder struct {
	mu       sync.Mutex
	decided  func(*Decision)
	notified func(*Notification)
	answered func(*Event, time.Duration)
	breaker  func(provider, what, state string)
}

func (r *recorder) Decided(_ context.Context, d *Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decided != nil {
		r.decided(d)
	}
}

func (r *recorder) Notified(n *Notification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.notified != nil {
		r.notified(n)
	}
}

func (r *recorder) Answered(_ context.Context, ev *Event, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered != nil {
		r.answered(ev, took)
	}
}

func (r *recorder) BreakerChanged(provider, what, state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.breaker != nil {
		r.breaker(provider, what, state)
	}
}

// say is a decision in a few words.
func say(d *Decision) []string {
	out := []string{fmt.Sprintf("%s of %q by %q, final %t", d.Answer, d.Event.Client(), d.By, d.Final)}
	for _, a := range d.Asked {
		s := fmt.Sprintf("%s %s in %s", a.Provider, a.Verdict, a.Took)
		if a.Final {
			s += ", final"
		}
		if a.Reason != ReasonNone {
			s += fmt.Sprintf(", %s (%v): %s", a.Reason, a.Err, a.Policy)
		}
		if a.Waited != 0 {
			s += fmt.Sprintf(", waited %s", a.Waited)
		}
		if a.Changed != 0 {
			s += fmt.Sprintf(", changed %s", a.Changed)
		}
		if a.Overwrote != 0 {
			s += fmt.Sprintf(", again %s", a.Overwrote)
		}
		out = append(out, s)
	}
	return out
}

func TestWhoDecidedIsRecorded(t *testing.T) {
	t.Parallel()
	rewrite := func(change func(*exhookv3.Message)) []byte {
		m := proto.CloneOf(theMessage)
		change(m)
		return messageAnswer(cont, m)
	}
	quiet := Spec{Name: "quiet", Timeout: time.Second}
	quiet.OnFailure[ClientAuthorize][ReasonTimeout] = Ignore
	down := Spec{Name: "down", Hooks: wants(MessagePublish)}
	tests := []struct {
		name      string
		hook      Hook
		opts      Options
		providers func(t *testing.T) []*Provider
		want      []string
	}{
		{
			"a chain to its end", ClientAuthorize, Options{},
			func(t *testing.T) []*Provider {
				return []*Provider{
					newProvider(t, Spec{Name: "a"}, takes(5*time.Millisecond, boolAnswer(cont, false)), wants(ClientAuthorize)...),
					newProvider(t, quiet, hangs(), wants(ClientAuthorize)...),
					newProvider(t, Spec{Name: "b"}, says(boolAnswer(stop, true)), wants(ClientAuthorize)...),
					newProvider(t, Spec{Name: "not asked"}, &fake{}, wants(ClientAuthorize)...),
				}
			},
			[]string{`allow of "c" by "b", final true`, "a deny in 5ms", "quiet none in 1s, timeout (no answer within 1s): ignore", "b allow in 0s, final"},
		},
		{
			"the default", ClientAuthenticate, Options{Defaults: map[Hook]bool{ClientAuthenticate: false}},
			func(t *testing.T) []*Provider {
				return []*Provider{newProvider(t, Spec{Name: "a"}, &fake{}, wants(ClientAuthenticate)...)}
			},
			[]string{`deny of "c" by "default", final false`, "a ignore in 0s"},
		},
		{"nobody", ClientAuthenticate, Options{}, func(*testing.T) []*Provider { return nil }, []string{`ignore of "c" by "", final false`}},
		{
			"two who rewrite the same", MessagePublish, Options{},
			func(t *testing.T) []*Provider {
				return []*Provider{
					newProvider(t, Spec{Name: "a"}, says(rewrite(func(m *exhookv3.Message) { m.Payload, m.Qos = []byte("new"), 0 })), wants(MessagePublish)...),
					newProvider(t, Spec{Name: "b"}, says(rewrite(func(m *exhookv3.Message) { m.Payload, m.Qos, m.Topic = []byte("newer"), 0, "u" })), wants(MessagePublish)...),
					newProvider(t, Spec{Name: "c"}, says(ignoreResponse), wants(MessagePublish)...),
				}
			},
			[]string{`rewrite of "c" by "b", final false`, "a rewrite in 0s, changed payload, qos", "b rewrite in 0s, changed payload, topic, again payload", "c ignore in 0s"},
		},
		{
			"a drop, and one that is down", MessagePublish, Options{},
			func(t *testing.T) []*Provider {
				return []*Provider{
					newProvider(t, Spec{Name: "a"}, says(messageAnswer(cont, theMessage)), wants(MessagePublish)...),
					newProvider(t, Spec{Name: "b"}, says(rewrite(func(m *exhookv3.Message) { m.Headers[allowPublishHeader] = "false" })), wants(MessagePublish)...),
					newProvider(t, down, nil),
				}
			},
			[]string{`drop of "c" by "down, which did not answer", final true`, "a pass in 0s", "b drop in 0s, changed drop", "down none in 0s, down (the provider is down): deny"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []string
				var answered time.Duration
				tt.opts.Recorder = &recorder{
					decided:  func(d *Decision) { got = say(d) },
					answered: func(_ *Event, took time.Duration) { answered = took },
				}
				start := time.Now()
				newMux(tt.opts, tt.providers(t)...).Dispatch(t.Context(), question(t, tt.hook))
				if !slices.Equal(got, tt.want) {
					t.Errorf("got\n%q\nwant\n%q", got, tt.want)
				}
				if took := time.Since(start); answered != took {
					t.Errorf("answered after %s, recorded %s", took, answered)
				}
			})
		})
	}
}

func TestWaitForAPlaceIsRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		opts := Options{Recorder: &recorder{decided: func(d *Decision) { got = append(got, say(d)[1]) }}}
		m := newMux(opts, newProvider(t, Spec{Name: "a", Concurrency: 1}, takes(100*time.Millisecond, boolAnswer(stop, true)), wants(ClientAuthorize)...))
		go m.Dispatch(t.Context(), question(t, ClientAuthorize))
		synctest.Wait()
		m.Dispatch(t.Context(), question(t, ClientAuthorize))
		if want := []string{"a allow in 100ms, final", "a allow in 200ms, final, waited 100ms"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestRefusalWithoutAskingIsRecorded(t *testing.T) {
	t.Parallel()
	var got []string
	m := newMux(Options{Recorder: &recorder{decided: func(d *Decision) { got = append(got, say(d)...) }}}, newProvider(t, Spec{}, &fake{}, wants(Hooks()...)...))
	for _, h := range []Hook{ClientAuthorize, MessagePublish, ClientConnected} {
		m.Dispatch(t.Context(), NewEvent(h, []byte{0xff}))
	}
	if want := []string{`deny of "" by "hookmux", final true`, `drop of "" by "hookmux", final true`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
