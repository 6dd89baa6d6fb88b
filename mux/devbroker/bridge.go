package devbroker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

type request = proto.Message

// bridge hangs the broker into mochi's hooks. Which mochi hook stands for which
// ExHook call:
//
//	OnPacketRead CONNECT       client.connect
//	OnConnectAuthenticate      client.authenticate
//	OnPacketEncode CONNACK     session.created or resumed, client.connected, client.connack
//	OnSubscribe                client.authorize per filter, client.subscribe
//	OnSubscribed               session.subscribed per filter
//	OnUnsubscribe(d)           client.unsubscribe, session.unsubscribed
//	OnPublish                  client.authorize, message.publish, message.dropped
//	OnPacketEncode PUBLISH     message.delivered
//	OnPacketRead PUBACK/PUBREC message.acked
//	OnWill                     client.authorize, message.publish
//	OnDisconnect               client.disconnected, session.terminated, takenover or discarded
//
// CONNACK and PUBLISH are caught where they are encoded because that is the last
// moment before the client sees them, and runs in the subscriber's goroutines,
// not the publisher's.
type bridge struct {
	mqtt.HookBase
	b *Broker
}

func (h *bridge) ID() string { return "exhook" }

func (h *bridge) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck,
		mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnPacketEncode, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed,
		mqtt.OnPublish, mqtt.OnWill, mqtt.OnDisconnect, mqtt.OnClientExpired:
		return true
	}
	return false
}

func (h *bridge) Init(any) error { return nil }
func (h *bridge) Stop() error    { return nil }

func (h *bridge) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	s := h.b.session(cl)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if s == nil { // a second CONNECT is mochi's to refuse
			h.b.connecting(cl, pk)
		}
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		if s == nil {
			break
		}
		if m := s.acked(pk); m != nil {
			h.b.messageEvent(s, messageAcked, m)
		}
	case packets.Disconnect:
		if s == nil {
			break
		}
		s.byClient = "normal"
		if pk.ReasonCode != packets.CodeSuccess.Code {
			s.byClient = reasonName(pk.ReasonCode)
			// Any code but 0 sends the will; mochi does it for this one only.
			pk.ReasonCode = packets.CodeDisconnectWillMessage.Code
		}
	}
	return pk, nil
}

func (h *bridge) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	// mochi's outbound topic aliases get into messages that outlive the
	// connection, its window leaks, its will delay calls the hooks too early.
	cl.Properties.Props.TopicAliasMaximum = 0
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	cl.Properties.Will.WillDelayInterval = 0
	h.b.session(cl).info.Clientid = cl.ID
	return nil
}

func (h *bridge) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	s := h.b.session(cl)
	s.refused = !h.b.authenticate(s)
	return !s.refused
}

// OnACLCheck is asked for each SUBSCRIBE filter and, with nothing to tell the two
// apart, for each delivery. The decisions were made in OnSubscribe and OnPublish; a
// refused filter comes back here under its mark.
func (h *bridge) OnACLCheck(_ *mqtt.Client, topic string, _ bool) bool {
	return !strings.HasPrefix(topic, refusedMark)
}

func (h *bridge) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	h.b.establish(h.b.session(cl), pk)
}

func (h *bridge) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.b.session(cl).setResumes(false)
}

func (h *bridge) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	s := h.b.session(cl)
	if s == nil {
		return pk
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return h.b.connack(s, pk)
	case packets.Publish:
		return h.b.deliver(s, pk)
	}
	return pk
}

func (h *bridge) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	return h.b.subscribe(h.b.session(cl), pk)
}

func (h *bridge) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	h.b.subscribed(h.b.session(cl), pk, codes)
}

func (h *bridge) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	s := h.b.session(cl)
	req := &exhookv3.ClientUnsubscribeRequest{Clientinfo: s.info, Meta: h.b.provider.meta}
	req.Props, req.UserProps = h.b.dialect.clientProps(pk.Properties)
	s.unsub = nil
	for _, f := range pk.Filters {
		if h.b.dialect.subopts { // before, they were forgotten
			req.TopicFilters = append(req.TopicFilters, &exhookv3.TopicFilter{Name: f.Filter, Subopts: &exhookv3.SubOpts{}})
		}
		if _, ok := cl.State.Subscriptions.Get(f.Filter); ok {
			s.unsub = append(s.unsub, f.Filter)
		}
	}
	h.b.notify(s, clientUnsubscribe, req)
	return pk
}

func (h *bridge) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	if pk.PacketID == 0 { // mochi clearing a session up, no UNSUBSCRIBE
		return
	}
	s := h.b.session(cl)
	for _, f := range s.unsub {
		h.b.notify(s, sessionUnsubscribed, &exhookv3.SessionUnsubscribedRequest{
			Clientinfo: s.info, Topic: h.b.dialect.filterName(f), Meta: h.b.provider.meta,
		})
	}
}

func (h *bridge) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl == h.b.inline {
		return h.b.routed(pk), nil
	}
	return h.b.received(h.b.session(cl), pk)
}

func (h *bridge) OnWill(cl *mqtt.Client, _ mqtt.Will) (mqtt.Will, error) {
	h.b.will(h.b.session(cl))
	return mqtt.Will{TopicName: nowhere}, nil // the broker publishes it itself
}

func (h *bridge) OnDisconnect(cl *mqtt.Client, err error, expire bool) {
	if s := h.b.session(cl); s != nil {
		h.b.disconnected(s, err, expire)
	}
}

func (h *bridge) OnClientExpired(cl *mqtt.Client) {
	if s := h.b.session(cl); s != nil {
		h.b.expired(s)
	}
}
