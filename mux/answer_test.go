package mux

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func boolAnswer(typ exhookv3.ValuedResponse_ResponsedType, v bool) []byte {
	b, _ := proto.Marshal(&exhookv3.ValuedResponse{Type: typ, Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: v}})
	return b
}

func messageAnswer(typ exhookv3.ValuedResponse_ResponsedType, m *exhookv3.Message) []byte {
	b, _ := proto.Marshal(&exhookv3.ValuedResponse{Type: typ, Value: &exhookv3.ValuedResponse_Message{Message: m}})
	return b
}

const (
	cont   = exhookv3.ValuedResponse_CONTINUE
	ignore = exhookv3.ValuedResponse_IGNORE
	stop   = exhookv3.ValuedResponse_STOP_AND_RETURN
)

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	msg := &exhookv3.Message{Topic: "t"}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name    string
		hook    Hook
		answer  []byte
		want    answer
		wantErr string
	}{
		{name: "continue true", hook: ClientAuthenticate, answer: boolAnswer(cont, true), want: answer{typ: typeContinue, allowed: true}},
		{name: "continue false", hook: ClientAuthenticate, answer: boolAnswer(cont, false), want: answer{typ: typeContinue}},
		{name: "stop true", hook: ClientAuthorize, answer: boolAnswer(stop, true), want: answer{typ: typeStop, allowed: true}},
		{name: "ignore", hook: ClientAuthorize, answer: ignoreResponse, want: answer{typ: typeIgnore}},
		{name: "ignore of a message hook", hook: MessagePublish, answer: ignoreResponse, want: answer{typ: typeIgnore}},
		{name: "ignore with a value", hook: ClientAuthorize, answer: boolAnswer(ignore, true), want: answer{typ: typeIgnore, allowed: true}},
		{name: "continue message", hook: MessagePublish, answer: messageAnswer(cont, msg), want: answer{typ: typeContinue, msg: marshal(t, msg)}},
		{name: "stop message", hook: MessageIngress, answer: messageAnswer(stop, msg), want: answer{typ: typeStop, msg: marshal(t, msg)}},
		{name: "the last of two values counts", hook: ClientAuthorize, answer: join(messageAnswer(cont, msg), boolAnswer(cont, true)), want: answer{allowed: true, msg: marshal(t, msg)}},
		{name: "a message in two parts is merged", hook: MessagePublish, answer: join(messageAnswer(cont, msg), messageAnswer(cont, &exhookv3.Message{Qos: 1})), want: answer{msg: join(marshal(t, msg), marshal(t, &exhookv3.Message{Qos: 1}))}},
		{name: "a bool between two messages clears the first", hook: MessagePublish, answer: join(messageAnswer(cont, msg), boolAnswer(cont, true), messageAnswer(cont, msg)), want: answer{allowed: true, msg: marshal(t, msg)}},
		{name: "any other number than 0 is true", hook: ClientAuthorize, answer: appendVarintField(nil, respBool, 7), want: answer{allowed: true}},
		{name: "the type has 32 bits", hook: ClientAuthorize, answer: appendVarintField(nil, respType, 1<<32+typeIgnore), want: answer{typ: typeIgnore}},
		{name: "unknown fields are no matter", hook: ClientAuthorize, answer: join(appendBytesField(nil, 99, []byte("x")), boolAnswer(stop, true)), want: answer{typ: typeStop, allowed: true}},

		{name: "empty", hook: ClientAuthorize, answer: nil, wantErr: "the answer to client.authorize has no bool_result"},
		{name: "empty for a message hook", hook: MessagePublish, answer: nil, wantErr: "the answer to message.publish has no message"},
		{name: "stop without a value", hook: ClientAuthenticate, answer: appendVarintField(nil, respType, typeStop), wantErr: "no bool_result"},
		{name: "message where a bool belongs", hook: ClientAuthenticate, answer: messageAnswer(stop, msg), wantErr: "no bool_result"},
		{name: "bool where a message belongs", hook: MessagePublish, answer: boolAnswer(stop, true), wantErr: "no message"},
		{name: "a message overwritten by a bool", hook: MessagePublish, answer: join(messageAnswer(cont, msg), boolAnswer(cont, true)), wantErr: "no message"},
		{name: "bool with another wire type", hook: ClientAuthorize, answer: appendBytesField(nil, respBool, []byte{1}), wantErr: "no bool_result"},
		{name: "unknown type", hook: ClientAuthorize, answer: join(boolAnswer(cont, true), appendVarintField(nil, respType, 3)), wantErr: "unknown type 3"},
		{name: "negative type", hook: ClientAuthorize, answer: join(boolAnswer(cont, true), appendVarintField(nil, respType, ^uint64(0))), wantErr: "unknown type"},
		{name: "no protobuf", hook: ClientAuthorize, answer: []byte("no"), wantErr: "no protobuf message"},
		{name: "truncated", hook: MessagePublish, answer: messageAnswer(cont, msg)[:3], wantErr: "no protobuf message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseAnswer(tt.hook, tt.answer)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || got.typ != tt.want.typ || got.allowed != tt.want.allowed || !bytes.Equal(got.msg, tt.want.msg) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseAnswerLeavesTheAnswerAlone(t *testing.T) {
	t.Parallel()
	b := append(messageAnswer(cont, &exhookv3.Message{Topic: "t"}), messageAnswer(cont, &exhookv3.Message{Topic: "u"})...)
	was := slices.Clone(b)
	if _, err := parseAnswer(MessagePublish, b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, was) {
		t.Error("merging the parts changed the provider's bytes")
	}
}

// Setting a value changes that and nothing else, unknown fields and order of
// the others included.
func TestRequestWithAnotherValue(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		for _, allowed := range []bool{false, true} {
			authn := randomRequest(r, V3, ClientAuthenticate).(*exhookv3.ClientAuthenticateRequest)
			got := unmarshal[exhookv3.ClientAuthenticateRequest](t, withResult(marshal(t, authn), 2, allowed))
			if authn.Result = allowed; !proto.Equal(got, authn) {
				t.Fatalf("authenticate: got %v, want %v", got, authn)
			}
			authz := randomRequest(r, V3, ClientAuthorize).(*exhookv3.ClientAuthorizeRequest)
			gotz := unmarshal[exhookv3.ClientAuthorizeRequest](t, withResult(marshal(t, authz), 4, allowed))
			if authz.Result = allowed; !proto.Equal(gotz, authz) {
				t.Fatalf("authorize: got %v, want %v", gotz, authz)
			}
		}
		pub := randomRequest(r, V3, MessagePublish).(*exhookv3.MessagePublishRequest)
		msg := &exhookv3.Message{}
		fill(r, msg.ProtoReflect())
		got := unmarshal[exhookv3.MessagePublishRequest](t, withMessage(marshal(t, pub), 1, marshal(t, msg)))
		if pub.Message = msg; !proto.Equal(got, pub) {
			t.Fatalf("publish: got %v, want %v", got, pub)
		}
	}
}

