package conformance

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// input is the request message of a hook.
func input(h mux.Hook) protoreflect.MessageDescriptor {
	service := exhookv3.File_emqx_exhook_v3_exhook_proto.Services().ByName("HookProvider")
	method := mux.V3.FullMethod(h)
	return service.Methods().ByName(protoreflect.Name(method[strings.LastIndexByte(method, '/')+1:])).Input()
}

// sample is a request with every field set, about a client.
func sample(h mux.Hook, client string) []byte { return encode(sampleMessage(h, client)) }

func sampleMessage(h mux.Hook, client string) protoreflect.Message {
	typ, err := protoregistry.GlobalTypes.FindMessageByName(input(h).FullName())
	if err != nil {
		panic(err) // the generated code is linked
	}
	m := typ.New()
	fill(m, client)
	return m
}

func encode(m protoreflect.Message) []byte {
	b, err := proto.Marshal(m.Interface())
	if err != nil {
		panic(fmt.Sprintf("%s: %v", m.Descriptor().FullName(), err)) // of our own making
	}
	return b
}

// texts are what EMQX might send in a field of this name.
var texts = map[protoreflect.Name]string{
	"node": "emqx@127.0.0.1", "version": "5.10.3", "cluster_name": "emqxcl", "sysdescr": "EMQX",
	"username": "verify", "password": "a password", "peerhost": "127.0.0.1", "protocol": "mqtt", "proto_name": "MQTT", "proto_ver": "5",
	"topic": "verify/topic", "id": "00061F0E0B6C1A2BF444000004D20000", "reason": "normal", "result_code": "success",
}

func fill(m protoreflect.Message, client string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			headers := m.Mutable(f).Map()
			for k, v := range map[string]string{"username": "verify", "protocol": "mqtt", "peerhost": "127.0.0.1", "allow_publish": "true"} {
				headers.Set(protoreflect.ValueOfString(k).MapKey(), protoreflect.ValueOfString(v))
			}
		case f.IsList():
			if f.Message() != nil {
				fill(m.Mutable(f).List().AppendMutable().Message(), client)
			}
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), client)
		default:
			m.Set(f, scalar(f, client))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor, client string) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		if f.Name() == "clientid" || f.Name() == "from" {
			return protoreflect.ValueOfString(client)
		}
		if text, ok := texts[f.Name()]; ok {
			return protoreflect.ValueOfString(text)
		}
		return protoreflect.ValueOfString("verify")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(`{"value": 21.5}`))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1) // also a QoS
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1_750_000_000_000)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1_750_000_000_000)
	default:
		return f.Default() // false, and the first word of an enumeration
	}
}

// large is a request of about so many bytes: in the message's payload where there
// is one, else in a field from the future.
func large(h mux.Hook, client string, size int) []byte {
	m := sampleMessage(h, client)
	if f := m.Descriptor().Fields().ByName("message"); f != nil {
		message := m.Mutable(f).Message()
		payload := message.Descriptor().Fields().ByName("payload")
		message.Set(payload, protoreflect.ValueOfBytes([]byte(strings.Repeat("x", size))))
		return encode(m)
	}
	return appendUnknown(encode(m), strings.Repeat("x", size))
}

// fromTheFuture is a request with fields that no version knows, in itself and in
// each message within.
func fromTheFuture(h mux.Hook, client string) []byte {
	m := sampleMessage(h, client)
	addUnknown(m)
	return encode(m)
}

func addUnknown(m protoreflect.Message) {
	m.SetUnknown(appendUnknown(m.GetUnknown(), "new"))
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				addUnknown(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			addUnknown(m.Mutable(f).Message())
		}
		return true
	})
}

func appendUnknown(b []byte, text string) []byte {
	const future = 15_000
	b = protowire.AppendVarint(protowire.AppendTag(b, future, protowire.VarintType), 1)
	b = protowire.AppendString(protowire.AppendTag(b, future+1, protowire.BytesType), text)
	return b
}

// checkAnswer says what is wrong with an answer.
func checkAnswer(h mux.Hook, answer []byte) error {
	if !h.Valued() {
		if err := proto.Unmarshal(answer, new(exhookv3.EmptySuccess)); err != nil {
			return wrong("is no EmptySuccess")
		}
		return nil
	}
	var r exhookv3.ValuedResponse
	if err := proto.Unmarshal(answer, &r); err != nil {
		return wrong("is no ValuedResponse")
	}
	if r.GetType() == exhookv3.ValuedResponse_IGNORE {
		return nil
	}
	_, isBool := r.GetValue().(*exhookv3.ValuedResponse_BoolResult)
	switch {
	case h.Access() && !isBool:
		return wrong("decides without a bool_result")
	case !h.Access() && r.GetMessage() == nil:
		return wrong("rewrites without a message")
	}
	return nil
}

func wrong(text string) error { return fmt.Errorf("the answer %s", text) }
