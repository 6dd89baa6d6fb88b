package mux

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// epoch is when times began, so that one takes a word.
var epoch = time.Now()

// Event is one call of one hook by a broker: the request as it came, and views
// into it that routing needs. Body is shared by everyone who handles the event;
// nobody may change it.
type Event struct {
	Hook  Hook
	lacks redactions // what is known not to be in Body
	seen  uint16     // which of the fields 0 to 15 are where the client id is
	Body  []byte     // the request message, as the broker encoded it, perhaps redacted

	client    []byte        // the client id, which orders notifications; may be empty
	msg       []byte        // the Message field, for message hooks
	topic     []byte        // its topic
	told      time.Duration // when the broker told it, since epoch; only with a Recorder
	sent      time.Duration // when it was handed to a provider, since epoch; the same
	malformed bool          // Body is no protobuf message: nothing above can be trusted
	excess    bool          // nobody is to be asked about it, see DispatchUnasked
}

// NewEvent reads from body what routing needs and keeps body, not a copy.
func NewEvent(h Hook, body []byte) Event {
	e := Event{Hook: h, Body: body}
	row := &hooks[h]
	ok := eachField(body, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		if typ != protowire.BytesType {
			if num == row.client.outer {
				e.seen = 1<<16 - 1 // in what this is, there may be anything
			}
			return true
		}
		if num == row.client.outer && !e.readClient(val, row.client.inner) {
			return false
		}
		if num == row.message && row.message != 0 {
			// A repeated singular message merges, says protobuf. No broker
			// sends one; whoever does is not trusted with routing.
			if e.msg != nil {
				return false
			}
			e.msg = val
			if row.kind != message {
				return lastBytes(val, msgTopic, &e.topic)
			}
			// All that an answer may change has to be readable, or a provider
			// would be blamed for the broker's message.
			c, ok := parseContent(val)
			e.topic = c.topic
			return ok
		}
		return true
	})
	e.malformed = !ok
	return e
}

// readClient reads the client id, and which fields are beside it.
func (e *Event) readClient(b []byte, id protowire.Number) bool {
	return eachField(b, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		e.seen |= 1 << num
		if num == id && typ == protowire.BytesType {
			e.client = val
		}
		return true
	})
}

// Client is the id of the client the event is about; for message.publish and
// message.dropped the publisher's. Empty when the broker named none.
func (e *Event) Client() string { return string(e.client) }

// Message is the encoded Message of a message hook, in a chain the one so far; nil
// for other hooks.
func (e *Event) Message() []byte { return e.msg }

// Topic is the message's topic; empty for other hooks.
func (e *Event) Topic() string { return string(e.topic) }

// Told is when the broker told the event, as far as a Recorder is told of it: the same
// for all providers, and all but unique.
func (e *Event) Told() time.Time { return epoch.Add(e.told) }

// Malformed says that the body is no valid protobuf message.
func (e *Event) Malformed() bool { return e.malformed }

// eachField calls f for each field of an encoded message, with the bytes of
// its value (without tag and length). It reports whether b is well-formed and f
// never answered false.
func eachField(b []byte, f func(num protowire.Number, typ protowire.Type, val []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var val []byte
		if typ == protowire.BytesType {
			val, n = protowire.ConsumeBytes(b)
		} else if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 {
			val = b[:n]
		}
		if n < 0 || !f(num, typ, val) {
			return false
		}
		b = b[n:]
	}
	return true
}

// lastBytes stores field num of the message b, the last one if it is repeated,
// and reports whether b is well-formed.
func lastBytes(b []byte, num protowire.Number, to *[]byte) bool {
	return eachField(b, func(n protowire.Number, typ protowire.Type, val []byte) bool {
		if n == num && typ == protowire.BytesType {
			*to = val
		}
		return true
	})
}
