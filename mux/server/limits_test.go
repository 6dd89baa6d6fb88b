package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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

// serveWith is serve with options.
func serveWith(t testing.TB, m *mux.Mux, opts Options) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, m, opts)
	return l.Addr().String()
}

func serveOn(t testing.TB, l net.Listener, m *mux.Mux, opts Options) *Server {
	t.Helper()
	s := New(m, opts)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(ctx)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func dialHTTP2(t testing.TB, address string) *http2Client {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return newHTTP2Client(t, raw)
}

// begin sends a call's headers.
func (c *http2Client) begin(stream uint32, h mux.Hook, more ...hpack.HeaderField) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: mux.V3.FullMethod(h)},
		{Name: ":authority", Value: "127.0.0.1:9000"}, {Name: "content-type", Value: "application/grpc+proto"}, {Name: "te", Value: "trailers"},
	}, more...) {
		if err := enc.WriteField(f); err != nil {
			return err
		}
	}
	first := block.Next(16384)
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: block.Len() == 0}); err != nil {
		return err
	}
	for block.Len() > 0 {
		part := block.Next(16384)
		if err := c.framer.WriteContinuation(stream, block.Len() == 0, part); err != nil {
			return err
		}
	}
	return nil
}

func checkRefused(t *testing.T, h mux.Hook, answer []byte) {
	t.Helper()
	if !h.Valued() {
		if len(answer) != 0 {
			t.Errorf("%s: answer % x", h, answer)
		}
		return
	}
	var got exhookv3.ValuedResponse
	if err := proto.Unmarshal(answer, &got); err != nil {
		t.Fatalf("%s: %v", h, err)
	}
	refused := !got.GetBoolResult()
	if !h.Access() {
		refused = got.GetMessage().GetHeaders()["allow_publish"] == "false"
	}
	if got.Type != exhookv3.ValuedResponse_STOP_AND_RETURN || !refused {
		t.Errorf("%s: %v, want a refusal", h, &got)
	}
}

// An event that is too large is answered once all of it has come in, as EMQX needs it:
// with nothing else behind the answer.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := &conn{}
	m := newMux(t, mux.Spec{}, c)
	client := dialHTTP2(t, serveWith(t, m, Options{Limits: Limits{Message: 64 << 10}}))
	stream := uint32(1)
	for _, h := range append(mux.Hooks(), mux.ProviderLoaded, mux.ProviderUnloaded) {
		client.must(client.begin(stream, h))
		client.sendBody(stream, make([]byte, 64<<10+1))
		answer, _ := client.answer(stream)
		if h == mux.ProviderLoaded {
			if !strings.Contains(string(answer), "client.authenticate") {
				t.Errorf("a load that is too large is told %q", answer)
			}
		} else if h != mux.ProviderUnloaded {
			checkRefused(t, h, answer)
		}
		stream += 2
	}
	if len(m.Brokers()) != 0 {
		t.Error("whoever loaded so is remembered")
	}
	if got := c.requests(); len(got) != 0 {
		t.Errorf("the provider got %d", len(got))
	}
	lost := m.Providers()[0].Stats().Dropped[mux.ReasonTooLarge].Load()
	if want := len(mux.Hooks()) - 4; lost != int64(want) {
		t.Errorf("%d notifications are counted as too large, want %d", lost, want)
	}
	// The limit itself is not too large, and the connection goes on.
	body := marshal(t, &exhookv3.MessageDroppedRequest{Message: &exhookv3.Message{Topic: "t", Payload: make([]byte, 60<<10)}})
	client.send(stream, mux.MessageDropped, append(body, proto0(64<<10-len(body))...))
	client.answer(stream)
	eventually(t, "it reaches the provider", func() bool { return len(c.requests()) == 1 })
}

// proto0 is n bytes of unknown fields.
func proto0(n int) []byte { return bytes.Repeat([]byte{0x78, 1}, n)[:n&^1] }

// Who sends all of it is answered, too, and what follows on the connection is served:
// what nobody reads does not use up its window.
func TestTooLargeInFull(t *testing.T) {
	t.Parallel()
	m := newMux(t, mux.Spec{}, &conn{})
	address := serveWith(t, m, Options{Limits: Limits{Message: 64 << 10}})
	cc := dial(t, address)
	large := marshal(t, &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Topic: "t", Payload: make([]byte, 1<<20)}})
	for range 20 {
		answer, err := invoke(t.Context(), cc, mux.V3.FullMethod(mux.MessagePublish), large)
		if err != nil {
			t.Fatal(err)
		}
		checkRefused(t, mux.MessagePublish, answer)
	}
	answer, err := invoke(t.Context(), cc, mux.V3.FullMethod(mux.MessagePublish), marshal(t, &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Topic: "t"}}))
	if err != nil || !bytes.Equal(answer, ignore) {
		t.Errorf("% x, %v", answer, err)
	}
}

