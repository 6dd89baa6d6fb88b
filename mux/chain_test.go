package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// script is a random chain's provider: what it answers, and its failure policy.
type script struct {
	typ     exhookv3.ValuedResponse_ResponsedType
	fails   bool // no answer at all
	policy  Policy
	allowed bool
	message *exhookv3.Message
	topics  []string
	follows bool          // its answer is made from what it is shown
	pure    bool          // it may be asked ahead of its turn
	takes   time.Duration // it does, to answer
}

// answer is what it says to a request with this result or message.
func (s script) answer(h Hook, result bool, msg *exhookv3.Message) ([]byte, error) {
	switch {
	case s.fails:
		return nil, errors.New("boom")
	case s.typ == ignore:
		return ignoreResponse, nil
	case h.Access():
		return boolAnswer(s.typ, s.allow(result)), nil
	}
	return messageAnswer(s.typ, s.rewrite(msg)), nil
}

func (s script) allow(result bool) bool { return s.allowed != (s.follows && result) }

func (s script) rewrite(msg *exhookv3.Message) *exhookv3.Message {
	if !s.follows {
		return s.message
	}
	m := proto.CloneOf(s.message)
	m.Payload = append(bytes.Clone(msg.Payload), m.Payload...)
	return m
}

// decide answers an encoded request.
func (s script) decide(ctx context.Context, h Hook, body []byte) ([]byte, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	req := newRequest(V3, h)
	if err := proto.Unmarshal(body, req); err != nil {
		return nil, err
	}
	result, msg := getValue(req)
	return s.answer(h, result, msg)
}

// model is EMQX's chain, with the differences that doc.go tells of. seen is
// the value that each provider is shown; nil: it is not asked.
func model(h Hook, allowed bool, msg *exhookv3.Message, chain []script) (answer *exhookv3.ValuedResponse, seen []any) {
	answer = &exhookv3.ValuedResponse{Type: ignore}
	for _, s := range chain {
		if answer.Type == stop || !h.Access() && !newTopicTree(s.topics).matches([]byte(msg.Topic)) {
			seen = append(seen, nil)
			continue
		}
		if h.Access() {
			seen = append(seen, allowed)
		} else {
			seen = append(seen, msg)
		}
		unpublishable := !s.fails && s.typ != ignore && !h.Access() && (s.message.Topic == "" || s.message.Qos > 2)
		typ := s.typ
		switch {
		case (s.fails || unpublishable) && s.policy == Deny:
			typ, allowed = stop, false
			if !h.Access() {
				msg = withHeader(msg, "false")
			}
		case (s.fails || unpublishable) && s.policy == Allow && h.Access():
			typ, allowed = cont, true
		case s.fails || unpublishable || typ == ignore:
			continue
		case h.Access():
			allowed = s.allow(allowed)
		default:
			msg = merged(msg, s.rewrite(msg))
		}
		answer.Type, answer.Value = typ, &exhookv3.ValuedResponse_Message{Message: msg}
		if h.Access() {
			answer.Value = &exhookv3.ValuedResponse_BoolResult{BoolResult: allowed}
		}
	}
	return answer, seen
}

func withHeader(m *exhookv3.Message, allow string) *exhookv3.Message {
	return merged(m, &exhookv3.Message{Qos: m.Qos, Topic: m.Topic, Payload: m.Payload, Headers: map[string]string{allowPublishHeader: allow}})
}

