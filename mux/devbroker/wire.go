package devbroker

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// rawCodec carries messages that are bytes already. It is named proto so that the
// content type is EMQX's, application/grpc+proto.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// encode writes m field by field, in the order of the numbers. proto.Marshal would
// refuse a string that is not UTF-8; MQTT lets user names and passwords be any
// bytes, and EMQX sends them as they came.
func encode(m proto.Message) []byte { return appendMessage(nil, m.ProtoReflect()) }

func appendMessage(b []byte, m protoreflect.Message) []byte {
	fields := m.Descriptor().Fields()
	order := make([]protoreflect.FieldDescriptor, 0, fields.Len())
	for i := range fields.Len() {
		if fd := fields.Get(i); m.Has(fd) {
			order = append(order, fd)
		}
	}
	slices.SortFunc(order, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	for _, fd := range order {
		v := m.Get(fd)
		switch {
		case fd.IsList():
			for i := range v.List().Len() {
				b = appendField(b, fd, v.List().Get(i))
			}
		case fd.IsMap():
			b = appendMap(b, fd, v.Map())
		default:
			b = appendField(b, fd, v)
		}
	}
	return append(b, m.GetUnknown()...)
}

// appendMap writes entries sorted by key, so that equal messages are equal bytes.
func appendMap(b []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int {
		if x.String() < y.String() {
			return -1
		}
		return 1
	})
	for _, k := range keys {
		entry := appendField(nil, fd.MapKey(), k.Value())
		entry = appendField(entry, fd.MapValue(), m.Get(k))
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		b = protowire.AppendBytes(b, entry)
	}
	return b
}

// appendField writes one value of the kinds that the ExHook protocol uses.
func appendField(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	num := fd.Number()
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v.String())
	case protoreflect.BytesKind:
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v.Bytes())
	case protoreflect.MessageKind:
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), appendMessage(nil, v.Message()))
	case protoreflect.BoolKind:
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), protowire.EncodeBool(v.Bool()))
	case protoreflect.EnumKind:
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v.Enum()))
	case protoreflect.Int64Kind:
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v.Int()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v.Uint())
	default:
		panic(fmt.Sprintf("devbroker: no encoding for %s", fd.FullName()))
	}
}

// eachField walks the fields of an answer. Answers are read by hand for the same
// reason: a client id that a provider echoes need not be UTF-8.
func eachField(b []byte, f func(num protowire.Number, varint uint64, data []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return protowire.ParseError(n)
			}
			f(num, v, nil)
			b = b[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return protowire.ParseError(n)
			}
			f(num, 0, v)
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
		}
	}
	return nil
}

// ValuedResponse.type; CONTINUE is 0 and, with one server, means what STOP means.
const typeIgnore = 1

// verdict is a ValuedResponse, as far as EMQX looks at it.
type verdict struct {
	typ     uint64
	boolean *bool
	message *change
}

// change is what EMQX takes over from a returned message.
type change struct {
	qos     byte
	topic   string
	payload []byte
	refused bool // allow_publish is "false"
}

func decodeVerdict(b []byte) (verdict, error) {
	var v verdict
	var inner error
	err := eachField(b, func(num protowire.Number, varint uint64, data []byte) {
		switch num {
		case 1:
			v.typ = varint
		case 3: // a oneof: the last one wins
			yes := varint != 0
			v.boolean, v.message = &yes, nil
		case 4:
			var c change
			c, inner = decodeChange(data)
			v.boolean, v.message = nil, &c
		}
	})
	return v, errors.Join(err, inner)
}

func decodeChange(b []byte) (change, error) {
	var c change
	err := eachField(b, func(num protowire.Number, varint uint64, data []byte) {
		switch num {
		case 3:
			c.qos = byte(min(varint, 2))
		case 5:
			c.topic = string(data)
		case 6:
			c.payload = slices.Clone(data)
		case 8:
			if key, val := decodeEntry(data); key == "allow_publish" {
				c.refused = val == "false"
			}
		}
	})
	return c, err
}

// decodeEntry reads one entry of a map of strings.
func decodeEntry(b []byte) (key, val string) {
	_ = eachField(b, func(num protowire.Number, _ uint64, data []byte) {
		switch num {
		case 1:
			key = string(data)
		case 2:
			val = string(data)
		}
	})
	return key, val
}

// decodeMessage reads back what encode made of a message of ours.
func decodeMessage(b []byte) *exhookv3.Message {
	m := &exhookv3.Message{}
	_ = eachField(b, func(num protowire.Number, varint uint64, data []byte) {
		switch num {
		case 1:
			m.Node = string(data)
		case 2:
			m.Id = string(data)
		case 3:
			m.Qos = uint32(varint)
		case 4:
			m.From = string(data)
		case 5:
			m.Topic = string(data)
		case 6:
			m.Payload = slices.Clone(data)
		case 7:
			m.Timestamp = varint
		case 8:
			if m.Headers == nil {
				m.Headers = map[string]string{}
			}
			key, val := decodeEntry(data)
			m.Headers[key] = val
		}
	})
	return m
}

// hookSpec is one entry of a LoadedResponse.
type hookSpec struct {
	name   string
	topics []string
}

func decodeLoaded(b []byte) ([]hookSpec, error) {
	var specs []hookSpec
	var inner error
	err := eachField(b, func(num protowire.Number, _ uint64, data []byte) {
		if num != 1 {
			return
		}
		var s hookSpec
		inner = errors.Join(inner, eachField(data, func(num protowire.Number, _ uint64, data []byte) {
			switch num {
			case 1:
				s.name = string(data)
			case 2:
				s.topics = append(s.topics, string(data))
			}
		}))
		specs = append(specs, s)
	})
	return specs, errors.Join(err, inner)
}
