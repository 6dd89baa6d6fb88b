package sdk

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// Access answers client.authenticate and client.authorize. Its zero value is
// no answer: returned without an error it counts as an error, and the failure
// policy (deny unless configured otherwise) decides. So a forgotten branch
// lets nobody in.
type Access uint8

// The answers to an access hook.
const (
	_ Access = iota
	// Allow says yes; a later plugin may still say no.
	Allow
	// Deny says no; a later plugin may still say yes, unless it is final.
	Deny
	// NoOpinion leaves the decision as it is.
	NoOpinion

	finalAccess Access = 0x80
)

// Final makes the answer the last word: no later plugin is asked. NoOpinion
// made final settles on the decision so far, r.Result.
func (a Access) Final() Access { return a | finalAccess }

// String is the answer in words, such as "deny" or "deny (final)".
func (a Access) String() string {
	s, ok := map[Access]string{Allow: "allow", Deny: "deny", NoOpinion: "no opinion"}[a&^finalAccess]
	if !ok {
		return fmt.Sprintf("no answer (Access %d)", a)
	}
	if a&finalAccess != 0 {
		s += " (final)"
	}
	return s
}

var errNoAccess = errors.New("neither an answer nor an error was returned: return sdk.Allow, sdk.Deny or sdk.NoOpinion")

// wire turns the answer into what the broker reads; result is the decision so far.
func (a Access) wire(result bool) (*exhookv3.ValuedResponse, error) {
	switch a &^ finalAccess {
	case Allow:
		result = true
	case Deny:
		result = false
	case NoOpinion:
		if a&finalAccess == 0 {
			return ignored(), nil
		}
	default:
		return nil, errNoAccess
	}
	return &exhookv3.ValuedResponse{
		Type:  responseType(a&finalAccess != 0),
		Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: result},
	}, nil
}

// Answer answers message.publish and message.ingress. Its zero value is no
// answer: returned without an error it counts as an error.
type Answer struct {
	verb  verb
	final bool
	msg   *Message
}

type verb uint8

const (
	_ verb = iota
	pass
	drop
	rewrite
)

// The answers to a message hook, besides Rewrite.
//
//nolint:gochecknoglobals // values that would be constants if Go had constant structs
var (
	// Pass leaves the message as it is.
	Pass = Answer{verb: pass}
	// Drop refuses the message: it goes on with the header allow_publish set
	// to "false", and the broker drops it unless a later plugin rewrites that.
	Drop = Answer{verb: drop}
)

// Rewrite replaces the message. Change the request's message and hand it back
// (sdk.Rewrite(r.Message)); a message made from nothing would lose its QoS. The
// broker takes QoS, topic, payload and the header allow_publish, nothing else.
// A message that no broker could publish (no topic, wildcards in it, QoS above
// 2, invalid UTF-8) counts as an error.
func Rewrite(m *Message) Answer { return Answer{verb: rewrite, msg: m} }

// Final makes the answer the last word: no later plugin is asked. Pass made
// final settles on the message as it is.
func (a Answer) Final() Answer {
	a.final = true
	return a
}

// Message is the message given to Rewrite, nil for the other answers; for tests.
func (a Answer) Message() *Message { return a.msg }

// String is the answer in words, such as "drop" or "rewrite (final)".
func (a Answer) String() string {
	s, ok := map[verb]string{pass: "pass", drop: "drop", rewrite: "rewrite"}[a.verb]
	if !ok {
		return "no answer"
	}
	if a.final {
		s += " (final)"
	}
	return s
}

var errNoAnswer = errors.New("neither an answer nor an error was returned: return sdk.Pass, sdk.Drop or sdk.Rewrite(message)")

// wire turns the answer into what the broker reads; m is the request's message.
func (a Answer) wire(m *Message) (*exhookv3.ValuedResponse, error) {
	switch a.verb {
	case pass:
		if !a.final {
			return ignored(), nil
		}
		if m == nil {
			m = &Message{}
		}
	case drop:
		m = refused(m)
	case rewrite:
		if err := publishable(a.msg); err != nil {
			return nil, fmt.Errorf("sdk.Rewrite: %w", err)
		}
		m = a.msg
	default:
		return nil, errNoAnswer
	}
	return &exhookv3.ValuedResponse{
		Type:  responseType(a.final),
		Value: &exhookv3.ValuedResponse_Message{Message: m},
	}, nil
}

func ignored() *exhookv3.ValuedResponse {
	return &exhookv3.ValuedResponse{Type: exhookv3.ValuedResponse_IGNORE}
}

func responseType(final bool) exhookv3.ValuedResponse_ResponsedType {
	if final {
		return exhookv3.ValuedResponse_STOP_AND_RETURN
	}
	return exhookv3.ValuedResponse_CONTINUE
}

// refused is a copy of m that the broker will not publish. The payload is
// shared, since a copy of a large one would be for nothing; m is left alone,
// since the plugin may have kept it.
func refused(m *Message) *Message {
	headers := maps.Clone(m.GetHeaders())
	if headers == nil {
		headers = make(map[string]string, 1)
	}
	headers["allow_publish"] = "false"
	c := &Message{
		Node: m.GetNode(), Id: m.GetId(), Qos: m.GetQos(), From: m.GetFrom(), Topic: m.GetTopic(),
		Payload: m.GetPayload(), Timestamp: m.GetTimestamp(), Headers: headers,
	}
	if m != nil {
		c.ProtoReflect().SetUnknown(m.ProtoReflect().GetUnknown())
	}
	return c
}

func publishable(m *Message) error {
	switch {
	case m == nil:
		return errors.New("the message is nil")
	case m.Topic == "":
		return errors.New("the message has no topic; change the request's message instead of making a new one")
	case strings.IndexByte(m.Topic, '+') >= 0 || strings.IndexByte(m.Topic, '#') >= 0 || strings.IndexByte(m.Topic, 0) >= 0:
		return fmt.Errorf("topic %q has a wildcard or a NUL", m.Topic)
	case len(m.Topic) > maxTopic:
		return fmt.Errorf("the topic has %d bytes, MQTT allows %d", len(m.Topic), maxTopic)
	case m.Qos > 2:
		return fmt.Errorf("QoS %d; MQTT has 0, 1 and 2", m.Qos)
	}
	for _, s := range []string{m.Topic, m.Node, m.Id, m.From} {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not valid UTF-8", s)
		}
	}
	for k, v := range m.Headers {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("header %q is not valid UTF-8", k)
		}
	}
	return nil
}