func TestChainIsEMQXs(t *testing.T) {
	t.Parallel()
	topics := rapid.SampledFrom([]string{"a", "b/c", "$x"})
	drawMessage := func(rt *rapid.T, name string) *exhookv3.Message {
		m := &exhookv3.Message{
			From: "c", Qos: rapid.Uint32Range(0, 3).Draw(rt, name+" qos"), Payload: []byte(rapid.SampledFrom([]string{"", "p", "q"}).Draw(rt, name+" payload")),
			Topic: rapid.SampledFrom([]string{"a", "b/c", "$x", ""}).Draw(rt, name+" topic"), Headers: map[string]string{"username": "u"},
		}
		if v := rapid.SampledFrom([]string{"", "true", "false", "maybe"}).Draw(rt, name+" allow_publish"); v != "" && v != "maybe" {
			m.Headers[allowPublishHeader] = v
		}
		return m
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.SampledFrom(valued).Draw(rt, "hook")
		chain := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) script {
			return script{
				typ: exhookv3.ValuedResponse_ResponsedType(rapid.IntRange(0, 2).Draw(rt, "type")), fails: rapid.IntRange(0, 4).Draw(rt, "fails") == 0,
				policy: Policy(rapid.IntRange(0, 2).Draw(rt, "policy")), allowed: rapid.Bool().Draw(rt, "allowed"), message: drawMessage(rt, "answer"),
				topics: rapid.SampledFrom([][]string{nil, {"a"}, {"#"}, {"+/c", "$x"}}).Draw(rt, "filters"), follows: rapid.Bool().Draw(rt, "follows"),
				pure: rapid.Bool().Draw(rt, "pure"), takes: time.Duration(rapid.IntRange(0, 4).Draw(rt, "takes")) * time.Millisecond,
			}
		}), 0, 5).Draw(rt, "chain")
		allowed := rapid.Bool().Draw(rt, "result")
		msg := drawMessage(rt, "message")
		msg.Topic, msg.Qos = topics.Draw(rt, "topic"), msg.Qos%3
		req := newRequest(V3, h)
		setValue(req, allowed, msg)
		body := marshal(t, req)

		var conns []*fake
		got := &exhookv3.ValuedResponse{}
		if h.Access() { // filters are for message hooks
			for i := range chain {
				chain[i].topics = nil
			}
		}
		synctest.Test(t, func(t *testing.T) { // a goroutine in which rt cannot fail
			var providers []*Provider
			for i, s := range chain {
				spec := Spec{Name: fmt.Sprint(i), Breaker: BreakerSpec{Failures: 100}}
				spec.OnFailure[h] = Always(s.policy)
				c := &fake{decide: s.decide}
				conns = append(conns, c)
				providers = append(providers, newProvider(t, spec, c, HookSpec{Hook: h, Topics: s.topics, Pure: s.pure}))
			}
			m := newMux(Options{}, providers...)
			if err := proto.Unmarshal(m.Dispatch(t.Context(), NewEvent(h, body)), got); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
		want, seen := model(h, allowed, msg, chain)
		if !proto.Equal(got, want) {
			rt.Fatalf("answer %v, want %v", got, want)
		}
		for i, c := range conns {
			calls := c.calls()
			if !chain[i].pure && (seen[i] == nil) != (len(calls) == 0) || !chain[i].pure && len(calls) > 1 {
				rt.Fatalf("provider %d was asked %d times, want to see %v", i, len(calls), seen[i])
			}
			for _, call := range calls { // also those for nothing
				if ev := NewEvent(h, call.req); !h.Access() && !newTopicTree(chain[i].topics).matches(ev.topic) {
					rt.Fatalf("provider %d, of the filters %q, was asked about %s", i, chain[i].topics, ev.topic)
				}
			}
			if seen[i] == nil {
				continue // a pure one may have been asked for nothing
			}
			shown := proto.Clone(req)
			if h.Access() {
				setValue(shown, seen[i].(bool), nil)
			} else {
				setValue(shown, false, seen[i].(*exhookv3.Message))
			}
			var all []proto.Message
			for _, call := range calls {
				was := newRequest(V3, h)
				if err := proto.Unmarshal(call.req, was); err != nil {
					rt.Fatal(err)
				}
				all = append(all, was)
			}
			if !slices.ContainsFunc(all, func(was proto.Message) bool { return proto.Equal(was, shown) }) {
				rt.Fatalf("provider %d saw %v, want %v", i, all, shown)
			}
			if proto.Equal(shown, req) && i == 0 && !bytes.Equal(calls[0].req, body) {
				rt.Fatalf("provider %d did not get the broker's bytes", i)
			}
		}
	})
}

func getValue(req proto.Message) (result bool, msg *exhookv3.Message) {
	switch r := req.(type) {
	case interface{ GetResult() bool }:
		return r.GetResult(), nil
	case interface{ GetMessage() *exhookv3.Message }:
		return false, r.GetMessage()
	}
	panic("no valued request")
}

