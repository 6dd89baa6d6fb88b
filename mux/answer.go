package mux

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The contract's ValuedResponse: type = 1, bool_result = 3, message = 4.
const (
	respType    = 1
	respBool    = 3
	respMessage = 4

	typeContinue = 0
	typeIgnore   = 1
	typeStop     = 2
)

// answer is a decoded ValuedResponse.
type answer struct {
	typ     uint64
	allowed bool    // access hooks
	msg     []byte  // message hooks: the encoded Message
	changed Changes // what of the message it changes; see merge
	drops   bool    // it says that the message is not to be published
	unasked bool    // the provider's condition does not match
	putBack Changes // what of the message it would have changed, had it been granted
}

// verdict is the answer in a word.
func (a *answer) verdict(h Hook) Verdict {
	switch {
	case a.typ == typeIgnore:
		return VerdictIgnore
	case h.Access() && a.allowed:
		return VerdictAllow
	case h.Access():
		return VerdictDeny
	case a.drops:
		return VerdictDrop
	case a.changed != 0:
		return VerdictRewrite
	}
	return VerdictPass
}

// merge makes the message of an answer to a message hook the one that follows
// on cur; see mergeMessage. Other answers have nothing to merge.
func (a *answer) merge(h Hook, cur []byte, g grants) (err error) {
	if h.Access() || a.typ == typeIgnore {
		return nil
	}
	a.msg, a.changed, a.putBack, err = mergeMessage(cur, a.msg, g)
	if a.changed.Has(ChangeDrop) {
		is, _ := parseContent(a.msg)
		a.drops = is.publish == publishFalse
	}
	return err
}

// parseAnswer decodes and checks a provider's ValuedResponse to hook h. EMQX
// ignores an answer without a value; here it is an error, so that a provider
// that forgot its verdict does not let everyone in.
func parseAnswer(h Hook, b []byte) (answer, error) {
	var a answer
	var hasBool, hasMsg bool
	ok := eachField(b, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case num == respType && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(val)
			a.typ = uint64(uint32(v)) // as protobuf reads an enum
		case num == respBool && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(val)
			a.allowed, hasBool, hasMsg = v != 0, true, false
		case num == respMessage && typ == protowire.BytesType:
			if hasMsg { // given in parts, which protobuf merges
				val = append(slices.Clip(a.msg), val...)
			}
			a.msg, hasBool, hasMsg = val, false, true
		}
		return true
	})
	switch {
	case !ok:
		return a, errors.New("the answer is no protobuf message")
	case a.typ == typeIgnore:
		return a, nil
	case a.typ > typeStop:
		return a, fmt.Errorf("the answer has the unknown type %d", a.typ)
	case h.Access() && !hasBool:
		return a, fmt.Errorf("the answer to %s has no bool_result", h)
	case !h.Access() && !hasMsg:
		return a, fmt.Errorf("the answer to %s has no message", h)
	}
	return a, nil
}

func appendVarintField(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytesField(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// The answers that need no value.
var (
	emptySuccess   = []byte{}
	ignoreResponse = appendVarintField(nil, respType, typeIgnore)
)

func boolResponse(typ uint64, allowed bool) []byte {
	var b []byte
	if typ != typeContinue {
		b = appendVarintField(b, respType, typ)
	}
	return appendVarintField(b, respBool, protowire.EncodeBool(allowed))
}

func messageResponse(typ uint64, msg []byte) []byte {
	b := make([]byte, 0, len(msg)+16)
	if typ != typeContinue {
		b = appendVarintField(b, respType, typ)
	}
	return appendBytesField(b, respMessage, msg)
}

// withResult is the request body with its bool field num set to v.
func withResult(body []byte, num protowire.Number, v bool) []byte {
	b := withoutField(make([]byte, 0, len(body)+2), body, num)
	if v {
		b = appendVarintField(b, num, 1)
	}
	return b
}

// withMessage is the request body with its Message field num replaced.
func withMessage(body []byte, num protowire.Number, msg []byte) []byte {
	b := withoutField(make([]byte, 0, len(body)+len(msg)+16), body, num)
	return appendBytesField(b, num, msg)
}

// withoutField appends to dst all fields of b but those with that number.
func withoutField(dst, b []byte, drop protowire.Number) []byte {
	return appendFields(dst, b, func(num protowire.Number, _ protowire.Type, _ []byte) bool { return num != drop })
}

// appendFields appends to dst, byte for byte, the fields of b that keep picks.
// field is the whole of it, with its tag. b must be well-formed.
func appendFields(dst, b []byte, keep func(num protowire.Number, typ protowire.Type, field []byte) bool) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return dst
		}
		if keep(num, typ, b[:n]) {
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// isAllowPublish says whether an entry of a Message's headers, given with its
// tag, is allow_publish.
func isAllowPublish(typ protowire.Type, field []byte) bool {
	if typ != protowire.BytesType {
		return false
	}
	_, _, n := protowire.ConsumeTag(field)
	entry, _ := protowire.ConsumeBytes(field[n:])
	var key []byte
	return lastBytes(entry, 1, &key) && string(key) == allowPublishHeader
}

// content is what a provider may change in a message.
type content struct {
	qos     uint64
	topic   []byte
	payload []byte
	publish allowPublish
}

// allowPublish is the header allow_publish: absent, "true" or "false".
type allowPublish uint8

const (
	publishUnsaid allowPublish = iota
	publishTrue
	publishFalse
)

const allowPublishHeader = "allow_publish"

// parseContent reads the changeable part of an encoded Message; ok is false
// when it is malformed.
func parseContent(msg []byte) (c content, ok bool) {
	ok = eachField(msg, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case num == msgQoS && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(val)
			c.qos = uint64(uint32(v))
		case num == msgTopic && typ == protowire.BytesType:
			c.topic = val
		case num == msgPayload && typ == protowire.BytesType:
			c.payload = val
		case num == msgHeaders && typ == protowire.BytesType:
			var key, value []byte
			if !lastBytes(val, 1, &key) || !lastBytes(val, 2, &value) {
				return false
			}
			if string(key) == allowPublishHeader {
				switch string(value) {
				case "true":
					c.publish = publishTrue
				case "false":
					c.publish = publishFalse
				default:
					c.publish = publishUnsaid
				}
			}
		}
		return true
	})
	return c, ok
}

