package mux

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

var valued = []Hook{ClientAuthenticate, ClientAuthorize, MessagePublish, MessageIngress}

var theMessage = &exhookv3.Message{From: "c", Topic: "t", Payload: []byte("p"), Qos: 1, Headers: map[string]string{"username": "u"}}

// question is an event of the valued hook, with result true where EMQX sends one.
func question(t testing.TB, h Hook) Event {
	t.Helper()
	var req proto.Message
	switch h {
	case ClientAuthenticate:
		req = authenticate("c", true)
	case ClientAuthorize:
		req = &exhookv3.ClientAuthorizeRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c"}, Topic: "t", Result: true}
	case MessagePublish:
		req = &exhookv3.MessagePublishRequest{Message: theMessage}
	case MessageIngress:
		req = &exhookv3.MessageIngressRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c"}, Message: theMessage}
	}
	return NewEvent(h, marshal(t, req))
}

// A missing answer follows the failure policy, whatever the cause.
func TestFailurePolicyForEveryCause(t *testing.T) {
	t.Parallel()
	causes := []struct {
		reason Reason
		name   string
		spec   Spec
		conn   *fake
		before func(ctx context.Context, m *Mux, ev Event) context.Context // puts the provider into its state
	}{
		{reason: ReasonError, name: "error", conn: fails(errors.New("boom"))},
		{reason: ReasonError, name: "panic", conn: &fake{decide: func(context.Context, Hook, []byte) ([]byte, error) { panic("boom") }}},
		{reason: ReasonTimeout, name: "timeout", conn: hangs()},
		{reason: ReasonBreakerOpen, name: "breaker open", spec: Spec{Breaker: BreakerSpec{Failures: 1}}, conn: fails(errors.New("boom")),
			before: func(ctx context.Context, m *Mux, ev Event) context.Context { m.Dispatch(ctx, ev); return ctx }},
		{reason: ReasonOverload, name: "overload", spec: Spec{Concurrency: 1}, conn: hangs(),
			before: func(ctx context.Context, m *Mux, ev Event) context.Context {
				go m.Dispatch(ctx, ev)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(ctx, time.Second) // less than the call that holds the slot has
				context.AfterFunc(ctx, cancel)
				return ctx
			}},
		{reason: ReasonDown, name: "never started"},
		{reason: ReasonDown, name: "crashed during the call", conn: fails(fmt.Errorf("reading: %w", ErrDown))},
		{reason: ReasonDown, name: "went away before the call", conn: fails(ErrNotSent)},
		{reason: ReasonInvalid, name: "no protobuf", conn: says([]byte("no"))},
		{reason: ReasonInvalid, name: "no value", conn: says(nil)},
		{reason: ReasonCanceled, name: "the broker gave up", conn: hangs(),
			before: func(ctx context.Context, _ *Mux, _ Event) context.Context {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
				return ctx
			}},
	}
	for _, cause := range causes {
		for _, h := range valued {
			for n := range 3 * len(strategyNames) {
				policy, strategy := Policy(n%3), Strategy(n/3)
				if strategy != Chain && !h.Access() {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s/%s", cause.name, h, policy, strategy), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						spec := cause.spec
						spec.Hooks = wants(h)
						spec.OnFailure[h] = Always((policy + 1) % 3)
						spec.OnFailure[h][cause.reason] = policy
						p := newProvider(t, spec, nil)
						if cause.conn != nil {
							up(t, p, &fake{decide: cause.conn.decide}, wants(h)...)
						}
						var opts Options
						opts.Strategy[h] = strategy
						m := newMux(opts, p)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						if cause.before != nil {
							ctx = cause.before(ctx, m, question(t, h))
						}
						got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(ctx, question(t, h)))
						if want := afterFailure(h, policy); !proto.Equal(got, want) {
							t.Errorf("answer %v, want %v", got, want)
						}
						if n := p.Stats().Missing[cause.reason].Load(); n != 1 {
							t.Errorf("%d counted as %q, want 1", n, cause.reason)
						}
						if p.Stats().Decided[h].Load() != 0 {
							t.Error("counted as decided")
						}
						cancel()
						synctest.Wait()
					})
				})
			}
		}
	}
}

