package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// seldom lets five messages of ten seconds through.
type seldom struct {
	mu     sync.Mutex
	since  time.Time
	passed int
	held   int
}

func (s *seldom) allow() (ok bool, held int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.since) >= 10*time.Second {
		s.since, s.passed = now, 0
	}
	if s.passed == 5 {
		s.held++
		return false, 0
	}
	s.passed++
	held, s.held = s.held, 0
	return true, held
}

// tlsCredentials are gRPC's, and say why a handshake failed: gRPC keeps that to itself.
type tlsCredentials struct {
	credentials.TransportCredentials
	log    *slog.Logger
	seldom *seldom
}

func newTLSCredentials(cfg *tls.Config, log *slog.Logger) credentials.TransportCredentials {
	return &tlsCredentials{credentials.NewTLS(cfg), log, new(seldom)}
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *tlsCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		if ok, held := c.seldom.allow(); ok {
			c.log.Warn("a TLS handshake failed, so a broker may not be connected", "peer", conn.RemoteAddr().String(), "error", err, "more_like_it", held)
		}
	}
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (c *tlsCredentials) Clone() credentials.TransportCredentials { return c }

// Peer says over which connection the call came that ctx is of; see mux.Options.
func Peer(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// perHost is a listener that closes a connection at once if its host has too many. A
// host that opens one after another cannot keep out the others.
type perHost struct {
	net.Listener
	server *Server
	seldom seldom

	mu   sync.Mutex
	open map[string]int
}

func newPerHost(l net.Listener, s *Server) *perHost {
	return &perHost{Listener: l, server: s, open: make(map[string]int)}
}

// Accept implements net.Listener.
func (p *perHost) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			host = c.RemoteAddr().String()
		}
		limit := p.server.limits.Load().Connections
		if p.enter(host, limit) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { p.leave(host) })}, nil
		}
		_ = c.Close()
		if ok, held := p.seldom.allow(); ok {
			p.server.log.Warn("a connection was closed: its host has as many open as it may have; if it is a broker, raise limits.connections",
				"host", host, "limit", limit, "more_like_it", held)
		}
	}
}

func (p *perHost) enter(host string, limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host] >= limit {
		return false
	}
	p.open[host]++
	return true
}

func (p *perHost) leave(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host]--; p.open[host] == 0 {
		delete(p.open, host)
	}
}

// countedConn leaves its host's count when it is closed.
type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
