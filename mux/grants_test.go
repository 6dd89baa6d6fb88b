package mux

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestChangeWords(t *testing.T) {
	t.Parallel()
	for i, name := range ChangeNames() {
		if c, err := ParseChange(name); err != nil || c != Change(i) || c.String() != name {
			t.Errorf("%s is read as %s, %v", name, c, err)
		}
	}
	if _, err := ParseChange("headers"); err == nil {
		t.Error("headers can be changed")
	}
	if len(ChangeNames()) != NumChanges {
		t.Error("a change without a name")
	}
}

// changed is theMessage with everything changed that an answer can change.
func changed() *exhookv3.Message {
	m := proto.CloneOf(theMessage)
	m.Payload, m.Topic, m.Qos = []byte("new"), "elsewhere", 2
	m.Headers[allowPublishHeader] = "false"
	return m
}

// changesIn are the differences between two messages.
func changesIn(is, was *exhookv3.Message) (out []Change) {
	for c, same := range [NumChanges]bool{
		ChangePayload: bytes.Equal(is.Payload, was.Payload),
		ChangeTopic:   is.Topic == was.Topic,
		ChangeQoS:     is.Qos == was.Qos,
		ChangeDrop:    is.Headers[allowPublishHeader] == was.Headers[allowPublishHeader],
	} {
		if !same {
			out = append(out, Change(c))
		}
	}
	return out
}

// What a provider changes without a grant is put back before anyone sees it, and
// counted; what it was granted reaches the next provider and the broker.
func TestMayChange(t *testing.T) {
	t.Parallel()
	all := []Change{ChangePayload, ChangeTopic, ChangeQoS, ChangeDrop}
	for _, h := range []Hook{MessagePublish, MessageIngress} {
		for n := range 1<<NumChanges + 1 {
			var may []Change // at last nil, the default
			if n < 1<<NumChanges {
				may = []Change{}
			}
			for _, c := range all {
				if may != nil && n>>c&1 != 0 {
					may = append(may, c)
				}
			}
			t.Run(fmt.Sprintf("%s may change %v", h, may), func(t *testing.T) {
				t.Parallel()
				p := newProvider(t, Spec{MayChange: may}, says(messageAnswer(cont, changed())), wants(h)...)
				next := says(ignoreResponse)
				m := newMux(Options{}, p, newProvider(t, Spec{}, next, wants(h)...))
				answer := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, h)))

				want := proto.CloneOf(theMessage)
				for _, c := range all {
					granted := may == nil || n>>c&1 != 0
					counted := p.Stats().PutBack[c].Load()
					if granted != (counted == 0) || counted > 1 {
						t.Errorf("%s: granted %t, put back %d times", c, granted, counted)
					}
					if !granted {
						continue
					}
					switch c {
					case ChangePayload:
						want.Payload = changed().Payload
					case ChangeTopic:
						want.Topic = changed().Topic
					case ChangeQoS:
						want.Qos = changed().Qos
					case ChangeDrop:
						want.Headers[allowPublishHeader] = "false"
					}
				}
				if answer.Type != cont || !proto.Equal(answer.GetMessage(), want) {
					t.Errorf("the broker gets %v, want %v", answer, want)
				}
				var msg []byte
				lastBytes(next.calls()[0].req, hooks[h].message, &msg)
				if seen := unmarshal[exhookv3.Message](t, msg); !proto.Equal(seen, want) {
					t.Errorf("the next provider sees %v, want %v", seen, want)
				}
			})
		}
	}
}

