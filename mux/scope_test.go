package mux

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// conditionFunc is a Condition made of a function.
type conditionFunc func(*Event) (bool, error)

func (f conditionFunc) Matches(e *Event) (bool, error) { return f(e) }

var (
	never   = conditionFunc(func(*Event) (bool, error) { return false, nil })
	always  = conditionFunc(func(*Event) (bool, error) { return true, nil })
	unclear = conditionFunc(func(*Event) (bool, error) { return false, errors.New("no such index") })
)

// Who is out of scope is not asked, also by a strategy, and no failure of theirs
// counts. What a condition cannot tell is a missing answer with the cause error.
func TestScopeOfDecisions(t *testing.T) {
	t.Parallel()
	for _, h := range valued {
		for _, strategy := range []Strategy{Chain, All, Any} {
			if strategy != Chain && !h.Access() {
				continue
			}
			for _, down := range []bool{false, true} {
				denies := boolAnswer(stop, false)
				if !h.Access() {
					refused := proto.CloneOf(theMessage)
					refused.Headers[allowPublishHeader] = "false"
					denies = messageAnswer(stop, refused)
				}
				var asked []string
				told := &recorder{decided: func(d *Decision) {
					for _, a := range d.Asked {
						asked = append(asked, a.Provider)
					}
				}}
				var onError Spec
				onError.OnFailure[h] = Always(Deny)
				onError.OnFailure[h][ReasonError] = Ignore
				specs := []Spec{{Name: "never", When: never}, {Name: "unclear", When: unclear, OnFailure: onError.OnFailure}, {Name: "always", When: always}}
				var providers []*Provider
				var conns []*fake
				for i, s := range specs {
					c := says(denies)
					if i == 2 {
						c = says(ignoreResponse)
					}
					p := newProvider(t, s, c, wants(h)...)
					if down && i < 2 {
						p.Down()
					}
					conns, providers = append(conns, c), append(providers, p)
				}
				opts := Options{Recorder: told}
				opts.Strategy[h] = strategy
				m := newMux(opts, providers...)
				answer := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, h)))
				if answer.Type != ignore {
					t.Errorf("%s, %s, down %t: %v", h, strategy, down, answer)
				}
				for i, want := range []int{0, 0, 1} {
					if n := len(conns[i].calls()); n != want {
						t.Errorf("%s, %s: %s was asked %d times", h, strategy, specs[i].Name, n)
					}
				}
				missing := func(p *Provider) (n int64) {
					for r := range p.Stats().Missing {
						n += p.Stats().Missing[r].Load()
					}
					return n
				}
				if n := missing(providers[0]); n != 0 {
					t.Errorf("%s, %s, down %t: %d answers of who was not asked are missing", h, strategy, down, n)
				}
				if n := providers[1].Stats().Missing[ReasonError].Load(); n != 1 || missing(providers[1]) != 1 {
					t.Errorf("%s, %s, down %t: %d answers are missing by error", h, strategy, down, n)
				}
				if len(asked) != 2 || asked[0] != "unclear" || asked[1] != "always" {
					t.Errorf("%s, %s: said to be asked: %v", h, strategy, asked)
				}
			}
		}
	}
}

// An error of a condition is no open door.
func TestUnclearScopeDeniesByDefault(t *testing.T) {
	t.Parallel()
	for _, h := range valued {
		m := newMux(Options{}, newProvider(t, Spec{When: unclear}, says(ignoreResponse), wants(h)...))
		answer := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, h)))
		if answer.Type != stop || answer.GetBoolResult() || !h.Access() && answer.GetMessage().Headers[allowPublishHeader] != "false" {
			t.Errorf("%s: %v", h, answer)
		}
	}
}

// Of notifications, who is out of scope gets none and misses none; one that a
// condition cannot tell is lost. So for observers.
func TestScopeOfNotifications(t *testing.T) {
	t.Parallel()
	for _, h := range []Hook{ClientConnected, MessageDelivered, ClientAuthenticate, MessagePublish} {
		for name, spec := range map[string]Spec{"async": {}, "sync": {Delivery: By(Sync)}, "block": {Lane: LaneSpec{Overflow: Block}}} {
			spec.Observe = true
			var providers []*Provider
			for _, when := range []Condition{never, unclear, always, nil} {
				spec.When = when
				providers = append(providers, newProvider(t, spec, &fake{}, wants(h)...))
			}
			m := newMux(Options{}, providers...)
			m.Dispatch(context.Background(), NewEvent(h, marshal(t, newRequest(V3, h))))
			for i, want := range []struct{ sent, delivered, lost int64 }{{}, {1, 0, 1}, {1, 1, 0}, {1, 1, 0}} {
				providers[i].Drain(t.Context())
				s := providers[i].Stats()
				if s.Sent.Load() != want.sent || s.Delivered.Load() != want.delivered || s.Dropped[ReasonError].Load() != want.lost {
					t.Errorf("%s %s, condition %d: %d sent, %d delivered, %d lost", name, h, i, s.Sent.Load(), s.Delivered.Load(), s.Dropped[ReasonError].Load())
				}
			}
		}
	}
}

// In a chain, a condition is asked about the message so far, and about all of it.
func TestConditionSeesTheMessageSoFar(t *testing.T) {
	t.Parallel()
	moved := proto.CloneOf(theMessage)
	moved.Topic, moved.Payload = "elsewhere", []byte("new")
	var seen *exhookv3.Message
	var topic string
	when := conditionFunc(func(e *Event) (bool, error) {
		seen, topic = unmarshal[exhookv3.Message](t, e.Message()), e.Topic()
		return true, nil
	})
	m := newMux(Options{},
		newProvider(t, Spec{}, says(messageAnswer(cont, moved)), wants(MessagePublish)...),
		newProvider(t, Spec{When: when, Redact: []Redaction{RedactPayload}}, says(ignoreResponse), wants(MessagePublish)...))
	m.Dispatch(t.Context(), question(t, MessagePublish))
	if !proto.Equal(seen, moved) || topic != "elsewhere" {
		t.Errorf("it sees %q of %v", topic, seen)
	}
}
