package devbroker

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// history is what was told of one client: hooks, with reasons.
func history(p *testProvider, id string) []string {
	var out []string
	for _, c := range p.snapshot() {
		if clientOf(c.req) != id {
			continue
		}
		line := strings.TrimPrefix(c.rpc, "On")
		if r, ok := c.req.(interface{ GetReason() string }); ok {
			line += " " + r.GetReason()
		}
		out = append(out, line)
	}
	return out
}

// sessionHooks are those that tell how connections and sessions begin and end.
var sessionHooks = []*exhookv3.HookSpec{
	spec("client.connected"), spec("client.disconnected"), spec("session.created"), spec("session.resumed"),
	spec("session.takenover"), spec("session.discarded"), spec("session.terminated"),
}

func TestEnds(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	for id, x := range map[string]struct {
		end  func(*client5)
		want string
	}{
		"normal":    {func(c *client5) { c.leave(0) }, "normal"},
		"with will": {func(c *client5) { c.leave(4) }, "disconnect_with_will_message"},
		"complaint": {func(c *client5) { c.leave(0x80) }, "unspecified_error"},
		"killed":    {func(c *client5) { _ = c.conn.Close() }, "tcp_closed"},
		"insane": {func(c *client5) { // a second CONNECT
			again := connect5("insane", "").Packet()
			again.ProtocolName, again.ProtocolVersion = "MQTT", 5
			_, _ = again.WriteTo(c.conn)
		}, "protocol_error"},
	} {
		x.end(mqtt5(t, b.Addr(), id, ""))
		eventually(t, "the end of "+id, func() bool { return len(history(p, id)) == 4 })
		want := []string{"SessionCreated", "ClientConnected", "ClientDisconnected " + x.want, "SessionTerminated {shutdown," + x.want + "}"}
		if got := history(p, id); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}

func TestKeepalive(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	dialRaw3(t, b.Addr(), func(c *packets3.ConnectPacket) { c.ClientIdentifier, c.Keepalive = "silent", 1 })
	p.await(t, "OnSessionTerminated", 1)
	if got := history(p, "silent"); got[2] != "ClientDisconnected keepalive_timeout" {
		t.Error(got)
	}
}

func keeping(id string, clean bool, expiry uint32) *paho.Connect {
	c := connect5(id, "")
	c.CleanStart = clean
	c.Properties.SessionExpiryInterval = &expiry
	return c
}

func TestDiscardOfConnected(t *testing.T) {
	t.Parallel()
	for release, want := range map[string][]string{
		"5.10.3": {
			"SessionCreated", "ClientConnected",
			"SessionCreated", "ClientDisconnected discarded", "SessionDiscarded",
		},
		"5.0.26": {
			"SessionCreated", "ClientConnected",
			"ClientDisconnected discarded", "SessionDiscarded", "SessionCreated", "ClientConnected",
		},
	} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, sessionHooks, nil)
			b := startBroker(t, Config{ExHook: p.addr, Release: release})
			first := mustDial5(t, b.Addr(), keeping("c", true, 300), false)
			first.subscribe(1, "a")
			second := mustDial5(t, b.Addr(), keeping("c", true, 300), false)
			if second.connack.SessionPresent {
				t.Error("the session was resumed")
			}
			p.await(t, "OnSessionDiscarded", 1)
			p.await(t, "OnClientConnected", 2)
			got := history(p, "c")
			if release == "5.10.3" { // the new connection goes on beside the old one's end
				got = slices.Delete(got, slices.Index(got[2:], "ClientConnected")+2, slices.Index(got[2:], "ClientConnected")+3)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			assertWorks(t, b, second)
		})
	}
}

