package targets

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// NATSServer is a nats-server with JetStream, whose store is empty at first.
type NATSServer struct {
	*Server
	// URL is nats://….
	URL string
}

//nolint:gochecknoglobals // a constant
var natsServer = &Program{
	Name:     "NATS",
	Binaries: []string{"nats-server"},
	Install:  "apt-get install nats-server",
	Args: func(s *Server) []string {
		return []string{"--addr", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--jetstream", "--store_dir", s.path("data")}
	},
	Ready: greets,
}

// NATS is the NATS server of this test binary. Its streams and subjects are everyone's: a test
// takes names that no other takes.
func NATS(t testing.TB) *NATSServer { t.Helper(); return newNATS(Shared(t, natsServer)) }

// NewNATS is a NATS server of the test's own.
func NewNATS(t testing.TB) *NATSServer { t.Helper(); return newNATS(New(t, natsServer)) }

func newNATS(s *Server) *NATSServer { return &NATSServer{s, "nats://" + s.Addr} }

// greets waits for the line that a NATS server begins every connection with.
func greets(ctx context.Context, s *Server) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		err = fmt.Errorf("it greets with %q", line)
	}
	return err
}
