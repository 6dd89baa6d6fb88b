// Package batch writes and reads the batches of hookmux.plugin.v1 without
// intermediate messages, for both sides of the streams.
//
// What Read functions hand out are views into the batch: whoever keeps them
// keeps the whole batch alive, and nobody may change them. The Event or Reply
// itself is good until the callback returns.
package batch

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is what the readers answer for bytes that are no batch.
var ErrMalformed = errors.New("malformed batch")

// Event is a hookmux.plugin.v1.Event.
type Event struct {
	ID        uint64
	Hook      uint64 // a hookmux.plugin.v1.Hook
	TimeoutUs uint64 // 0: no limit
	Key       []byte
	EventID   string // of a durable notification
	Request   []byte
}

// AppendEvent appends an event to a batch of Events.
func AppendEvent(b []byte, e *Event) []byte {
	return append(AppendEventHead(b, e), e.Request...)
}

// AppendEventHead appends an event but for the bytes of its request, which must
// come next.
func AppendEventHead(b []byte, e *Event) []byte {
	size := varintSize(1, e.ID) + varintSize(2, e.Hook) + varintSize(3, e.TimeoutUs) + bytesSize(4, e.Key) + bytesSize(5, e.Request) + bytesSize(6, e.EventID)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendVarint(b, 1, e.ID)
	b = appendVarint(b, 2, e.Hook)
	b = appendVarint(b, 3, e.TimeoutUs)
	b = appendBytes(b, 4, e.Key)
	b = appendBytes(b, 6, e.EventID)
	if len(e.Request) > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.BytesType), uint64(len(e.Request)))
	}
	return b
}

// AppendCanceled appends the id of an event that nobody waits for to a batch of
// Events.
func AppendCanceled(b []byte, id uint64) []byte { return appendID(b, id) }

// ReadEvents calls event for each event and canceled for each id of a batch, in
// their order.
func ReadEvents(b []byte, event func(*Event), canceled func(id uint64)) error {
	var e Event // one for all: it would be an allocation each
	return readBatch(b, func(b []byte) error {
		e = Event{}
		err := fields(b, func(num protowire.Number, u uint64, bytes []byte) {
			switch num {
			case 1:
				e.ID = u
			case 2:
				e.Hook = u
			case 3:
				e.TimeoutUs = u
			case 4:
				e.Key = bytes
			case 5:
				e.Request = bytes
			case 6:
				e.EventID = string(bytes)
			}
		})
		if err == nil {
			event(&e)
		}
		return err
	}, canceled)
}

// Reply is a hookmux.plugin.v1.Reply.
type Reply struct {
	ID     uint64
	Answer []byte
	Error  string // not empty: there is no answer
	// Unavailable is with an error: what the plugin needs is away.
	Unavailable bool
}

// AppendReply appends a reply to a batch of Replies.
func AppendReply(b []byte, r *Reply) []byte {
	size := varintSize(1, r.ID) + bytesSize(2, r.Answer) + bytesSize(3, r.Error)
	unavailable := uint64(0)
	if r.Unavailable {
		unavailable = 1
	}
	size += varintSize(4, unavailable)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendVarint(b, 1, r.ID)
	b = appendBytes(b, 2, r.Answer)
	b = appendBytes(b, 3, r.Error)
	return appendVarint(b, 4, unavailable)
}

// AppendDone appends the id of an event that was handled and has no answer to
// a batch of Replies.
func AppendDone(b []byte, id uint64) []byte { return appendID(b, id) }

// ReadReplies calls reply for each reply of a batch, and for each id that is
// only done a Reply with nothing else.
func ReadReplies(b []byte, reply func(*Reply)) error {
	var r Reply // one for all: it would be an allocation each
	return readBatch(b, func(b []byte) error {
		r = Reply{}
		err := fields(b, func(num protowire.Number, u uint64, bytes []byte) {
			switch num {
			case 1:
				r.ID = u
			case 2:
				r.Answer = bytes
			case 3:
				r.Error = string(bytes)
			case 4:
				r.Unavailable = u != 0
			}
		})
		if err == nil {
			reply(&r)
		}
		return err
	}, func(id uint64) {
		r = Reply{ID: id}
		reply(&r)
	})
}

// readBatch reads both kinds of batch: field 1 are messages, field 2 ids,
// packed or not.
func readBatch(b []byte, message func([]byte) error, id func(uint64)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		switch {
		case num == 2 && typ == protowire.VarintType:
			u, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return ErrMalformed
			}
			id(u)
			b = b[n:]
		case (num == 1 || num == 2) && typ == protowire.BytesType:
			val, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return ErrMalformed
			}
			b = b[n:]
			if num == 1 {
				if err := message(val); err != nil {
					return err
				}
				continue
			}
			for len(val) > 0 {
				u, n := protowire.ConsumeVarint(val)
				if n < 0 {
					return ErrMalformed
				}
				id(u)
				val = val[n:]
			}
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return ErrMalformed
			}
			b = b[n:]
		}
	}
	return nil
}

// fields calls f for the varint and bytes fields of a message.
func fields(b []byte, f func(num protowire.Number, u uint64, bytes []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		var u uint64
		var val []byte
		switch typ {
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			val, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return ErrMalformed
		}
		f(num, u, val)
		b = b[n:]
	}
	return nil
}

func appendID(b []byte, id uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), id)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes[T []byte | string](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func varintSize(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func bytesSize[T []byte | string](num protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeBytes(len(v))
}