// merged is what the chain makes of cur and a provider's message: cur with
// four things of the other.
func merged(cur, provider *exhookv3.Message) *exhookv3.Message {
	m := proto.CloneOf(cur)
	m.Qos, m.Topic, m.Payload = provider.Qos, provider.Topic, provider.Payload
	said := func(s string) bool { return s == "true" || s == "false" }
	if v := provider.Headers[allowPublishHeader]; said(v) {
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[allowPublishHeader] = v
	}
	return m
}

func randomMessage(r *rand.Rand) *exhookv3.Message {
	m := &exhookv3.Message{}
	fill(r, m.ProtoReflect())
	if m.Headers == nil {
		m.Headers = map[string]string{}
	}
	switch r.IntN(4) {
	case 0:
		m.Headers[allowPublishHeader] = "true"
	case 1:
		m.Headers[allowPublishHeader] = "false"
	}
	return m
}

var allGrants = new(Spec).grants()

func TestMergeMessageTakesFourThings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for range 2000 {
		cur, provider := randomMessage(r), randomMessage(r)
		if r.IntN(4) == 0 {
			provider = proto.CloneOf(cur)
		}
		b, changed, _, err := mergeMessage(marshal(t, cur), marshal(t, provider), allGrants)
		if provider.Topic == "" && cur.Topic != "" {
			if err == nil {
				t.Fatal("an empty topic was taken")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want := merged(cur, provider)
		if got := unmarshal[exhookv3.Message](t, b); !proto.Equal(got, want) {
			t.Fatalf("merged\n%v\nand\n%v\nto\n%v\nwant\n%v", cur, provider, got, want)
		}
		if (changed == 0) != proto.Equal(cur, want) {
			t.Fatalf("changed = %s for %v and %v", changed, cur, provider)
		}
		if changed == 0 && !bytes.Equal(b, marshal(t, cur)) {
			t.Fatal("unchanged, but not the same bytes")
		}
	}
}

func TestMergeMessageRefusesWhatCannotBePublished(t *testing.T) {
	t.Parallel()
	good := marshal(t, &exhookv3.Message{Topic: "t"})
	for name, tt := range map[string]struct {
		cur, provider []byte
		want          string
	}{
		"topic with a wildcard":  {good, marshal(t, &exhookv3.Message{Topic: "a/#"}), "wildcard"},
		"empty topic":            {good, marshal(t, &exhookv3.Message{Payload: []byte("x")}), "topic is empty"},
		"topic with a NUL":       {good, marshal(t, &exhookv3.Message{Topic: "a\x00"}), "NUL"},
		"topic not UTF-8":        {good, appendBytesField(nil, msgTopic, []byte("\xff")), "UTF-8"},
		"topic too long":         {good, marshal(t, &exhookv3.Message{Topic: strings.Repeat("x", 65536)}), "longer"},
		"QoS 3":                  {good, marshal(t, &exhookv3.Message{Topic: "t", Qos: 3}), "QoS 3"},
		"the answer is broken":   {good, []byte{0x2a, 9}, "the answer's message is malformed"},
		"an answer's header is":  {good, appendBytesField(good, msgHeaders, []byte{0x0a, 9}), "the answer's message is malformed"},
		"the request's is":       {[]byte{0x2a, 9}, good, "the request's message is malformed"},
		"the request's header":   {appendBytesField(nil, msgHeaders, []byte{0x0a, 9}), good, "the request's message is malformed"},
		"the answer has no type": {good, []byte{0xff}, "the answer's message is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, _, err := mergeMessage(slices.Clip(tt.cur), tt.provider, allGrants); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestRefuseKeepsAllElse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	for range 500 {
		want := randomMessage(r)
		got := unmarshal[exhookv3.Message](t, refuse(marshal(t, want)))
		if want.Headers[allowPublishHeader] = "false"; !proto.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "rubbish": []byte("rubbish")} {
		got := unmarshal[exhookv3.Message](t, refuse(b))
		if want := (&exhookv3.Message{Headers: map[string]string{allowPublishHeader: "false"}}); !proto.Equal(got, want) {
			t.Errorf("refuse(%s) = %v", name, got)
		}
	}
}

// A field is kept as its sender wrote it, also where protobuf has several ways.
func TestUntouchedFieldsAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	odd := []byte{0xa2, 0x80, 0x00, 0x83, 0x00, 'a', 'b', 'c'} // field 4, tag and length in more bytes than needed
	got := refuse(slices.Clip(odd))
	if !bytes.HasPrefix(got, odd) {
		t.Errorf("% x became % x", odd, got)
	}
}

func FuzzAnswer(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 5 {
		b, _ := proto.Marshal(randomMessage(r))
		c, _ := proto.Marshal(randomMessage(r))
		f.Add(b, messageAnswer(cont, nil), uint8(MessagePublish))
		f.Add(b, appendBytesField(nil, respMessage, c), uint8(MessagePublish))
	}
	f.Add([]byte{}, boolAnswer(stop, true), uint8(ClientAuthenticate))
	f.Fuzz(func(t *testing.T, cur, raw []byte, hook uint8) {
		h := Hook(hook) % Hook(NumHooks)
		if !h.Valued() {
			return
		}
		a, err := parseAnswer(h, raw)
		var resp exhookv3.ValuedResponse
		if proto.Unmarshal(raw, &resp) != nil {
			// Whatever we made of it, it must not panic; what comes out has to be read.
			if err == nil && a.typ != typeIgnore && !h.Access() {
				_, _, _, _ = mergeMessage(cur, a.msg, allGrants)
			}
			return
		}
		_, isBool := resp.Value.(*exhookv3.ValuedResponse_BoolResult)
		_, isMsg := resp.Value.(*exhookv3.ValuedResponse_Message)
		sound := resp.Type == ignore || (resp.Type == cont || resp.Type == stop) && (h.Access() && isBool || !h.Access() && isMsg)
		if sound != (err == nil) {
			t.Fatalf("%s: error %v for %v", h, err, &resp)
		}
		if err != nil || a.typ == typeIgnore {
			return
		}
		if a.typ != uint64(resp.Type) || h.Access() && a.allowed != resp.GetBoolResult() {
			t.Fatalf("%s: %+v for %v", h, a, &resp)
		}
		var was exhookv3.Message
		if h.Access() || proto.Unmarshal(cur, &was) != nil {
			return
		}
		b, _, _, err := mergeMessage(cur, a.msg, allGrants)
		if err != nil {
			return
		}
		var got exhookv3.Message
		if err := proto.Unmarshal(b, &got); err != nil {
			t.Fatalf("merged to no message: %v", err)
		}
		want := merged(&was, resp.GetMessage())
		if v := want.Headers[allowPublishHeader]; v != "true" && v != "false" {
			delete(want.Headers, allowPublishHeader)
			delete(got.Headers, allowPublishHeader)
		}
		got.ProtoReflect().SetUnknown(nil)
		want.ProtoReflect().SetUnknown(nil)
		if len(got.Headers) == 0 && len(want.Headers) == 0 {
			got.Headers, want.Headers = nil, nil
		}
		if !proto.Equal(&got, want) {
			t.Fatalf("merged to %v, want %v", &got, want)
		}
	})
}