// assertWorks subscribes and gets a message.
func assertWorks(t *testing.T, b *Broker, c *client5) {
	t.Helper()
	c.subscribe(1, "works")
	if err := b.Publish("works", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	c.receive()
}

// A session that ends with its connection is taken over all the same if that is
// still there; mochi would sometimes delete the new client along with the old.
func TestTakeoverOfPassingSession(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	c := keeping("c", false, 0)
	mustDial5(t, b.Addr(), c, false).subscribe(1, "a")
	for i := range 5 {
		next := mustDial5(t, b.Addr(), c, false)
		if !next.connack.SessionPresent {
			t.Error("the session was not resumed")
		}
		p.await(t, "OnSessionTakenover", i+1)
		assertWorks(t, b, next)
		if err := b.Publish("a", nil, 1, false); err != nil {
			t.Fatal(err)
		}
		next.receive()
	}
}

func TestManyConnectionsOfOneClient(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	const n = 12
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			// Any of them may be thrown out before its CONNACK comes.
			_, _ = dial5(t, b.Addr(), keeping("c", i%2 == 0, uint32(i%3)*100), false)
		})
	}
	wg.Wait()
	last := mustDial5(t, b.Addr(), keeping("c", true, 0), false)
	assertWorks(t, b, last)
	last.leave(0)
	begun := func() int { return len(p.snapshot("OnSessionCreated", "OnSessionResumed")) }
	eventually(t, "every session's end", func() bool {
		return len(p.snapshot("OnSessionTakenover", "OnSessionDiscarded", "OnSessionTerminated")) == begun()
	})
	eventually(t, "the broker to forget", func() bool {
		left := 0
		b.sessions.Range(func(any, any) bool { left++; return true })
		return left == 0
	})
}