// afterFailure is the answer when the only provider has none.
func afterFailure(h Hook, p Policy) *exhookv3.ValuedResponse {
	switch {
	case p == Deny && h.Access():
		return &exhookv3.ValuedResponse{Type: stop, Value: &exhookv3.ValuedResponse_BoolResult{}}
	case p == Deny:
		m := proto.CloneOf(theMessage)
		m.Headers[allowPublishHeader] = "false"
		return &exhookv3.ValuedResponse{Type: stop, Value: &exhookv3.ValuedResponse_Message{Message: m}}
	case p == Allow && h.Access():
		return &exhookv3.ValuedResponse{Type: cont, Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: true}}
	}
	return &exhookv3.ValuedResponse{Type: ignore}
}

// What no provider may be blamed or asked for: the broker's own mistake.
func TestMalformedRequestIsRefusedWithoutAskingAnyone(t *testing.T) {
	t.Parallel()
	conn := &fake{}
	p := newProvider(t, Spec{}, conn, wants(Hooks()...)...)
	m := newMux(Options{Defaults: map[Hook]bool{ClientAuthenticate: true}}, p)
	for _, h := range Hooks() {
		answer := m.Dispatch(t.Context(), NewEvent(h, []byte{0xff}))
		if !h.Valued() {
			if len(answer) != 0 {
				t.Errorf("%s: answer % x", h, answer)
			}
			continue
		}
		got := unmarshal[exhookv3.ValuedResponse](t, answer)
		if got.Type != stop || got.GetBoolResult() || !h.Access() && got.GetMessage().GetHeaders()[allowPublishHeader] != "false" {
			t.Errorf("%s: answer %v, want a refusal", h, got)
		}
	}
	// A header that cannot be read would make a sound answer look invalid.
	broken := appendBytesField(nil, 1, appendBytesField(appendBytesField(nil, msgTopic, []byte("t")), msgHeaders, []byte{0x0a, 9}))
	got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), NewEvent(MessagePublish, broken)))
	if got.GetMessage().GetHeaders()[allowPublishHeader] != "false" {
		t.Errorf("broken header: answer %v, want a refusal", got)
	}
	if len(conn.calls()) != 0 {
		t.Errorf("the provider was asked %d times", len(conn.calls()))
	}
}

func TestDefaultAnswersWhatNobodyDecides(t *testing.T) {
	t.Parallel()
	ignorer := func(t *testing.T) *Provider { return newProvider(t, Spec{}, says(ignoreResponse), wants(valued...)...) }
	decider := func(t *testing.T) *Provider {
		return newProvider(t, Spec{}, says(boolAnswer(stop, false)), wants(ClientAuthenticate)...)
	}
	tests := []struct {
		name      string
		defaults  map[Hook]bool
		providers []func(*testing.T) *Provider
		want      *exhookv3.ValuedResponse
	}{
		{"no default, nobody asked", nil, nil, &exhookv3.ValuedResponse{Type: ignore}},
		{"no default, nobody decides", nil, []func(*testing.T) *Provider{ignorer}, &exhookv3.ValuedResponse{Type: ignore}},
		{"allow, nobody asked", map[Hook]bool{ClientAuthenticate: true}, nil, unmarshal[exhookv3.ValuedResponse](t, boolAnswer(cont, true))},
		{"allow, nobody decides", map[Hook]bool{ClientAuthenticate: true}, []func(*testing.T) *Provider{ignorer}, unmarshal[exhookv3.ValuedResponse](t, boolAnswer(cont, true))},
		{"deny, nobody decides", map[Hook]bool{ClientAuthenticate: false}, []func(*testing.T) *Provider{ignorer}, unmarshal[exhookv3.ValuedResponse](t, boolAnswer(cont, false))},
		{"allow, but somebody decides", map[Hook]bool{ClientAuthenticate: true}, []func(*testing.T) *Provider{ignorer, decider}, unmarshal[exhookv3.ValuedResponse](t, boolAnswer(stop, false))},
		{"another hook's default", map[Hook]bool{ClientAuthorize: true}, []func(*testing.T) *Provider{ignorer}, &exhookv3.ValuedResponse{Type: ignore}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var providers []*Provider
			for _, p := range tt.providers {
				providers = append(providers, p(t))
			}
			m := newMux(Options{Defaults: tt.defaults}, providers...)
			got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, ClientAuthenticate)))
			if !proto.Equal(got, tt.want) {
				t.Errorf("answer %v, want %v", got, tt.want)
			}
		})
	}
}
