package sdk

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"pgregory.net/rapid"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// Whatever a broker sends, unmarshal reads what the generated code reads.
func TestUnmarshalAgreesWithTheGeneratedCode(t *testing.T) {
	t.Parallel()
	var requests []protoreflect.MessageType
	messages := exhookv3.File_emqx_exhook_v3_exhook_proto.Messages()
	for i := range messages.Len() {
		if d := messages.Get(i); strings.HasSuffix(string(d.Name()), "Request") {
			m, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, m)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(requests).Draw(t, "type")
		b := drawEncoded(t, typ.Descriptor())
		if rapid.IntRange(0, 3).Draw(t, "damage") == 0 && len(b) > 0 {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		want, got := typ.New().Interface(), typ.New().Interface()
		wantErr, gotErr := proto.Unmarshal(b, want), unmarshal(b, got)
		switch {
		case (wantErr == nil) != (gotErr == nil):
			t.Fatalf("%x: generated code: %v, this: %v", b, wantErr, gotErr)
		case wantErr == nil && !proto.Equal(want, got):
			t.Fatalf("%x: the generated code read\n%v\nthis\n%v", b, want, got)
		}
	})
}

// drawEncoded is a message of that type, in any order, with fields given twice,
// unknown ones, and ones of a wrong type.
func drawEncoded(t *rapid.T, d protoreflect.MessageDescriptor) (b []byte) {
	known := d.Fields()
	for range rapid.IntRange(0, 8).Draw(t, "fields") {
		var f protoreflect.FieldDescriptor
		num := protowire.Number(rapid.IntRange(1, 100).Draw(t, "unknown"))
		if known.Len() > 0 && rapid.IntRange(0, 19).Draw(t, "is known") > 0 {
			f = known.Get(rapid.IntRange(0, known.Len()-1).Draw(t, "field"))
			num = f.Number()
		}
		switch {
		case rapid.IntRange(0, 49).Draw(t, "wrong type") == 0:
			b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), rapid.Uint32().Draw(t, "fixed"))
		case f != nil && f.Message() != nil:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), drawEncoded(t, f.Message()))
		case f != nil && f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), rapid.Uint64().Draw(t, "number"))
		default:
			texts := []string{"", "emqx@127.0.0.1", "mqtt", "protocol", "allow_publish", "true", "\xff", "ü", strings.Repeat("long", 20)}
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), rapid.SampledFrom(texts).Draw(t, "text"))
		}
	}
	return b
}

// What the plugin changes in a request is its own.
func TestUnmarshalCopies(t *testing.T) {
	t.Parallel()
	b, err := proto.Marshal(&MessagePublishRequest{Message: &Message{Payload: []byte("payload"), Topic: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	var first, second MessagePublishRequest
	if err := unmarshal(b, &first); err != nil {
		t.Fatal(err)
	}
	clear(first.Message.Payload)
	_ = append(first.Message.Payload, "more"...)
	if err := unmarshal(b, &second); err != nil || string(second.Message.Payload) != "payload" {
		t.Errorf("%q, %v", second.Message.Payload, err)
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	request, err := proto.Marshal(&MessageDeliveredRequest{
		Clientinfo: &ClientInfo{Node: "emqx@127.0.0.1", Clientid: "device-0123456789", Username: "device", Peerhost: "10.1.2.3", Sockport: 1883, Protocol: "mqtt"},
		Message: &Message{
			Node: "emqx@127.0.0.1", Id: "0006219B7B8F5A4CF4420000045C0001", Qos: 1, From: "publisher", Topic: "devices/device/telemetry", Payload: make([]byte, 256),
			Timestamp: 1_700_000_000_000, Headers: map[string]string{"username": "device", "protocol": "mqtt", "peerhost": "10.1.2.3", "allow_publish": "true"},
		},
		Meta: &RequestMeta{Node: "emqx@127.0.0.1", Version: "5.10.3", Sysdescr: "EMQX", ClusterName: "emqxcl"},
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func([]byte, proto.Message) error{"generated": proto.Unmarshal, "sdk": unmarshal} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(request, new(MessageDeliveredRequest)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
