package mux

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Subject is what an event is about, in the words that people search by. Its
// slices are views into the event's Body; what the event does not have is empty.
type Subject struct {
	Node     []byte // the broker's
	Client   []byte
	Username []byte // of the client, or of the message's publisher
	// Topic is the message's, or the one of client.authorize, session.subscribed
	// and session.unsubscribed, of client.subscribe and client.unsubscribe the first.
	Topic   []byte
	Action  string // of client.authorize: publish or subscribe
	Payload []byte // of the message
}

// where a Subject's parts lie, beside what the hook table has. The topic is a
// text but for those hooks whose topics are TopicFilter messages.
var (
	metaField  = [NumHooks]protowire.Number{3, 1, 3, 4, 2, 3, 3, 5, 4, 4, 2, 4, 3, 2, 2, 2, 3, 3, 2, 3, 3, 3}
	topicField = [NumHooks]protowire.Number{
		ClientAuthorize: 3, SessionSubscribed: 2, SessionUnsubscribed: 2, ClientSubscribe: 3, ClientUnsubscribe: 3,
	}
)

const (
	nodeField     = 1 // of ConnInfo, ClientInfo, RequestMeta and Message
	usernameField = 3 // of ConnInfo and ClientInfo
	actionField   = 2 // of ClientAuthorizeRequest
)

// Subject reads what the event is about.
func (e *Event) Subject() (s Subject) {
	row, h := &hooks[e.Hook], e.Hook
	s.Client, s.Topic = e.client, e.topic
	if h == ClientAuthorize {
		s.Action = "publish"
	}
	var meta []byte
	eachField(e.Body, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case num == actionField && h == ClientAuthorize && typ == protowire.VarintType:
			if v, _ := protowire.ConsumeVarint(val); v == 1 {
				s.Action = "subscribe"
			}
		case typ != protowire.BytesType:
		case num == row.client.outer && row.client.inner == clientidField:
			s.readClient(val)
		case num == row.message && row.message != 0:
			s.readMessage(val)
		case num == topicField[h]:
			s.readTopic(h, val)
		case num == metaField[h]:
			meta = val
		}
		return true
	})
	// EMQX 4.3.0 has no meta, so it comes last.
	if len(s.Node) == 0 {
		lastBytes(meta, nodeField, &s.Node)
	}
	return s
}

func (s *Subject) readClient(info []byte) {
	eachField(info, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case typ != protowire.BytesType:
		case num == nodeField:
			s.Node = val
		case num == usernameField:
			s.Username = val
		}
		return true
	})
}

func (s *Subject) readMessage(msg []byte) {
	eachField(msg, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case typ != protowire.BytesType:
		case num == nodeField && len(s.Node) == 0:
			s.Node = val
		case num == msgPayload:
			s.Payload = val
		case num == msgHeaders && len(s.Username) == 0:
			var name []byte
			if lastBytes(val, 1, &name) && string(name) == "username" {
				lastBytes(val, 2, &s.Username)
			}
		}
		return true
	})
}

func (s *Subject) readTopic(h Hook, val []byte) {
	if h != ClientSubscribe && h != ClientUnsubscribe {
		s.Topic = val
	} else if len(s.Topic) == 0 {
		lastBytes(val, 1, &s.Topic)
	}
}

// TopicMatcher holds topics against one MQTT topic filter. A topic that itself is a
// filter, as of a subscription, matches when the filter covers it.
type TopicMatcher struct {
	tree *topicTree
}

// NewTopicMatcher is for a filter that CheckTopicFilter finds right.
func NewTopicMatcher(filter string) TopicMatcher { return TopicMatcher{newTopicTree([]string{filter})} }

// Matches holds one topic against the filter.
func (m TopicMatcher) Matches(topic []byte) bool { return m.tree.matches(topic) }