// mergeMessage is cur with what the provider's message says of qos, topic,
// payload and allow_publish: what EMQX takes from an answer, and nothing else,
// so that no provider can show the next one a forged sender. A provider that
// does not repeat allow_publish leaves it: a message once refused stays
// refused until somebody says "true". putBack is what the provider changed and g
// does not grant.
func mergeMessage(cur, provider []byte, g grants) (merged []byte, changed, putBack Changes, err error) {
	was, ok := parseContent(cur)
	if !ok {
		return nil, 0, 0, errors.New("the request's message is malformed")
	}
	is, ok := parseContent(provider)
	if !ok {
		return nil, 0, 0, errors.New("the answer's message is malformed")
	}
	if is.publish == publishUnsaid {
		is.publish = was.publish
	}
	putBack = g.putBack(&is, &was)
	changed = is.changes(&was)
	if changed == 0 {
		return cur, 0, putBack, nil
	}
	// What the broker itself let through is not the provider's fault.
	if wrong := checkTopicName(is.topic); wrong != "" && changed.Has(ChangeTopic) {
		return nil, 0, putBack, fmt.Errorf("the answer's message cannot be published: %s", wrong)
	}
	if is.qos > 2 && changed.Has(ChangeQoS) {
		return nil, 0, putBack, fmt.Errorf("the answer's message has QoS %d", is.qos)
	}
	return buildMessage(cur, is), changed, putBack, nil
}

// refuse is msg with allow_publish="false". Of a malformed message nothing is
// kept but the refusal.
func refuse(msg []byte) []byte {
	c, ok := parseContent(msg)
	if !ok {
		msg, c = nil, content{}
	}
	c.publish = publishFalse
	return buildMessage(msg, c)
}

// buildMessage is cur with its changeable part replaced by c; all else,
// unknown fields too, stays byte for byte.
func buildMessage(cur []byte, c content) []byte {
	b := make([]byte, 0, len(cur)+len(c.payload)+len(c.topic)+40)
	b = appendFields(b, cur, func(num protowire.Number, typ protowire.Type, field []byte) bool {
		switch num {
		case msgQoS, msgTopic, msgPayload:
			return false
		case msgHeaders:
			return !isAllowPublish(typ, field)
		}
		return true
	})
	if c.qos != 0 {
		b = appendVarintField(b, msgQoS, c.qos)
	}
	if len(c.topic) > 0 {
		b = appendBytesField(b, msgTopic, c.topic)
	}
	if len(c.payload) > 0 {
		b = appendBytesField(b, msgPayload, c.payload)
	}
	return append(b, publishFields[c.publish]...)
}

// publishFields are the header allow_publish in a Message, encoded.
var publishFields = [...][]byte{publishTrue: publishField("true"), publishFalse: publishField("false")}

func publishField(value string) []byte {
	entry := appendBytesField(nil, 1, []byte(allowPublishHeader))
	return appendBytesField(nil, msgHeaders, appendBytesField(entry, 2, []byte(value)))
}
