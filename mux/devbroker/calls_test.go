package devbroker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// A hook blocks its own client and nobody else.
func TestHooksBlockTheirClient(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := startProvider(t, allHooks(t, "5.10.3"), answerTo("OnClientConnected", func(_ context.Context, c call) (proto.Message, error) {
		if clientOf(c.req) == "slow" {
			<-release
		}
		return nil, nil
	}))
	b := startBroker(t, Config{ExHook: p.addr, RequestTimeout: patience})
	let := make(chan struct{})
	go func() {
		defer close(let)
		dialRaw3(t, b.Addr(), connectRaw("slow", ""))
	}()
	p.await(t, "OnClientConnected", 1)
	fast := mqtt5(t, b.Addr(), "fast", "")
	assertWorks(t, b, fast)
	select {
	case <-let:
		t.Error("the CONNACK did not wait for the hook")
	default:
	}
	close(release)
	<-let
}

// The calls of one client never overlap, though mochi reads and writes in two
// goroutines, and all use one connection; other clients use others.
func TestOneCallAtATimePerClient(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	busy := map[string]int{}
	conns := map[string]map[string]bool{}
	p := startProvider(t, allHooks(t, "5.10.3"), func(ctx context.Context, c call) (proto.Message, error) {
		id := clientOf(c.req)
		mu.Lock()
		if busy[id]++; busy[id] > 1 {
			t.Errorf("%s while another call of %s was under way", c.rpc, id)
		}
		if conns[id] == nil {
			conns[id] = map[string]bool{}
		}
		conns[id][c.conn] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			busy[id]--
			mu.Unlock()
		}()
		return asRecorder(ctx, c)
	})
	b := startBroker(t, Config{ExHook: p.addr})
	const n, messages = 10, 20
	clients := make([]*client5, n)
	for i := range clients {
		clients[i] = mqtt5(t, b.Addr(), fmt.Sprint("c", i), "")
		clients[i].subscribe(1, fmt.Sprint("to/", i))
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for range messages {
				if _, err := c.publish(1, fmt.Sprint("to/", (i+1)%n), "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p.await(t, "OnMessageAcked", n*messages)
	mu.Lock()
	defer mu.Unlock()
	used := map[string]bool{}
	for id, own := range conns {
		if len(own) != 1 {
			t.Errorf("%q used %d connections", id, len(own))
		}
		for c := range own {
			used[c] = true
		}
	}
	if len(used) < 2 || len(used) > 8 {
		t.Errorf("%d connections were used, want a pool of 8", len(used))
	}
}

// User names and passwords may be any bytes; they arrive as they are.
func TestNotUTF8(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), nil)
	b := startBroker(t, Config{ExHook: p.addr})
	_, ack := dialRaw3(t, b.Addr(), func(c *packets3.ConnectPacket) {
		c.ClientIdentifier, c.Username, c.UsernameFlag = "c", "us\xffer", true
		c.Password, c.PasswordFlag = []byte("pw\xfe\x00"), true
	})
	if ack == nil || ack.ReturnCode != 0 {
		t.Fatalf("CONNACK %v", ack)
	}
	raw := p.await(t, "OnClientAuthenticate", 1)[0].raw
	got := map[protowire.Number]string{}
	_ = eachField(raw, func(num protowire.Number, _ uint64, data []byte) {
		if num == 1 { // clientinfo
			_ = eachField(data, func(num protowire.Number, _ uint64, data []byte) { got[num] = string(data) })
		}
	})
	if got[3] != "us\xffer" || got[4] != "pw\xfe\x00" {
		t.Errorf("got %q", got)
	}
	if _, err := proto.Marshal(&exhookv3.ClientInfo{Username: "us\xffer"}); err == nil {
		t.Error("proto.Marshal takes it too; encode has no reason to be")
	}
}

// An id and a message that are not UTF-8 come back from the provider.
func TestEchoOfNotUTF8(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("message.publish")},
		func(_ context.Context, c call) (proto.Message, error) {
			if c.rpc != "OnMessagePublish" {
				return nil, nil
			}
			return messageAnswer(&exhookv3.Message{Topic: "a", Payload: []byte("new"), From: "\xff", Headers: map[string]string{"username": "\xff"}}), nil
		})
	b := startBroker(t, Config{ExHook: p.addr})
	c := mqtt5(t, b.Addr(), "c", "")
	c.subscribe(0, "a")
	if _, err := c.publish(1, "a", "old"); err != nil {
		t.Fatal(err)
	}
	if m := c.receive(); string(m.Payload) != "new" {
		t.Errorf("got %q", m.Payload)
	}
}

