package sdk

import (
	"hash/maphash"
	"sync/atomic"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// unmarshal is proto.Unmarshal, in a third of its time for what events are made
// of: of the generated code half the time goes into a message's headers, a map,
// which it fills by reflection. What is not as usual, and all other fields, the
// generated code reads.
func unmarshal(request []byte, r proto.Message) error {
	to := partsOf(r)
	rest := request // what of the fields so far has yet to be read
	at := 0
	for at < len(request) {
		num, typ, n := protowire.ConsumeTag(request[at:])
		if n < 0 {
			return proto.Unmarshal(request, r) // which knows the error
		}
		if typ != protowire.BytesType {
			v := protowire.ConsumeFieldValue(num, typ, request[at+n:])
			if v < 0 {
				return proto.Unmarshal(request, r)
			}
			at += n + v
			continue
		}
		val, v := protowire.ConsumeBytes(request[at+n:])
		if v < 0 {
			return proto.Unmarshal(request, r)
		}
		end := at + n + v
		if to.has(num) {
			// What is before it, first: the last of a field given twice counts.
			if before := rest[:len(rest)-(len(request)-at)]; len(before) > 0 {
				if err := merge.Unmarshal(before, r); err != nil {
					return err
				}
			}
			rest = request[at:]
			if to.read(num, val) {
				rest = request[end:]
			}
		}
		at = end
	}
	if len(rest) == 0 {
		return nil
	}
	return merge.Unmarshal(rest, r)
}

var merge = proto.UnmarshalOptions{Merge: true}

// parts are the fields of a request that are read here, and where to put them; a
// field is 0, which no number is, in a request without it.
type parts struct {
	client, message, meta protowire.Number

	toClient  **ClientInfo
	toMessage **Message
	toMeta    **RequestMeta
}

func partsOf(r proto.Message) parts {
	switch r := r.(type) {
	case *ClientAuthenticateRequest:
		return parts{client: 1, toClient: &r.Clientinfo, meta: 3, toMeta: &r.Meta}
	case *ClientAuthorizeRequest:
		return parts{client: 1, toClient: &r.Clientinfo, meta: 5, toMeta: &r.Meta}
	case *ClientConnectedRequest:
		return parts{client: 1, toClient: &r.Clientinfo, meta: 2, toMeta: &r.Meta}
	case *ClientDisconnectedRequest:
		return parts{client: 1, toClient: &r.Clientinfo, meta: 3, toMeta: &r.Meta}
	case *MessagePublishRequest:
		return parts{message: 1, toMessage: &r.Message, meta: 2, toMeta: &r.Meta}
	case *MessageIngressRequest:
		return parts{client: 1, toClient: &r.Clientinfo, message: 2, toMessage: &r.Message, meta: 3, toMeta: &r.Meta}
	case *MessageDeliveredRequest:
		return parts{client: 1, toClient: &r.Clientinfo, message: 2, toMessage: &r.Message, meta: 3, toMeta: &r.Meta}
	case *MessageAckedRequest:
		return parts{client: 1, toClient: &r.Clientinfo, message: 2, toMessage: &r.Message, meta: 3, toMeta: &r.Meta}
	case *MessageDroppedRequest:
		return parts{message: 1, toMessage: &r.Message, meta: 3, toMeta: &r.Meta}
	}
	return parts{}
}

func (p *parts) has(num protowire.Number) bool {
	return num == p.client || num == p.message || num == p.meta
}

// read reads the field num, if that is one of the parts and as usual. A part that
// is given twice is not: protobuf merges it.
func (p *parts) read(num protowire.Number, val []byte) bool {
	switch {
	case num == p.client && *p.toClient == nil:
		c := new(ClientInfo)
		if !readClient(val, c) {
			return false
		}
		*p.toClient = c
	case num == p.message && *p.toMessage == nil:
		m := new(Message)
		if !readMessage(val, m) {
			return false
		}
		*p.toMessage = m
	case num == p.meta && *p.toMeta == nil:
		m := new(RequestMeta)
		if !readMeta(val, m) {
			return false
		}
		*p.toMeta = m
	default:
		return false
	}
	return true
}

func readMessage(b []byte, m *Message) bool {
	return eachField(b, func(num protowire.Number, u uint64, val []byte) bool {
		switch num {
		case 1 | textField:
			return often(val, &m.Node)
		case 2 | textField:
			return text(val, &m.Id)
		case 3:
			m.Qos = uint32(u)
		case 4 | textField:
			return text(val, &m.From)
		case 5 | textField:
			return text(val, &m.Topic)
		case 6 | textField:
			m.Payload = append([]byte{}, val...) // the plugin may change it
		case 7:
			m.Timestamp = u
		case 8 | textField:
			if m.Headers == nil {
				m.Headers = make(map[string]string, 4)
			}
			return readHeader(val, m.Headers)
		default:
			return false
		}
		return true
	})
}

func readHeader(b []byte, to map[string]string) bool {
	var key, value string
	ok := eachField(b, func(num protowire.Number, _ uint64, val []byte) bool {
		switch num {
		case 1 | textField:
			return often(val, &key)
		case 2 | textField:
			if key == "protocol" || key == "allow_publish" {
				return often(val, &value)
			}
			return text(val, &value)
		}
		return false
	})
	if ok {
		to[key] = value
	}
	return ok
}

func readClient(b []byte, c *ClientInfo) bool {
	return eachField(b, func(num protowire.Number, u uint64, val []byte) bool {
		switch num {
		case 1 | textField:
			return often(val, &c.Node)
		case 2 | textField:
			return text(val, &c.Clientid)
		case 3 | textField:
			return text(val, &c.Username)
		case 4 | textField:
			return text(val, &c.Password)
		case 5 | textField:
			return text(val, &c.Peerhost)
		case 6:
			c.Sockport = uint32(u)
		case 7 | textField:
			return often(val, &c.Protocol)
		case 8 | textField:
			return text(val, &c.Mountpoint)
		case 9:
			c.IsSuperuser = u != 0
		case 10:
			c.Anonymous = u != 0
		case 11 | textField:
			return text(val, &c.Cn)
		case 12 | textField:
			return text(val, &c.Dn)
		case 13:
			c.Peerport = uint32(u)
		default:
			return false
		}
		return true
	})
}

func readMeta(b []byte, m *RequestMeta) bool {
	return eachField(b, func(num protowire.Number, _ uint64, val []byte) bool {
		switch num {
		case 1 | textField:
			return often(val, &m.Node)
		case 2 | textField:
			return often(val, &m.Version)
		case 3 | textField:
			return often(val, &m.Sysdescr)
		case 4 | textField:
			return often(val, &m.ClusterName)
		}
		return false
	})
}

// textField marks the number of a field that has bytes; a plain one has a varint.
// Field numbers have 29 bits.
const textField protowire.Number = 1 << 30

// eachField calls f for each field of a message until it answers false, and
// reports whether it never did and the message is one.
func eachField(b []byte, f func(num protowire.Number, u uint64, val []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var u uint64
		var val []byte
		switch typ {
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			val, n = protowire.ConsumeBytes(b)
			num |= textField
		default:
			return false
		}
		if n < 0 || !f(num, u, val) {
			return false
		}
		b = b[n:]
	}
	return true
}

// text stores a string, which protobuf wants to be UTF-8.
func text(b []byte, to *string) bool {
	*to = string(b)
	return utf8.Valid(b)
}

// often is text for what is the same in most events, such as the broker's name:
// it is kept, and no memory taken for it each time.
func often(b []byte, to *string) bool {
	const longest = 64
	if len(b) == 0 || len(b) > longest {
		return text(b, to)
	}
	slot := &kept[maphash.Bytes(keptSeed, b)%uint64(len(kept))]
	if s := slot.Load(); s != nil && *s == string(b) {
		*to = *s
		return true
	}
	if !text(b, to) {
		return false
	}
	s := *to
	slot.Store(&s)
	return true
}

//nolint:gochecknoglobals // a cache that all events share
var (
	kept     [256]atomic.Pointer[string]
	keptSeed = maphash.MakeSeed()
)