// However a provider's message differs, of the result only what was granted does,
// and exactly the rest is reported.
func TestPutBack(t *testing.T) {
	t.Parallel()
	draw := func(rt *rapid.T, name string) *exhookv3.Message {
		m := &exhookv3.Message{
			Qos: rapid.Uint32Range(0, 2).Draw(rt, name+" qos"), Topic: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, name+" topic"),
			Payload: []byte(rapid.SampledFrom([]string{"", "p", "q"}).Draw(rt, name+" payload")), Headers: map[string]string{},
		}
		if v := rapid.SampledFrom([]string{"", "true", "false"}).Draw(rt, name+" allow_publish"); v != "" {
			m.Headers[allowPublishHeader] = v
		}
		return m
	}
	rapid.Check(t, func(rt *rapid.T) {
		was, wanted := draw(rt, "request"), draw(rt, "answer")
		spec := Spec{MayChange: rapid.SliceOfDistinct(rapid.SampledFrom([]Change{ChangePayload, ChangeTopic, ChangeQoS, ChangeDrop}), func(c Change) Change { return c }).Draw(rt, "may_change")}
		blind := rapid.Bool().Draw(rt, "payload redacted")
		if spec.MayChange == nil {
			spec.MayChange = []Change{}
		}
		if blind {
			spec.Redact = []Redaction{RedactPayload}
		}
		g := spec.grants()
		b, taken, back, err := mergeMessage(marshal(t, was), marshal(t, wanted), g)
		if err != nil {
			rt.Fatal(err)
		}
		got := unmarshal[exhookv3.Message](t, b)
		for _, c := range changesIn(got, was) {
			if !g.may.Has(c) || blind && c == ChangePayload {
				rt.Errorf("%s of %v was changed to %v", c, was, got)
			}
		}
		for c := range Change(NumChanges) {
			if taken.Has(c) != slices.Contains(changesIn(got, was), c) {
				rt.Errorf("%s is said to have changed: %t; %v became %v", c, taken.Has(c), was, got)
			}
		}
		for _, c := range changesIn(wanted, was) {
			var harmless bool
			switch c {
			case ChangePayload: // the empty one is the one that it was shown
				harmless = blind && len(wanted.Payload) == 0
			case ChangeDrop: // who says nothing, or yes where nobody said no
				v := wanted.Headers[allowPublishHeader]
				harmless = v == "" || v == "true" && was.Headers[allowPublishHeader] == ""
			}
			if want := !g.may.Has(c) && !harmless; back.Has(c) != want {
				rt.Errorf("%s: reported as put back: %t, want %t", c, back.Has(c), want)
			}
		}
		for c := range NumChanges {
			if back.Has(Change(c)) && g.may.Has(Change(c)) {
				rt.Errorf("%s was granted and put back", Change(c))
			}
		}
	})
}

// What would be an invalid answer is none once it is put back, and a message that
// another provider refused stays refused.
func TestPutBackComesFirst(t *testing.T) {
	t.Parallel()
	odd := proto.CloneOf(theMessage)
	odd.Topic, odd.Qos = "a/#", 7
	refused := proto.CloneOf(theMessage)
	refused.Headers[allowPublishHeader] = "false"
	allowed := proto.CloneOf(theMessage)
	allowed.Headers[allowPublishHeader] = "true"

	invalid := newProvider(t, Spec{MayChange: []Change{ChangePayload}}, says(messageAnswer(cont, odd)), wants(MessagePublish)...)
	again := newProvider(t, Spec{MayChange: []Change{ChangePayload}}, says(messageAnswer(cont, allowed)), wants(MessagePublish)...)
	m := newMux(Options{}, invalid, newProvider(t, Spec{}, says(messageAnswer(cont, refused)), wants(MessagePublish)...), again)
	answer := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, MessagePublish)))
	if !proto.Equal(answer.GetMessage(), refused) {
		t.Errorf("the answer is %v", answer)
	}
	if n := invalid.Stats().Missing[ReasonInvalid].Load(); n != 0 {
		t.Errorf("%d answers were invalid", n)
	}
	if n := again.Stats().PutBack[ChangeDrop].Load(); n != 1 {
		t.Errorf("put back %d times", n)
	}
}

// A failure policy is the operator's, not the provider's: deny refuses the message
// of a provider that may not.
func TestPolicyNeedsNoGrant(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{MayChange: []Change{}}, fails(ErrAnswered), wants(MessagePublish)...))
	answer := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, MessagePublish)))
	if answer.GetMessage().GetHeaders()[allowPublishHeader] != "false" {
		t.Errorf("the answer is %v", answer)
	}
}
