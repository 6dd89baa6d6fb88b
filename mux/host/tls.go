package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// tlsCredentials are gRPC's, made anew for each connection, and they remember why the
// last one failed, which gRPC tells only those who call.
type tlsCredentials struct {
	credentials.TransportCredentials
	config func() *tls.Config

	mu  sync.Mutex
	why error
}

func newTLSCredentials(config func() *tls.Config) *tlsCredentials {
	if config == nil {
		config = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
	}
	return &tlsCredentials{TransportCredentials: credentials.NewTLS(config()), config: config}
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *tlsCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := credentials.NewTLS(c.config()).ClientHandshake(ctx, authority, conn)
	c.mu.Lock()
	c.why = err
	c.mu.Unlock()
	return secured, info, err
}

// Clone implements credentials.TransportCredentials. gRPC shares it among the
// connections of one client.
func (c *tlsCredentials) Clone() credentials.TransportCredentials { return c }

var errNobody = errors.New("nobody answers at its address")

// unreachable is why there is no connection.
func (h *Remote) unreachable() error {
	if h.tls != nil {
		h.tls.mu.Lock()
		defer h.tls.mu.Unlock()
		if h.tls.why != nil {
			return fmt.Errorf("the TLS handshake failed: %w", h.tls.why)
		}
	}
	return errNobody
}
