package admin

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, which know synctest's time.
type pipes struct {
	conns chan net.Conn
	end   context.Context
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.end.Done():
		return nil, net.ErrClosed
	}
}

func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Who may not ask anything cannot keep a connection by sending no body, or by reading no
// answer: there are only so many.
func TestAStrangerKeepsNoConnection(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"a body that does not come":  "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"chunks that do not come":    "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"an answer that is not read": "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				l := pipes{make(chan net.Conn), ctx}
				s := Serve(l, nothing{}, Options{Token: testToken})
				ours, theirs := net.Pipe()
				l.conns <- theirs
				if _, err := ours.Write([]byte(request)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if strings.HasPrefix(request, "POST") {
					_ = ours.SetReadDeadline(time.Now().Add(time.Minute))
					_, _ = io.Copy(io.Discard, ours)
				}
				_ = ours.SetWriteDeadline(time.Now().Add(time.Minute))
				if _, err := ours.Write([]byte("x")); err == nil || strings.Contains(err.Error(), "timeout") {
					t.Errorf("the connection is still there: %v", err)
				}
				_ = ours.Close()
				end()
				s.Close(t.Context())
			})
		})
	}
}
