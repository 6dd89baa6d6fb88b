package devbroker

import (
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// will publishes a client's will, at once or after its delay. The delay counts only
// while the session is kept; the broker does it because mochi would call the hooks
// at the disconnection already.
func (b *Broker) will(s *session) {
	s.mu.Lock()
	replaced, kind := s.next != nil, s.endKind
	s.mu.Unlock()
	c := s.connect.Connect
	wait := time.Duration(c.WillProperties.WillDelayInterval) * time.Second
	expiry := time.Duration(s.cl.Properties.Props.SessionExpiryInterval) * time.Second
	if wait = min(wait, expiry); wait > 0 && replaced && kind == takenover {
		return // the client is back before the delay is over
	}
	if wait == 0 || replaced {
		b.publishWill(s)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.willSend = func() { b.publishWill(s) }
	s.will = time.AfterFunc(wait, func() { b.background(s.willSend) })
}

// endWill ends the delay early: the session is over (send) or was resumed.
func (s *session) endWill(send bool) {
	s.mu.Lock()
	t, f := s.will, s.willSend
	s.will = nil
	s.mu.Unlock()
	if t != nil && t.Stop() && send {
		f()
	}
}

func (s *session) cancelWill() { s.endWill(false) }

// publishWill carries the user name only; EMQX puts no address into a will's headers.
func (b *Broker) publishWill(s *session) {
	c := s.connect.Connect
	if !b.authorize(s, exhookv3.ClientAuthorizeRequest_PUBLISH, c.WillTopic) {
		return
	}
	m := &exhookv3.Message{
		Node: b.cfg.Node, Id: b.guid.next(), Qos: uint32(c.WillQos), From: s.info.Clientid,
		Topic: c.WillTopic, Payload: c.WillPayload, Timestamp: nowMillis(),
	}
	if s.info.Username != "" {
		m.Headers = map[string]string{"username": s.info.Username}
	}
	if err := b.publish(s, m, publication{retain: c.WillRetain, props: c.WillProperties}); err != nil {
		b.provider.log.Warn("will not routed", "client", s.info.Clientid, "error", err)
	}
}
