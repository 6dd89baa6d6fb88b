package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// http2Client speaks HTTP/2 by hand, as EMQX's client does: h2c with prior
// knowledge, default window, HEADERS and DATA in separate frames.
type http2Client struct {
	t      testing.TB
	framer *http2.Framer
	writes sync.Mutex // for who writes from more than one goroutine
}

func newHTTP2Client(t testing.TB, conn net.Conn) *http2Client {
	t.Helper()
	c := &http2Client{t: t, framer: http2.NewFramer(conn, conn)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c.must(c.framer.WriteSettings())
	return c
}

func (c *http2Client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *http2Client) ping(ack bool, data [8]byte) error {
	c.writes.Lock()
	defer c.writes.Unlock()
	return c.framer.WritePing(ack, data)
}

// send starts a call with headers like EMQX's, and sends the message behind.
func (c *http2Client) send(stream uint32, h mux.Hook, body []byte) {
	c.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", mux.V3.FullMethod(h)}, {":authority", "127.0.0.1:9000"},
		{"grpc-encoding", "identity"}, {"grpc-message-type", "emqx.exhook.v3.Request"}, {"grpc-timeout", "5S"},
		{"content-type", "application/grpc+proto"}, {"user-agent", "grpc-erlang/0.1.0"}, {"te", "trailers"},
	} {
		c.must(enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true}))
	c.sendBody(stream, body)
}

func (c *http2Client) sendBody(stream uint32, body []byte) {
	c.t.Helper()
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	message = append(message, body...)
	for len(message) > 16384 {
		c.must(c.framer.WriteData(stream, false, message[:16384]))
		message = message[16384:]
	}
	c.must(c.framer.WriteData(stream, true, message))
}

// read is the next frame that is not about the connection itself.
func (c *http2Client) read() http2.Frame {
	c.t.Helper()
	for {
		f, err := c.framer.ReadFrame()
		c.must(err)
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if n, ok := f.Value(http2.SettingMaxConcurrentStreams); ok && n < 100_000 {
				c.t.Errorf("the server allows %d streams at a time, which EMQX does not heed", n)
			}
			if !f.IsAck() {
				c.must(c.framer.WriteSettingsAck())
			}
		case *http2.PingFrame:
			if f.IsAck() {
				return f
			}
			c.must(c.ping(true, f.Data))
		case *http2.WindowUpdateFrame:
		default:
			return f
		}
	}
}

// answer reads the call's answer and how many bytes of it came before the
// window was full.
func (c *http2Client) answer(stream uint32) (body []byte, first int) {
	c.t.Helper()
	for {
		switch f := c.read().(type) {
		case *http2.DataFrame:
			body = append(body, f.Data()...)
			if len(body) == 65535 || first == 0 && len(body) > 65535 {
				first = len(body)
			}
			if first != 0 {
				c.must(c.framer.WriteWindowUpdate(0, uint32(len(f.Data())+65535)))
				c.must(c.framer.WriteWindowUpdate(stream, uint32(len(f.Data())+65535)))
			}
		case *http2.MetaHeadersFrame:
			if !f.StreamEnded() {
				continue
			}
			for _, h := range f.Fields {
				if h.Name == "grpc-status" && h.Value != "0" {
					c.t.Fatalf("grpc-status %s", h.Value)
				}
			}
			return body[5:], first
		default:
			c.t.Fatalf("unexpected %v", f)
		}
	}
}

func TestCallAsEMQXMakesIt(t *testing.T) {
	t.Parallel()
	payload := bytes.Repeat([]byte("x"), 300_000)
	left := make(chan time.Duration, 10)
	c := &conn{decide: func(ctx context.Context, h mux.Hook, _ []byte) ([]byte, error) {
		d, _ := ctx.Deadline()
		left <- time.Until(d)
		return proto.Marshal(&exhookv3.ValuedResponse{Value: &exhookv3.ValuedResponse_Message{Message: &exhookv3.Message{Topic: "t", Payload: payload}}})
	}}
	m := newMux(t, mux.Spec{Timeout: time.Minute}, c)
	raw, err := net.Dial("tcp", serve(t, m))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	client := newHTTP2Client(t, raw)

	body := marshal(t, &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{From: "c", Topic: "t", Payload: bytes.Repeat([]byte("y"), 50_000)}})
	client.send(1, mux.MessagePublish, body)
	answer, first := client.answer(1)
	var got exhookv3.ValuedResponse
	if err := proto.Unmarshal(answer, &got); err != nil || !bytes.Equal(got.GetMessage().GetPayload(), payload) {
		t.Errorf("answer of %d bytes, %v", len(answer), err)
	}
	if first != 65535 {
		t.Errorf("%d bytes came at first, the window is 65535", first)
	}
	if d := <-left; d < 3*time.Second || d > 4900*time.Millisecond {
		t.Errorf("of grpc-timeout 5S the provider had %s, want at most 4.9s", d)
	}
	// The connection goes on, with notifications too.
	client.send(3, mux.ClientConnected, nil)
	if answer, _ := client.answer(3); len(answer) != 0 {
		t.Errorf("answer % x", answer)
	}
}

// EMQX sends a PING every 60 s, also when idle; others more often. gRPC's
// default is to hang up on them. Ten minutes of a fake clock.
func TestPingsOfAnIdleBrokerKeepTheConnection(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{6 * time.Second, 60 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := bufconn.Listen(1 << 20)
				s := New(newMux(t, mux.Spec{}, &conn{}), Options{})
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				raw, err := l.Dial()
				if err != nil {
					t.Fatal(err)
				}
				client := newHTTP2Client(t, raw)
				frames := make(chan string, 1000)
				go func() {
					defer close(frames)
					for {
						f, err := client.framer.ReadFrame()
						if err != nil {
							return
						}
						switch f := f.(type) {
						case *http2.PingFrame:
							if !f.IsAck() {
								_ = client.ping(true, f.Data)
								continue
							}
							frames <- "pong"
						case *http2.GoAwayFrame:
							frames <- "hung up: " + string(f.DebugData())
						}
					}
				}()
				for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(every) {
					client.must(client.ping(false, [8]byte{1}))
					if f := <-frames; f != "pong" {
						t.Errorf("after %s: %s", time.Since(start), f)
						break
					}
				}
				_ = raw.Close()
				s.Stop(t.Context())
				if err := <-served; err != nil {
					t.Error(err)
				}
				for range frames {
				}
			})
		})
	}
}