// A call that is one too many is answered at once, as the failure policy for overload
// says; those under way go on.
func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy mux.Policy
		want   exhookv3.ValuedResponse_ResponsedType
	}{{mux.Deny, exhookv3.ValuedResponse_STOP_AND_RETURN}, {mux.Ignore, exhookv3.ValuedResponse_IGNORE}} {
		t.Run(c.policy.String(), func(t *testing.T) {
			t.Parallel()
			release, asked := make(chan struct{}), make(chan struct{}, 10)
			p := &conn{decide: func(ctx context.Context, _ mux.Hook, _ []byte) ([]byte, error) {
				asked <- struct{}{}
				select {
				case <-release:
				case <-ctx.Done():
				}
				return ignore, nil
			}}
			spec := mux.Spec{Timeout: time.Minute, Delivery: mux.By(mux.Sync)}
			spec.OnFailure[mux.ClientAuthenticate][mux.ReasonOverload] = c.policy
			m := newMux(t, spec, p)
			cc := dial(t, serveWith(t, m, Options{Limits: Limits{Calls: 2}}))
			client := exhookv3.NewHookProviderClient(cc)
			var under sync.WaitGroup
			for range 2 {
				under.Go(func() {
					if r, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{}); err != nil || r.Type != exhookv3.ValuedResponse_IGNORE {
						t.Errorf("one under way: %v, %v", r, err)
					}
				})
				<-asked
			}
			if r, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{}); err != nil || r.Type != c.want || r.GetBoolResult() {
				t.Errorf("one too many: %v, %v", r, err)
			}
			if _, err := client.OnClientConnected(t.Context(), &exhookv3.ClientConnectedRequest{}); err != nil {
				t.Error(err)
			}
			stats := m.Providers()[0].Stats()
			if n, lost := stats.Missing[mux.ReasonOverload].Load(), stats.Dropped[mux.ReasonOverload].Load(); n != 1 || lost != 1 {
				t.Errorf("counted %d decisions and %d notifications", n, lost)
			}
			close(release)
			under.Wait()
			if r, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{}); err != nil || r.Type != exhookv3.ValuedResponse_IGNORE {
				t.Errorf("afterwards: %v, %v", r, err)
			}
		})
	}
}

// Each host may have so many connections, and one more is closed at once. Others have
// theirs.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, l, newMux(t, mux.Spec{}, &conn{}), Options{Limits: Limits{Connections: 3}})
	from := func(host string) (conn net.Conn, served bool) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		// The server says its settings when it has the preface.
		_, _ = io.WriteString(c, http2.ClientPreface)
		_ = http2.NewFramer(c, nil).WriteSettings()
		_, err = c.Read(make([]byte, 1))
		return c, err == nil
	}
	var first net.Conn
	for i := range 3 {
		c, ok := from("127.0.0.1")
		if !ok {
			t.Fatalf("connection %d is not served", i)
		}
		first = c
	}
	if _, ok := from("127.0.0.1"); ok {
		t.Error("the fourth is served")
	}
	if _, ok := from("127.0.0.2"); !ok {
		t.Error("another host is not served")
	}
	_ = first.Close()
	eventually(t, "one that is closed does not count", func() bool { _, ok := from("127.0.0.1"); return ok })
	s.SetLimits(Limits{Connections: 10})
	if _, ok := from("127.0.0.1"); !ok {
		t.Error("a higher limit does not count")
	}
}

// Who connects and says nothing, or is slow about it, is hung up on.
func TestSlowBeginning(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Hour, time.Second} { // a letter of the preface
		synctest.Test(t, func(t *testing.T) {
			l := bufconn.Listen(1 << 20)
			s := New(newMux(t, mux.Spec{}, &conn{}), Options{})
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			c, err := l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			go func() {
				for _, letter := range http2.ClientPreface {
					if _, err := io.WriteString(c, string(letter)); err != nil {
						return
					}
					time.Sleep(every)
				}
			}()
			_, err = io.ReadAll(c)
			if took := time.Since(start); took > firstWords+time.Second {
				t.Errorf("hung up on after %s: %v", took, err)
			}
			_ = c.Close()
			s.Stop(t.Context())
			if err := <-served; err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Hour) // the writer ends
		})
	}
}