func TestSessionExpires(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	c := mustDial5(t, b.Addr(), keeping("c", true, 1), false)
	c.subscribe(1, "a")
	c.leave(0)
	p.await(t, "OnSessionTerminated", 1)
	want := []string{"SessionCreated", "ClientConnected", "ClientDisconnected normal", "SessionTerminated {shutdown,expired}"}
	if got := history(p, "c"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if b.hasSubscribers("a") {
		t.Error("its subscription is still there")
	}
}

func TestKept311Session(t *testing.T) {
	t.Parallel()
	p := startProvider(t, append(slices.Clone(sessionHooks), spec("message.delivered"), spec("message.acked")), nil)
	b := startBroker(t, Config{ExHook: p.addr})
	durable := func(c *packets3.ConnectPacket) { c.ClientIdentifier, c.CleanSession = "c", false }
	first, _ := dialRaw3(t, b.Addr(), durable)
	first.subscribe(1, "a")
	first.leave()
	p.await(t, "OnClientDisconnected", 1)
	const n = 20
	for i := range n {
		if err := b.Publish("a", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, ack := dialRaw3(t, b.Addr(), durable); !ack.SessionPresent {
		t.Error("the session was not resumed")
	}
	p.await(t, "OnMessageAcked", n)
	for i, c := range p.snapshot("OnMessageDelivered") {
		if got := string(c.req.(*exhookv3.MessageDeliveredRequest).Message.Payload); got != fmt.Sprint(i) {
			t.Errorf("message %d was %s: out of order", i, got)
		}
	}
}

func TestQueuedIsNotDuplicate(t *testing.T) {
	t.Parallel()
	p := startProvider(t, sessionHooks, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	first := mustDial5(t, b.Addr(), keeping("c", false, 300), true)
	first.subscribe(1, "a")
	for _, payload := range []string{"sent", "queued"} {
		if err := b.Publish("a", []byte(payload), 1, false); err != nil {
			t.Fatal(err)
		}
		if payload == "sent" {
			first.receive() // not acknowledged
			_ = first.conn.Close()
			p.await(t, "OnClientDisconnected", 1)
		}
	}
	second := mustDial5(t, b.Addr(), keeping("c", false, 300), false)
	if m := second.receive(); string(m.Payload) != "sent" || !m.Duplicate() {
		t.Errorf("first %v, want the sent one as a duplicate", m)
	}
	if m := second.receive(); string(m.Payload) != "queued" || m.Duplicate() {
		t.Errorf("then %v, want the queued one, no duplicate", m)
	}
}

func TestWillDelay(t *testing.T) {
	t.Parallel()
	p := startProvider(t, append(slices.Clone(sessionHooks), spec("message.publish")), nil)
	b := startBroker(t, Config{ExHook: p.addr})
	watch := mqtt5(t, b.Addr(), "watch", "")
	watch.subscribe(1, "will/#")
	connect := func(id string, clean bool, expiry, delay uint32) *client5 {
		c := keeping(id, clean, expiry)
		c.WillMessage = &paho.WillMessage{Topic: "will/" + id, Payload: []byte("x"), QoS: 1}
		c.WillProperties = &paho.WillProperties{WillDelayInterval: &delay, User: paho.UserProperties{{Key: "last", Value: "words"}}}
		return mustDial5(t, b.Addr(), c, false)
	}
	kill := func(c *client5) {
		n := len(p.snapshot("OnClientDisconnected"))
		_ = c.conn.Close()
		p.await(t, "OnClientDisconnected", n+1)
	}
	expect := func(id string) {
		t.Helper()
		if m := watch.receive(); m.Topic != "will/"+id || m.Properties.User.Get("last") != "words" {
			t.Errorf("will %v, want %s's", m, id)
		}
	}
	kill(connect("kept", true, 300, 300)) // never sent: Close comes first
	kill(connect("back", false, 300, 300))
	connect("back", false, 300, 300).leave(0) // cancels it
	kill(connect("passing", true, 0, 300))    // the session ends with the connection
	expect("passing")
	kill(connect("replaced", true, 300, 300))
	connect("replaced", true, 0, 0).leave(0) // ends the session
	expect("replaced")
	kill(connect("delayed", true, 300, 1))
	expect("delayed")
	if n := len(p.snapshot("OnMessagePublish")); n != 3 {
		t.Errorf("message.publish was called for %d wills, want 3", n)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	connected := make(chan struct{}, 1)
	p := startProvider(t, allHooks(t, "5.10.3"), answerTo("OnClientAuthorize", func(ctx context.Context, c call) (proto.Message, error) {
		connected <- struct{}{}
		return hang(ctx, c)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	b, err := Start(ctx, Config{Listen: "127.0.0.1:0", ExHook: p.addr, RequestTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", b.Addr()) // never sends a CONNECT
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	mqtt5(t, b.Addr(), "quiet", "")
	busy := mqtt5(t, b.Addr(), "busy", "")
	if _, err := busy.publish(0, "a", "x"); err != nil { // hangs in the hook
		t.Fatal(err)
	}
	<-connected
	cancel() // closes, as Close does, and Close waits for it
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error("again:", err)
	}
	calls := p.rpcs()
	if calls[len(calls)-1] != "ProviderUnloaded" || slices.Contains(calls, "ClientDisconnected") {
		t.Errorf("calls: %v", calls)
	}
	if _, err := net.Dial("tcp", b.Addr()); err == nil {
		t.Error("still listening")
	}
}

// Nobody gets more unacknowledged messages than it asked for, and everything in
// the end.
func TestReceiveMaximum(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("message.acked")}, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	const n, window = 100, 3
	for _, qos := range []byte{1, 2} {
		c := connect5(fmt.Sprint("c", qos), "")
		c.Properties.ReceiveMaximum = ptr(uint16(window))
		sub := mustDial5(t, b.Addr(), c, true)
		if got := *sub.connack.Properties.ReceiveMaximum; got != window {
			t.Errorf("CONNACK says %d", got)
		}
		topic := fmt.Sprint("a/", qos)
		sub.subscribe(qos, topic)
		for i := range n {
			if err := b.Publish(topic, fmt.Append(nil, i), qos, false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			eventually(t, "the next message", func() bool { return len(sub.in) > 0 })
			if len(sub.in) > window {
				t.Fatalf("QoS %d: %d messages at once", qos, len(sub.in))
			}
			m := sub.receive()
			if string(m.Payload) != fmt.Sprint(i) {
				t.Fatalf("QoS %d: message %d is %s", qos, i, m.Payload)
			}
			if err := sub.Ack(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.await(t, "OnMessageAcked", 2*n)
}