func setValue(req proto.Message, allowed bool, msg *exhookv3.Message) {
	switch r := req.(type) {
	case *exhookv3.ClientAuthenticateRequest:
		r.Result = allowed
	case *exhookv3.ClientAuthorizeRequest:
		r.Result = allowed
	case *exhookv3.MessagePublishRequest:
		r.Message = msg
	case *exhookv3.MessageIngressRequest:
		r.Message = msg
	}
}

// The broker's bytes reach everyone as they are until somebody changes the
// value, unknown fields and odd encodings included.
func TestRequestIsTheBrokersBytesUntilChanged(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(15, 16))
	for _, h := range valued {
		body := marshal(t, randomRequest(r, V3, h))
		body = append(body, 0xa2, 0x86, 0x80, 0x00, 0x83, 0x00, 'a', 'b', 'c') // unknown field 100, long-winded
		if !h.Access() {
			body = withMessage(body, hooks[h].message, marshal(t, theMessage))
		}
		same := says(boolAnswer(cont, newValue(&Event{Hook: h, Body: body}).allowed))
		other := says(boolAnswer(cont, !newValue(&Event{Hook: h, Body: body}).allowed))
		if !h.Access() {
			same = says(messageAnswer(cont, theMessage))
			moved := proto.CloneOf(theMessage)
			moved.Topic = "elsewhere"
			other = says(messageAnswer(cont, moved))
		}
		conns := []*fake{says(ignoreResponse), same, fails(errors.New("boom")), same, other, says(ignoreResponse)}
		var providers []*Provider
		for _, c := range conns {
			spec := Spec{Redact: []Redaction{}}
			spec.OnFailure[h] = Always(Ignore)
			providers = append(providers, newProvider(t, spec, &fake{decide: c.decide}, wants(h)...))
		}
		newMux(Options{}, providers...).Dispatch(t.Context(), NewEvent(h, body))
		for i, p := range providers {
			req := p.link.Load().conn.(*fake).calls()[0].req
			if same := bytes.Equal(req, body); same != (i < 5) {
				t.Errorf("%s: provider %d got the broker's bytes: %t", h, i, same)
			}
		}
	}
}

// The next provider cannot be shown a forged sender.
func TestOnlyFourThingsOfAnAnswersMessageReachTheNext(t *testing.T) {
	t.Parallel()
	forged := &exhookv3.Message{From: "admin", Node: "n", Id: "i", Timestamp: 9, Topic: "t", Payload: []byte("new"), Headers: map[string]string{"username": "admin", "allow_publish": "true"}}
	second := says(ignoreResponse)
	m := newMux(Options{},
		newProvider(t, Spec{}, says(messageAnswer(cont, forged)), wants(MessagePublish)...),
		newProvider(t, Spec{}, second, wants(MessagePublish)...))
	m.Dispatch(t.Context(), question(t, MessagePublish))
	got := unmarshal[exhookv3.MessagePublishRequest](t, second.calls()[0].req).Message
	want := proto.CloneOf(theMessage)
	want.Payload, want.Qos, want.Headers[allowPublishHeader] = []byte("new"), 0, "true"
	if !proto.Equal(got, want) {
		t.Errorf("the next sees %v, want %v", got, want)
	}
}

// As in EMQX, filters are held against the topic so far.
func TestWhoGuardsATopicSeesWhatIsMovedToIt(t *testing.T) {
	t.Parallel()
	moved := proto.CloneOf(theMessage)
	moved.Topic = "guarded"
	guard, old := says(ignoreResponse), says(ignoreResponse)
	m := newMux(Options{},
		newProvider(t, Spec{}, says(messageAnswer(cont, moved)), wants(MessagePublish)...),
		newProvider(t, Spec{}, guard, HookSpec{Hook: MessagePublish, Topics: []string{"guarded"}}),
		newProvider(t, Spec{}, old, HookSpec{Hook: MessagePublish, Topics: []string{theMessage.Topic}}))
	m.Dispatch(t.Context(), question(t, MessagePublish))
	if len(guard.calls()) != 1 || len(old.calls()) != 0 {
		t.Errorf("the guard of the new topic was asked %d times, that of the old %d times", len(guard.calls()), len(old.calls()))
	}
}
