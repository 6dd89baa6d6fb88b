package mux

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Whatever the bytes: what protobuf reads out of the redacted request is what it
// reads out of the request, without what is redacted.
func FuzzRedact(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for h := range NumHooks {
		for r := range Redaction(numRedactions) {
			req := randomRequest(rnd, V3, Hook(h))
			plant(req, r)
			b := marshal(f, req)
			f.Add(uint8(h), uint8(1<<r), b)
			f.Add(uint8(h), uint8(255), b[:len(b)/2])
			f.Add(uint8(h), uint8(255), append(b[:len(b):len(b)], b...))
		}
	}
	f.Add(uint8(MessageDropped), uint8(255), appendBytesField(nil, 1, appendBytesField(nil, msgHeaders, []byte{0x0a, 9})))
	f.Fuzz(func(t *testing.T, hook, hide uint8, body []byte) {
		h, hidden := Hook(hook)%Hook(NumHooks), redactions(hide)
		ev := NewEvent(h, body)
		if ev.Malformed() {
			return // nobody gets it
		}
		given := slices.Clone(body)
		got := ev.redacted(body, hidden&redactable[h])
		if !bytes.Equal(body, given) {
			t.Fatal("the broker's bytes were changed")
		}
		if again := NewEvent(h, got); again.Malformed() || again.Client() != ev.Client() || again.Topic() != ev.Topic() || !bytes.Equal(again.redacted(got, hidden&redactable[h]), got) {
			t.Fatalf("%s without %v is %q, and that redacted again is another", h, hidden, got)
		}
		req, shown := newRequest(V3, h), newRequest(V3, h)
		if proto.Unmarshal(body, req) != nil {
			return
		}
		if err := proto.Unmarshal(got, shown); err != nil {
			t.Fatalf("%s without %v cannot be read: %v", h, hidden, err)
		}
		before := proto.Clone(shown)
		for r := range Redaction(numRedactions) {
			if hidden.has(r) {
				clearAll(req, r)
				clearAll(shown, r)
			}
		}
		if !proto.Equal(shown, before) {
			t.Fatalf("%s without %v still has it: %v", h, hidden, before)
		}
		for _, m := range []proto.Message{req, shown} {
			sameToAll(m.ProtoReflect(), hidden)
		}
		if !proto.Equal(shown, req) {
			t.Fatalf("%s without %v is\n%v, want\n%v", h, hidden, shown, req)
		}
	})
}

// sameToAll leaves of m what readers agree on in odd encodings: no unknown fields,
// since one with a redacted field's number is redacted, and no headers or properties
// if there is something to redact in them, since one with several names is.
func sameToAll(m protoreflect.Message, hide redactions) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Name() == "headers" && hide&inMessage[msgHeaders] != 0, fd.Name() == "props" && hide.has(RedactUserProperties):
			m.Clear(fd)
		case fd.IsMap():
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				sameToAll(v.List().Get(i).Message(), hide)
			}
		case fd.Kind() == protoreflect.MessageKind:
			sameToAll(v.Message(), hide)
		}
		return true
	})
}