func TestSysTopics(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), nil)
	b := startBroker(t, Config{ExHook: p.addr})
	c := mqtt5(t, b.Addr(), "c", "")
	c.subscribe(1, "$SYS/#") // mochi's own retained ones come
	if m := c.receive(); len(m.Properties.User) != 0 {
		t.Errorf("got %v", m)
	}
	if err := b.Publish("$SYS/mine", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	for c.receive().Topic != "$SYS/mine" {
	}
	assertWorks(t, b, c)
	for _, x := range p.snapshot("OnMessagePublish", "OnMessageDelivered", "OnMessageAcked", "OnMessageDropped") {
		if m := x.req.(interface{ GetMessage() *exhookv3.Message }).GetMessage(); isSys(m.Topic) {
			t.Errorf("%s for %s", x.rpc, m.Topic)
		}
	}
}

// What a subscriber's options and identifiers look like, and a retained message.
func TestSubscriptionDetails(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr})
	pub := mqtt5(t, b.Addr(), "pub", "carol")
	if _, err := pub.Publish(pub.ctx, &paho.Publish{QoS: 1, Topic: "r", Payload: []byte("kept"), Retain: true}); err != nil {
		t.Fatal(err)
	}
	sub := mqtt5(t, b.Addr(), "sub", "")
	_, err := sub.Subscribe(sub.ctx, &paho.Subscribe{
		Properties: &paho.SubscribeProperties{SubscriptionIdentifier: ptr(7)},
		Subscriptions: []paho.SubscribeOptions{
			{Topic: "r", QoS: 2, RetainHandling: 1, NoLocal: true, RetainAsPublished: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	req := p.snapshot("OnClientSubscribe")[0].req.(*exhookv3.ClientSubscribeRequest)
	if len(req.Props) != 1 || req.Props[0].Name != "Subscription-Identifier" || req.Props[0].Value != "7" {
		t.Errorf("props %v", req.Props)
	}
	opts := p.await(t, "OnSessionSubscribed", 1)[0].req.(*exhookv3.SessionSubscribedRequest).Subopts
	if want := (&exhookv3.SubOpts{Qos: 2, Rh: 1, Rap: 1, Nl: 1}); !proto.Equal(opts, want) {
		t.Errorf("subopts %v, want %v", opts, want)
	}
	if m := sub.receive(); !m.Retain || string(m.Payload) != "kept" {
		t.Errorf("retained: %v", m)
	}
	m := p.await(t, "OnMessageDelivered", 1)[0].req.(*exhookv3.MessageDeliveredRequest).Message
	if m.From != "pub" || m.Qos != 1 || m.Headers["username"] != "carol" {
		t.Errorf("delivered %v", m)
	}
	if _, err := sub.publish(1, "r", "own"); err != nil { // no-local: comes to nobody
		t.Fatal(err)
	}
	if _, err := pub.publish(1, "r", "other"); err != nil {
		t.Fatal(err)
	}
	if m := sub.receive(); string(m.Payload) != "other" || *m.Properties.SubscriptionIdentifier != 7 {
		t.Errorf("got %v", m)
	}
}

// Topic aliases are resolved before anybody is asked.
func TestTopicAlias(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr, AuthzCache: -1})
	c := mqtt5(t, b.Addr(), "c", "")
	for _, topic := range []string{"forbidden/1", ""} {
		res, err := c.Publish(c.ctx, &paho.Publish{QoS: 1, Topic: topic, Properties: &paho.PublishProperties{TopicAlias: ptr(uint16(3))}})
		if err == nil || res == nil || res.ReasonCode != 0x87 {
			t.Errorf("publish to alias of %q: %v %v", topic, res, err)
		}
	}
	for _, x := range p.await(t, "OnClientAuthorize", 2) {
		if topic := x.req.(*exhookv3.ClientAuthorizeRequest).Topic; topic != "forbidden/1" {
			t.Errorf("asked about %q", topic)
		}
	}
}

func TestAssignedClientID(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), nil)
	b := startBroker(t, Config{ExHook: p.addr})
	c := mqtt5(t, b.Addr(), "", "")
	id := c.connack.Properties.AssignedClientID
	if id == "" {
		t.Fatal("none was assigned")
	}
	conn := p.snapshot("OnClientConnect")[0].req.(*exhookv3.ClientConnectRequest).Conninfo
	info := p.snapshot("OnClientConnected")[0].req.(*exhookv3.ClientConnectedRequest).Clientinfo
	if conn.Clientid != "" || info.Clientid != id {
		t.Errorf("conninfo %q, clientinfo %q, assigned %q", conn.Clientid, info.Clientid, id)
	}
}

func TestTimeoutIsTheDeadline(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), nil)
	b := startLoaded(t, Config{ExHook: p.addr, RequestTimeout: 7 * time.Minute})
	mqtt5(t, b.Addr(), "c", "")
	for _, c := range p.snapshot() {
		if c.left < 6*time.Minute || c.left > 7*time.Minute {
			t.Errorf("%s had %s left", c.rpc, c.left)
		}
	}
}
