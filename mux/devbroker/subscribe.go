package devbroker

import (
	"slices"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/encoding/protowire"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// refusedMark stands before a filter that client.authorize refused, so that
// mochi's own check refuses it with the right code. No client can send a NUL.
const refusedMark = "\x00refused/"

// authzCacheSize is EMQX's limit of cached answers per connection.
const authzCacheSize = 32

// authorize asks whether the client may publish or subscribe to topic. EMQX
// caches the answer per connection, also one that came of a failure.
func (b *Broker) authorize(s *session, typ exhookv3.ClientAuthorizeRequest_AuthorizeReqType, topic string) bool {
	s.proc.Lock()
	defer s.proc.Unlock()
	key, now := typ.String()+" "+topic, time.Now()
	if e, ok := s.authz[key]; ok && now.Before(e.until) {
		return e.allowed
	}
	v, how := b.provider.ask(clientAuthorize, s.info.Clientid, "", &exhookv3.ClientAuthorizeRequest{
		Clientinfo: s.info, Type: typ, Topic: topic, Result: true, Meta: b.provider.meta,
	})
	allowed := true
	switch how {
	case unhooked:
		return true
	case answered:
		allowed = *v.boolean
	case failed:
		allowed = b.cfg.FailedAction == "ignore"
	}
	if b.cfg.AuthzCache > 0 {
		if len(s.authz) >= authzCacheSize {
			clear(s.authz)
		}
		s.authz[key] = authzEntry{allowed, now.Add(b.cfg.AuthzCache)}
	}
	return allowed
}

// subscribe authorizes each filter of a SUBSCRIBE, then calls client.subscribe with
// those that passed, be it none.
func (b *Broker) subscribe(s *session, pk packets.Packet) packets.Packet {
	req := &exhookv3.ClientSubscribeRequest{Clientinfo: s.info, Meta: b.provider.meta}
	req.Props, req.UserProps = b.dialect.clientProps(pk.Properties)
	pk.Filters = slices.Clone(pk.Filters)
	for i, f := range pk.Filters {
		if !mqtt.IsValidFilter(f.Filter, false) || f.NoLocal && mqtt.IsSharedFilter(f.Filter) {
			continue // mochi refuses these; EMQX does before it asks anyone
		}
		_, topic := splitShared(f.Filter)
		if !b.authorize(s, exhookv3.ClientAuthorizeRequest_SUBSCRIBE, topic) {
			pk.Filters[i].Filter = refusedMark + f.Filter
			continue
		}
		req.TopicFilters = append(req.TopicFilters, b.dialect.topicFilter(f))
	}
	b.notify(s, clientSubscribe, req)
	return pk
}

// subscribed calls session.subscribed for each filter that was granted.
func (b *Broker) subscribed(s *session, pk packets.Packet, codes []byte) {
	for i, f := range pk.Filters {
		if codes[i] >= packets.ErrUnspecifiedError.Code {
			continue
		}
		b.notify(s, sessionSubscribed, &exhookv3.SessionSubscribedRequest{
			Clientinfo: s.info, Topic: b.dialect.filterName(f.Filter), Subopts: b.dialect.subOpts(f), Meta: b.provider.meta,
		})
	}
}

// filterName is how the dialect names a subscription: from 5.4 as the client wrote
// it, before by the real topic.
func (d dialect) filterName(filter string) string {
	if d.subopts {
		return filter
	}
	_, topic := splitShared(filter)
	return topic
}

func (d dialect) topicFilter(f packets.Subscription) *exhookv3.TopicFilter {
	t := &exhookv3.TopicFilter{Name: d.filterName(f.Filter)}
	if d.subopts {
		t.Subopts = d.subOpts(f)
	} else if f.Qos > 0 { // qos = 2, reserved since
		t.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(f.Qos)))
	}
	return t
}

func (d dialect) subOpts(f packets.Subscription) *exhookv3.SubOpts {
	o := &exhookv3.SubOpts{Qos: uint32(f.Qos), Rh: uint32(f.RetainHandling)}
	if f.RetainAsPublished {
		o.Rap = 1
	}
	if f.NoLocal {
		o.Nl = 1
	}
	if group, _ := splitShared(f.Filter); group != "" && !d.subopts { // share = 2, reserved since
		o.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), group))
	}
	return o
}
