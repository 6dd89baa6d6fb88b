package devbroker

import (
	"net"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// connecting starts a session with the CONNECT packet, before anything in it was
// checked, and calls client.connect.
func (b *Broker) connecting(cl *mqtt.Client, pk packets.Packet) {
	s := newSession(cl, pk, b.dialect, b.cfg.Node)
	b.sessions.Store(cl.Net.Conn, s)
	req := &exhookv3.ClientConnectRequest{Conninfo: s.conn, Meta: b.provider.meta}
	req.Props, req.UserProps = b.dialect.clientProps(pk.Properties)
	b.notify(s, clientConnect, req)
}

// authenticate asks whether the client may log in.
func (b *Broker) authenticate(s *session) bool {
	s.proc.Lock()
	defer s.proc.Unlock()
	v, how := b.provider.ask(clientAuthenticate, s.info.Clientid, "", &exhookv3.ClientAuthenticateRequest{
		Clientinfo: s.infoWithPassword(), Result: b.dialect.undecidedAllows, Meta: b.provider.meta,
	})
	switch how {
	case unhooked:
		return true
	case answered:
		return *v.boolean
	case failed:
		if b.cfg.FailedAction == "deny" {
			return false
		}
	}
	return b.dialect.undecidedAllows
}

// establish runs when the client is let in, before mochi looks for a session of its
// client id: it decides what becomes of that one.
func (b *Broker) establish(s *session, pk packets.Packet) {
	// mochi keeps both directions' packet ids in one table, and refuses a
	// SUBSCRIBE whose id one of its own messages has. Starting its own higher
	// keeps the two apart: clients start at 1. (It has no cheaper way to say so.)
	for range 1 << 10 {
		_, _ = s.cl.NextPacketID()
	}
	b.ids.lock(s.cl.ID)
	s.holdsID = true
	for {
		existing, ok := b.server.Clients.Get(s.cl.ID)
		if !ok {
			return
		}
		old := b.session(existing)
		if old == nil {
			return
		}
		kind := takenover
		if pk.Connect.Clean || (existing.Properties.Clean && existing.Properties.ProtocolVersion < 5) {
			kind = discarded // mochi's rule for not resuming
		}
		old.mu.Lock()
		if old.phase == leaving {
			old.mu.Unlock()
			<-old.done // then mochi has dropped or kept it
			continue
		}
		old.next, old.endKind = s, kind
		s.oldOffline = old.phase == offline
		old.mu.Unlock()
		s.old = old
		s.priorDup = old.sentIDs()
		return
	}
}

// connack runs before a CONNACK is written.
func (b *Broker) connack(s *session, pk packets.Packet) packets.Packet {
	if pk.ReasonCode != packets.CodeSuccess.Code {
		return b.connackRefused(s, pk)
	}
	// mochi has the client in its table now; a next one of this id may come.
	s.markAdded()
	b.releaseID(s)
	old := s.old
	early := old != nil && !b.dialect.subopts && old.endKind == discarded // 5.0 tells of the old session first
	if early && s.oldOffline {
		b.endReplaced(old)
	} else if early {
		<-old.ended
	}
	if pk.SessionPresent {
		b.notify(s, sessionResumed, &exhookv3.SessionResumedRequest{Clientinfo: s.info, Meta: b.provider.meta})
	} else {
		b.notify(s, sessionCreated, &exhookv3.SessionCreatedRequest{Clientinfo: s.info, Meta: b.provider.meta})
	}
	s.markUp()
	if s.oldOffline && !early {
		b.background(func() { b.endReplaced(old) })
	}
	b.notify(s, clientConnected, &exhookv3.ClientConnectedRequest{Clientinfo: s.info, Meta: b.provider.meta})

	req := &exhookv3.ClientConnackRequest{Conninfo: s.conn, ResultCode: reasonName(pk.ReasonCode), Meta: b.provider.meta}
	if s.protocol == 5 {
		p := &pk.Properties
		p.ReceiveMaximum = uint16(s.window)
		p.TopicAliasMaximum = b.server.Options.Capabilities.TopicAliasMaximum
		p.MaximumPacketSize = maxPacketSize
		p.WildcardSubAvailable, p.WildcardSubAvailableFlag = 1, true
		p.SubIDAvailable, p.SubIDAvailableFlag = 1, true
		p.SharedSubAvailable, p.SharedSubAvailableFlag = 1, true
		p.RetainAvailable, p.RetainAvailableFlag = 1, true
		req.Props = connackProps(*p, b.dialect.subopts)
	}
	b.notify(s, clientConnack, req)
	return pk
}

// connackRefused gives a refused login EMQX's code instead of mochi's.
func (b *Broker) connackRefused(s *session, pk packets.Packet) packets.Packet {
	pk.Properties = packets.Properties{}
	if s.refused {
		pk.ReasonCode = packets.ErrNotAuthorized.Code
		if s.protocol < 5 {
			pk.ReasonCode = packets.Err3NotAuthorized.Code
		}
	}
	b.notify(s, clientConnack, &exhookv3.ClientConnackRequest{
		Conninfo: s.conn, ResultCode: connackName(pk.ReasonCode, s.protocol), Meta: b.provider.meta,
	})
	return pk
}

func (b *Broker) releaseID(s *session) {
	if s.holdsID {
		s.holdsID = false
		b.ids.unlock(s.cl.ID)
	}
}

// disconnected runs when a connection that was let in has ended, in its goroutine.
// mochi deletes the client by its id afterwards if expire is set, so it must not
// return before a replacing client is marked as such.
func (b *Broker) disconnected(s *session, err error, expire bool) {
	s.disconnect.Do(func() {
		s.mu.Lock()
		next, kind := s.next, s.endKind
		if next == nil {
			s.phase, s.keeps = leaving, !expire
		}
		s.mu.Unlock()
		if next != nil {
			if b.dialect.subopts || kind == takenover {
				<-next.up
			}
			b.tellDisconnected(s, kind.reason())
			b.tellReplaced(s)
			close(s.ended)
			<-next.added
			return
		}
		reason := s.byClient
		if reason == "" {
			reason = endReason(err)
		}
		b.tellDisconnected(s, reason)
		if expire {
			b.terminated(s, reason)
		}
		close(s.ended)
	})
}

func (k endKind) reason() string {
	if k == discarded {
		return "discarded"
	}
	return "takenover"
}

// endReplaced ends a session that was offline when another connection came for it.
func (b *Broker) endReplaced(s *session) {
	s.endWill(s.endKind == discarded)
	if !b.dialect.subopts { // 5.0 tells of the disconnection once more
		b.tellDisconnected(s, s.endKind.reason())
	}
	b.tellReplaced(s)
	b.forget(s)
}

func (b *Broker) tellDisconnected(s *session, reason string) {
	b.notify(s, clientDisconnected, &exhookv3.ClientDisconnectedRequest{
		Clientinfo: s.info, Reason: reason, Meta: b.provider.meta,
	})
}

func (b *Broker) tellReplaced(s *session) {
	if s.endKind == discarded {
		b.notify(s, sessionDiscarded, &exhookv3.SessionDiscardedRequest{Clientinfo: s.info, Meta: b.provider.meta})
		return
	}
	b.notify(s, sessionTakenover, &exhookv3.SessionTakenoverRequest{Clientinfo: s.info, Meta: b.provider.meta})
}

func (b *Broker) terminated(s *session, reason string) {
	b.notify(s, sessionTerminated, &exhookv3.SessionTerminatedRequest{
		Clientinfo: s.info, Reason: "{shutdown," + reason + "}", Meta: b.provider.meta,
	})
}

// connectionDone runs when nothing of mochi works on the connection any more.
func (b *Broker) connectionDone(conn net.Conn) {
	s := b.sessionOf(conn)
	if s == nil {
		return
	}
	b.releaseID(s)
	s.setOver()
	select {
	case <-s.added: // was let in; if the CONNACK could not be written, mochi did not say so
		expire := s.protocol == 5 && s.cl.Properties.Props.SessionExpiryInterval == 0 ||
			s.protocol < 5 && s.cl.Properties.Clean
		b.disconnected(s, net.ErrClosed, expire)
		if cur, ok := b.server.Clients.Get(s.cl.ID); ok && cur == s.cl && expire {
			b.server.UnsubscribeClient(s.cl)
			b.server.Clients.Delete(s.cl.ID)
		}
	default:
	}
	s.markAdded()
	s.markUp()
	s.mu.Lock()
	kept := s.phase == leaving && s.keeps
	s.phase = offline
	s.mu.Unlock()
	if !kept {
		b.forget(s)
	}
	close(s.done)
}

// expired runs in mochi's event loop, just before it deletes the client.
func (b *Broker) expired(s *session) {
	s.mu.Lock()
	ours := s.phase == offline && s.next == nil
	s.mu.Unlock()
	b.server.UnsubscribeClient(s.cl) // or the topic tree keeps its filters
	if ours {
		b.background(func() {
			s.endWill(true)
			b.terminated(s, "expired")
			b.forget(s)
		})
	}
}

func (b *Broker) forget(s *session) { b.sessions.Delete(s.cl.Net.Conn) }
