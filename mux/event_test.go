package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// routed is the client id and the topic of a request, the slow way.
func routed(m proto.Message) (client, topic string) {
	get := func(outer, inner protoreflect.Name) string {
		r := m.ProtoReflect()
		f := r.Descriptor().Fields().ByName(outer)
		if f == nil {
			return ""
		}
		in := r.Get(f).Message()
		return in.Get(in.Descriptor().Fields().ByName(inner)).String()
	}
	client, topic = get("message", "from"), get("message", "topic")
	for _, outer := range []protoreflect.Name{"conninfo", "clientinfo"} {
		if m.ProtoReflect().Descriptor().Fields().ByName(outer) != nil {
			client = get(outer, "clientid")
		}
	}
	return client, topic
}

func TestEventSeesWhatUnmarshalSees(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, api := range []API{V1, V2, V3} {
		for _, h := range Hooks() {
			if !api.Has(h) {
				continue
			}
			for range 50 {
				req := randomRequest(r, api, h)
				body := marshal(t, req)
				e := NewEvent(h, body)
				client, topic := routed(req)
				if e.Client() != client || e.Topic() != topic || e.Malformed() {
					t.Fatalf("%s %s: client %q topic %q malformed %t, want %q %q", api.Service(), h, e.Client(), e.Topic(), e.Malformed(), client, topic)
				}
				if &e.Body[0] != &body[0] || len(e.Body) != len(body) {
					t.Fatalf("%s: Body is not the bytes that came", h)
				}
			}
		}
	}
}

func TestEventOfOddRequests(t *testing.T) {
	t.Parallel()
	field := func(num protowire.Number, v ...byte) []byte { return appendBytesField(nil, num, v) }
	text := func(num protowire.Number, s string) []byte { return appendBytesField(nil, num, []byte(s)) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	tests := []struct {
		name      string
		hook      Hook
		body      []byte
		client    string
		topic     string
		malformed bool
	}{
		{name: "empty request", hook: ClientConnect},
		{name: "empty request of a message hook", hook: MessagePublish},
		{name: "client info is empty", hook: ClientConnected, body: field(1)},
		{name: "client id is empty", hook: ClientConnected, body: field(1, text(2, "")...)},
		{name: "client id twice: the last", hook: ClientConnected, body: field(1, join(text(2, "a"), text(2, "b"))...), client: "b"},
		{name: "client info twice: merged", hook: ClientConnected, body: join(field(1, text(2, "a")...), field(1, text(3, "user")...)), client: "a"},
		{name: "client info twice: the last id", hook: ClientConnected, body: join(field(1, text(2, "a")...), field(1, text(2, "b")...)), client: "b"},
		{name: "unknown field before", hook: ClientConnected, body: join(text(900, "x"), field(1, text(2, "a")...)), client: "a"},
		{name: "unknown group around", hook: ClientConnected, body: join(protowire.AppendTag(nil, 900, protowire.StartGroupType), text(1, "x"), protowire.AppendTag(nil, 900, protowire.EndGroupType), field(1, text(2, "a")...)), client: "a"},
		{name: "client info with another wire type is unknown", hook: ClientConnected, body: join(appendVarintField(nil, 1, 5), field(1, text(2, "a")...)), client: "a"},
		{name: "client id with another wire type is unknown", hook: ClientConnected, body: field(1, join(text(2, "a"), appendVarintField(nil, 2, 5))...), client: "a"},
		{name: "message twice is not trusted", hook: MessagePublish, body: join(field(1, text(5, "t")...), field(1, text(5, "u")...)), malformed: true, topic: "t"},
		{name: "topic twice: the last", hook: MessagePublish, body: field(1, join(text(5, "t"), text(4, "c"), text(5, "u"))...), client: "c", topic: "u"},
		{name: "not UTF-8 is only bytes", hook: MessagePublish, body: field(1, join(text(5, "\xff"), text(4, "\xfe"))...), client: "\xfe", topic: "\xff"},
		{name: "truncated tag", hook: ClientConnected, body: []byte{0x80}, malformed: true},
		{name: "truncated length", hook: ClientConnected, body: []byte{0x0a, 0x05, 'a'}, malformed: true},
		{name: "field number 0", hook: ClientConnected, body: []byte{0x02, 0x00}, malformed: true},
		{name: "end of no group", hook: ClientConnected, body: []byte{0x0c}, malformed: true},
		{name: "broken client info", hook: ClientConnected, body: field(1, 0x12, 0x09), malformed: true},
		{name: "broken message", hook: MessagePublish, body: field(1, 0x2a, 0x09), malformed: true},
		{name: "broken header", hook: MessagePublish, body: field(1, join(text(5, "t"), field(8, 0x0a, 0x09))...), topic: "t", malformed: true},
		{name: "length over 2 GB", hook: ClientConnected, body: []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f}, malformed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := NewEvent(tt.hook, tt.body)
			if e.Malformed() != tt.malformed {
				t.Fatalf("Malformed() = %t, want %t", e.Malformed(), tt.malformed)
			}
			if e.Client() != tt.client || e.Topic() != tt.topic {
				t.Errorf("client %q topic %q, want %q %q", e.Client(), e.Topic(), tt.client, tt.topic)
			}
		})
	}
}

func FuzzNewEvent(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for h := range NumHooks {
		b, err := proto.Marshal(randomRequest(r, V3, Hook(h)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(h), b)
		f.Add(uint8(h), b[:len(b)/2])
	}
	f.Add(uint8(MessagePublish), []byte{0x0a, 0x02, 0x42, 0x00})
	f.Fuzz(func(t *testing.T, hook uint8, body []byte) {
		h := Hook(hook) % Hook(NumHooks)
		e := NewEvent(h, body)
		req := newRequest(V3, h)
		if proto.Unmarshal(body, req) != nil {
			return
		}
		if e.Malformed() {
			if occurrences(body, hooks[h].message) < 2 {
				t.Fatalf("%s: malformed, says NewEvent, of % x", h, body)
			}
			return
		}
		if client, topic := routed(req); e.Client() != client || e.Topic() != topic {
			t.Fatalf("%s: client %q topic %q, want %q %q", h, e.Client(), e.Topic(), client, topic)
		}
	})
}

// occurrences is how often the message has the field num with bytes in it.
func occurrences(b []byte, num protowire.Number) (n int) {
	eachField(b, func(got protowire.Number, typ protowire.Type, _ []byte) bool {
		if got == num && typ == protowire.BytesType {
			n++
		}
		return true
	})
	return n
}

// One byte lost anywhere in a request is no reason to panic, in any hook.
func TestDispatchSurvivesTruncatedRequests(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, says(ignoreResponse), wants(Hooks()...)...))
	r := rand.New(rand.NewPCG(5, 6))
	for _, h := range Hooks() {
		body := marshal(t, randomRequest(r, V3, h))
		for n := range body {
			answer := m.Dispatch(t.Context(), NewEvent(h, body[:n]))
			if !h.Valued() {
				if len(answer) != 0 {
					t.Fatalf("%s answered % x", h, answer)
				}
				continue
			}
			unmarshal[exhookv3.ValuedResponse](t, answer)
		}
	}
}
