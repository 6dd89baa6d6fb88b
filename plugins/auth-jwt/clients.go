package main

import (
	"errors"
	"log/slog"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// clients remembers the tokens of those who are connected. A token belongs to the connection
// that it came by, which is known by its address and port.
//
// EMQX 4.x and 5.0 tell no port. There, all connections of a client from one address are
// one. A login comes before its connection, and when a client takes its session over, the end
// of the old connection may be told after the beginning of the new one. So it is
// forgotten when as many connections have ended as have begun, unless a login has not yet
// become one.
//
// What is told wrongly or never is bounded: who was seen least recently makes room.
type clients struct {
	mu     sync.Mutex
	seen   *lru.Cache[connection, *session]
	pushed bool // the log has that there are too many
}

type connection struct {
	node, client, peerhost string
	peerport               uint32 // 0: EMQX 4.x and 5.0 do not tell it
	sockport               uint32 // the listener's
}

type session struct {
	username string
	token    *token

	// Without a port:
	open     int
	loggedIn bool // and not yet connected
	without  bool // somebody wants in without a token, and has not yet connected
}

func newClients(most int) (*clients, error) {
	if most < 1 {
		return nil, errors.New(`config: "acl.max_clients" must be at least 1`)
	}
	seen, err := lru.New[connection, *session](most)
	return &clients{seen: seen}, err
}

func connectionOf(c *sdk.ClientInfo) connection {
	return connection{c.GetNode(), c.GetClientid(), c.GetPeerhost(), c.GetPeerport(), c.GetSockport()}
}

func (s *clients) loggedIn(c *sdk.ClientInfo, t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.seen.Get(connectionOf(c)); ok {
		e.username, e.token, e.loggedIn, e.without = c.GetUsername(), t, true, false
		return
	}
	if s.seen.Add(connectionOf(c), &session{username: c.GetUsername(), token: t, loggedIn: true}) && !s.pushed {
		s.pushed = true
		slog.Warn("more clients than acl.max_clients: those seen least recently are forgotten, and have to log in again", "max_clients", s.seen.Len())
	}
}

// withoutToken notes that somebody wants to be this client without a token. Another
// provider may let them in, and who is in then has no part in what a token allowed.
func (s *clients) withoutToken(c *sdk.ClientInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := connectionOf(c)
	if of.peerport != 0 { // the one of before that had the port is over, and nobody told
		s.seen.Remove(of)
	} else if e, ok := s.seen.Peek(of); ok {
		e.without = true
	}
}

// token is nil for a connection that has not logged in here under this name.
func (s *clients) token(c *sdk.ClientInfo) *token {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.seen.Get(connectionOf(c))
	if !ok || e.username != c.GetUsername() {
		return nil
	}
	return e.token
}

func (s *clients) connected(c *sdk.ClientInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.seen.Peek(connectionOf(c)); ok {
		e.open++
		e.loggedIn = false
		if e.without {
			e.token, e.without = nil, false
		}
	}
}

func (s *clients) disconnected(c *sdk.ClientInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := connectionOf(c)
	e, ok := s.seen.Peek(of)
	if !ok {
		return
	}
	if e.open = max(0, e.open-1); of.peerport != 0 || e.open == 0 && !e.loggedIn {
		s.seen.Remove(of)
	}
}
