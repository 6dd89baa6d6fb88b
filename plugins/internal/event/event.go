// Package event is what the plugins that store and forward events say of one, so that
// they all say the same.
package event

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// Event is an event with what belongs to all of them read out of its request.
type Event struct {
	*sdk.BatchEvent

	// Username of the client that the event is about; of a message, its publisher's
	// where nobody else is named.
	Username string
	// Peerhost is that client's address.
	Peerhost string
	// Msg is the message of a message hook, nil of others.
	Msg *sdk.Message
	// At is when it happened: of a message when the broker took it, which is the same
	// for every delivery, otherwise when the event reached the plugin.
	At time.Time
}

// farFuture is the year 10000, in milliseconds: no target takes more.
const farFuture = 253402300800000

// Of reads an event.
func Of(e *sdk.BatchEvent) Event {
	ev := Event{BatchEvent: e, Msg: e.Message(), At: e.Time}
	switch {
	case e.ClientInfo() != nil:
		ev.Username, ev.Peerhost = e.ClientInfo().GetUsername(), e.ClientInfo().GetPeerhost()
	case e.ConnInfo() != nil:
		ev.Username, ev.Peerhost = e.ConnInfo().GetUsername(), e.ConnInfo().GetPeerhost()
	case ev.Msg != nil:
		ev.Username, ev.Peerhost = ev.Msg.GetHeaders()["username"], ev.Msg.GetHeaders()["peerhost"]
	}
	if ms := ev.Msg.GetTimestamp(); ms > 0 && ms < farFuture {
		ev.At = time.UnixMilli(int64(ms))
	}
	ev.At = ev.At.UTC()
	return ev
}

// All reads a batch. Messages that were refused are left out: an observer of
// message.publish is told of them, too.
func All(batch []*sdk.BatchEvent) []Event {
	events := make([]Event, 0, len(batch))
	for _, e := range batch {
		if e.Hook == sdk.MessagePublish && e.Message().GetHeaders()["allow_publish"] == "false" {
			continue
		}
		events = append(events, Of(e))
	}
	return events
}

// Topic is the message's topic, or that of a subscription; empty of other events.
func (e *Event) Topic() string {
	if e.Msg != nil {
		return e.Msg.GetTopic()
	}
	if r, ok := e.Request.(interface{ GetTopic() string }); ok {
		return r.GetTopic()
	}
	return ""
}

// Reason is why a client is gone, a session ended or a message was dropped.
func (e *Event) Reason() string {
	if r, ok := e.Request.(interface{ GetReason() string }); ok {
		return r.GetReason()
	}
	return ""
}

// JSON is the request as JSON, with the names that ExHook has for the fields and bytes in
// base64. A password never is in it.
func (e *Event) JSON() ([]byte, error) {
	scrub(e.Request)
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e.Request)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson puts spaces where it likes
	err = json.Compact(&compact, b)
	return compact.Bytes(), err
}

// scrub takes passwords out of a request, which should not be there.
func scrub(r proto.Message) {
	if c, ok := r.(interface{ GetClientinfo() *sdk.ClientInfo }); ok && c.GetClientinfo() != nil {
		c.GetClientinfo().Password = ""
	}
	if c, ok := r.(interface{ GetProps() []*sdk.Property }); ok {
		for _, p := range c.GetProps() {
			if p.GetName() == "Authentication-Data" {
				p.Value = ""
			}
		}
	}
}

// Headers are what a target that has headers gets beside the payload, those that are not
// empty, as text.
func (e *Event) Headers(add func(name, value string)) {
	for _, h := range [][2]string{
		{"event-id", e.ID},
		{"hook", string(e.Hook)},
		{"node", e.Node()},
		{"client", e.Client},
		{"username", e.Username},
		{"topic", e.Topic()},
		{"time", e.At.Format(time.RFC3339Nano)},
		{"reason", e.Reason()},
	} {
		if h[1] != "" {
			add(h[0], h[1])
		}
	}
	if e.Msg != nil {
		add("qos", strconv.Itoa(int(e.Msg.GetQos())))
		add("message-id", e.Msg.GetId())
	}
}

// Value is what is forwarded: the payload of a message, of other events their JSON.
func (e *Event) Value() ([]byte, error) {
	if e.Msg != nil {
		return e.Msg.GetPayload(), nil
	}
	return e.JSON()
}
