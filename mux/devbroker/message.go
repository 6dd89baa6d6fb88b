package devbroker

import (
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// nowhere is a topic that nobody can subscribe to.
const nowhere = "\x00nowhere"

// metaKey is the user property under which a message carries its ExHook Message
// through mochi's routing, queues and retained store. It is taken off before the
// packet is written. No client can send a NUL.
const metaKey = "\x00exhook"

// publication is what of a PUBLISH is not in the ExHook message.
type publication struct {
	retain bool
	props  packets.Properties
}

// guid makes message ids of EMQX's form: µs, node and process, sequence.
type guid struct {
	node uint32
	seq  *atomic.Uint32
}

func newGUID(node string) guid {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node))
	return guid{node: h.Sum32(), seq: new(atomic.Uint32)}
}

func (g guid) next() string {
	n := g.seq.Add(1)
	return fmt.Sprintf("%016X%08X%08X", time.Now().UnixMicro(), g.node, n)
}

func nowMillis() uint64 { return uint64(time.Now().UnixMilli()) }

// received handles a PUBLISH from a client: authorize, publish, route. mochi is told
// to do nothing further but acknowledge, which it then does by the client's QoS,
// whatever the provider made of the message.
func (b *Broker) received(s *session, pk packets.Packet) (packets.Packet, error) {
	if !b.authorize(s, exhookv3.ClientAuthorizeRequest_PUBLISH, pk.TopicName) {
		b.refusePublish(s, pk)
		return pk, packets.ErrRejectPacket
	}
	m := &exhookv3.Message{
		Node: b.cfg.Node, Id: b.guid.next(), Qos: uint32(pk.FixedHeader.Qos), From: s.info.Clientid,
		Topic: pk.TopicName, Payload: pk.Payload, Timestamp: nowMillis(),
		Headers: map[string]string{"protocol": "mqtt", "peerhost": s.info.Peerhost},
	}
	if s.info.Username != "" {
		m.Headers["username"] = s.info.Username
	}
	if err := b.publish(s, m, publication{retain: pk.FixedHeader.Retain, props: pk.Properties}); err != nil {
		b.provider.log.Warn("message not routed", "client", s.info.Clientid, "error", err)
	}
	return pk, packets.CodeSuccessIgnore
}

// refusePublish acknowledges as EMQX does with deny_action=ignore: v5 clients get
// the code, v3 clients an ordinary acknowledgement. mochi would disconnect the latter.
func (b *Broker) refusePublish(s *session, pk packets.Packet) {
	ack := packets.Packet{PacketID: pk.PacketID, ReasonCode: packets.ErrNotAuthorized.Code}
	switch pk.FixedHeader.Qos {
	case 0:
		return
	case 1:
		ack.FixedHeader.Type = packets.Puback
	default:
		ack.FixedHeader.Type = packets.Pubrec
	}
	_ = s.cl.WritePacket(ack) // a lost connection ends in the read loop
}

// publish takes a message through message.publish and routes what comes of it.
// A refused message is dropped without a word, as in EMQX. s is nil for messages
// without a client.
func (b *Broker) publish(s *session, m *exhookv3.Message, p publication) error {
	req := &exhookv3.MessagePublishRequest{Message: m, Meta: b.provider.meta}
	if b.dialect.userProps {
		req.Props, req.UserProps = b.dialect.clientProps(p.props)
	}
	if s != nil {
		s.proc.Lock()
		defer s.proc.Unlock()
	}
	// A failure passes the message unchanged, whatever failed_action says.
	if v, how := b.provider.ask(messagePublish, m.From, m.Topic, req); how == answered {
		if v.message.refused {
			return nil
		}
		m.Qos, m.Topic, m.Payload = uint32(v.message.qos), v.message.topic, v.message.payload
	}
	if !b.hasSubscribers(m.Topic) {
		b.provider.notify(messageDropped, m.From, m.Topic, &exhookv3.MessageDroppedRequest{
			Message: m, Reason: "no_subscribers", Meta: b.provider.meta,
		})
	}
	return b.route(m, p)
}

// hasSubscribers says whether any session, connected or not, would get the topic.
func (b *Broker) hasSubscribers(topic string) bool {
	subs := b.server.Topics.Subscribers(topic)
	if len(subs.Shared) > 0 {
		return true
	}
	for id := range subs.Subscriptions {
		if _, ok := b.server.Clients.Get(id); ok {
			return true
		}
	}
	return false
}

// route hands a message to mochi, in the name of the inline client, for which mochi
// checks nothing and sends no acknowledgement.
func (b *Broker) route(m *exhookv3.Message, p publication) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: byte(m.Qos), Retain: p.retain},
		Connect:     packets.ConnectParams{ClientIdentifier: m.From}, // for routed
		TopicName:   m.Topic,
		Payload:     m.Payload,
		Properties:  p.props.Copy(false),
	}
	if m.Qos > 0 {
		pk.PacketID = 1 // mochi wants one; each subscriber gets its own
	}
	light := proto.CloneOf(m)
	light.Payload = nil // the packet has it
	pk.Properties.User = append([]packets.UserProperty{{Key: metaKey, Val: string(encode(light))}}, pk.Properties.User...)
	if err := b.server.InjectPacket(b.inline, pk); err != nil {
		return fmt.Errorf("devbroker: routing to %q: %w", m.Topic, err)
	}
	return nil
}

// routed sees the packet of route inside mochi.
func (b *Broker) routed(pk packets.Packet) packets.Packet {
	pk.Origin = pk.Connect.ClientIdentifier // mochi compares it for no-local
	// mochi orders queued messages by Created alone, whose seconds are too coarse.
	pk.Created = b.order.Add(1)
	return pk
}

// deliver runs before a PUBLISH is written to a subscriber: it takes the message's
// ExHook form off the packet and calls message.delivered.
func (b *Broker) deliver(s *session, pk packets.Packet) packets.Packet {
	i := slices.IndexFunc(pk.Properties.User, func(u packets.UserProperty) bool { return u.Key == metaKey })
	if i < 0 {
		return pk // mochi's own $SYS messages
	}
	m := decodeMessage([]byte(pk.Properties.User[i].Val))
	// The packet may be shared with mochi's queue of messages to resend.
	pk.Properties.User = slices.Delete(slices.Clone(pk.Properties.User), i, i+1)
	m.Qos, m.Payload = uint32(pk.FixedHeader.Qos), pk.Payload
	if pk.PacketID != 0 {
		s.remember(pk.PacketID, m)
		// mochi marks what it queued for an offline client as sent before.
		pk.FixedHeader.Dup = pk.FixedHeader.Dup && s.priorDup[pk.PacketID]
	}
	b.messageEvent(s, messageDelivered, m)
	return pk
}

// messageEvent calls message.delivered or message.acked for a subscriber.
func (b *Broker) messageEvent(s *session, h hook, m *exhookv3.Message) {
	var req request
	if h == messageDelivered {
		req = &exhookv3.MessageDeliveredRequest{Clientinfo: s.info, Message: m, Meta: b.provider.meta}
	} else {
		req = &exhookv3.MessageAckedRequest{Clientinfo: s.info, Message: m, Meta: b.provider.meta}
	}
	s.proc.Lock()
	defer s.proc.Unlock()
	b.provider.notify(h, s.info.Clientid, m.Topic, req)
}