// hostile are clients that mean harm, each until its connection is closed or stop is.
var hostile = map[string]func(c *http2Client, stop <-chan struct{}) error{
	// Calls that are given up at once.
	"rapid reset": func(c *http2Client, stop <-chan struct{}) error {
		for stream := uint32(1); ; stream += 2 {
			if err := c.begin(stream, mux.ClientAuthenticate); err != nil {
				return err
			}
			if err := c.framer.WriteRSTStream(stream, http2.ErrCodeCancel); err != nil || stopped(stop) {
				return err
			}
		}
	},
	// Headers that are far too large, in as many frames as it takes.
	"header bomb": func(c *http2Client, stop <-chan struct{}) error {
		for stream := uint32(1); ; stream += 2 {
			if err := c.begin(stream, mux.ClientAuthenticate, hpack.HeaderField{Name: "x", Value: strings.Repeat("~", 4<<20)}); err != nil || stopped(stop) {
				return err
			}
		}
	},
	// The same large header again and again, which takes one byte each time.
	"compressed headers": func(c *http2Client, stop <-chan struct{}) error {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		_ = enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 3900)})
		for stream := uint32(1); ; stream += 2 {
			for range 10_000 {
				_ = enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 3900)})
			}
			if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Next(16384), EndHeaders: true}); err != nil || stopped(stop) {
				return err
			}
			block.Reset()
		}
	},
	// Headers without end.
	"continuation flood": func(c *http2Client, stop <-chan struct{}) error {
		if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}); err != nil {
			return err
		}
		for !stopped(stop) {
			if err := c.framer.WriteContinuation(1, false, nil); err != nil {
				return err
			}
		}
		return nil
	},
	// Questions that have to be answered, which nobody reads.
	"ping flood": func(c *http2Client, stop <-chan struct{}) error {
		for !stopped(stop) {
			if err := c.framer.WritePing(false, [8]byte{}); err != nil {
				return err
			}
		}
		return nil
	},
	"settings flood": func(c *http2Client, stop <-chan struct{}) error {
		for !stopped(stop) {
			if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}); err != nil {
				return err
			}
		}
		return nil
	},
	// Calls that never get any further.
	"unfinished calls": func(c *http2Client, stop <-chan struct{}) error {
		for stream := uint32(1); stream < 20_000 && !stopped(stop); stream += 2 {
			if err := c.begin(stream, mux.ClientAuthenticate); err != nil {
				return err
			}
			if err := c.framer.WriteData(stream, false, binary.BigEndian.AppendUint32([]byte{0}, 1000)); err != nil {
				return err
			}
		}
		<-stop
		return nil
	},
	// Sizes that would fill the memory, if anybody believed them.
	"announced sizes": func(c *http2Client, stop <-chan struct{}) error {
		for stream := uint32(1); stream < 20_000 && !stopped(stop); stream += 2 {
			if err := c.begin(stream, mux.MessagePublish); err != nil {
				return err
			}
			if err := c.framer.WriteData(stream, false, binary.BigEndian.AppendUint32([]byte{0}, 1<<31)); err != nil {
				return err
			}
		}
		<-stop
		return nil
	},
	// What is no HTTP/2 at all.
	"noise": func(c *http2Client, stop <-chan struct{}) error {
		for !stopped(stop) {
			if err := c.framer.WriteRawFrame(http2.FrameType(0xff), 0xff, 7, make([]byte, 10_000)); err != nil {
				return err
			}
		}
		return nil
	},
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// Whatever one peer does, the brokers beside it are answered.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	for name, attack := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &conn{}
			address := serveWith(t, newMux(t, mux.Spec{}, c), Options{Limits: Limits{Message: 1 << 20, Calls: 1000, Connections: 100}})
			good := exhookv3.NewHookProviderClient(dial(t, address))
			raw, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			client := newHTTP2Client(t, raw)
			stop := make(chan struct{})
			ended := make(chan error, 1)
			var frames atomic.Int64
			go func() { ended <- attack(client, stop) }()
			if name != "ping flood" && name != "settings flood" { // who reads nothing
				go func() {
					b := make([]byte, 64<<10)
					for {
						n, err := raw.Read(b)
						frames.Add(int64(n))
						if err != nil {
							return
						}
					}
				}()
			}
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				r, err := good.OnClientAuthenticate(ctx, &exhookv3.ClientAuthenticateRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "good"}})
				cancel()
				if err != nil || r.Type != exhookv3.ValuedResponse_IGNORE {
					t.Fatalf("call %d: %v, %v", i, r, err)
				}
			}
			close(stop)
			_ = raw.Close() // who waits for room to write
			if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
				t.Logf("the server hung up: %v", err)
			}
		})
	}
}
