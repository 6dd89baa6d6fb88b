package devbroker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// hang answers nothing before the caller gives up.
func hang(ctx context.Context, _ call) (proto.Message, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// answerTo answers one RPC with f and lets all others pass.
func answerTo(rpc string, f func(context.Context, call) (proto.Message, error)) func(context.Context, call) (proto.Message, error) {
	return func(ctx context.Context, c call) (proto.Message, error) {
		if c.rpc == rpc {
			return f(ctx, c)
		}
		return asRecorder(ctx, c)
	}
}

func fixed(m proto.Message) func(context.Context, call) (proto.Message, error) {
	return func(context.Context, call) (proto.Message, error) { return m, nil }
}

func fail(context.Context, call) (proto.Message, error) { return nil, errProvider }

func continueWith(yes bool) *exhookv3.ValuedResponse {
	a := boolAnswer(yes)
	a.Type = exhookv3.ValuedResponse_CONTINUE
	return a
}

// bare is a CONTINUE without a value.
var bare = &exhookv3.ValuedResponse{}

func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name   string
		answer func(context.Context, call) (proto.Message, error)
		// What becomes of the login from 5.9 on, of the login before, and
		// of a publish and a subscription that authorize answers so, under
		// deny; and whether failed_action=ignore turns that around.
		login, login58, authorized, failure bool
	}{
		{name: "STOP true", answer: fixed(boolAnswer(true)), login: true, login58: true, authorized: true},
		{name: "STOP false", answer: fixed(boolAnswer(false))},
		{name: "CONTINUE true", answer: fixed(continueWith(true)), login: true, login58: true, authorized: true},
		{name: "CONTINUE false", answer: fixed(continueWith(false))},
		{name: "IGNORE", answer: fixed(ignoreAnswer), login: true, authorized: true},
		{name: "no value", answer: fixed(bare), login: true, authorized: true},
		{name: "a message", answer: fixed(messageAnswer(&exhookv3.Message{})), login: true, authorized: true},
		{name: "error", answer: fail, failure: true},
		{name: "timeout", answer: hang, failure: true},
	} {
		for _, action := range []string{"deny", "ignore"} {
			t.Run(x.name+"/"+action, func(t *testing.T) {
				t.Parallel()
				ignoring := x.failure && action == "ignore"
				timeout := patience
				if x.name == "timeout" {
					timeout = 200 * time.Millisecond
				}
				login := func(version string, want bool) {
					p := startProvider(t, []*exhookv3.HookSpec{spec("client.authenticate")}, answerTo("OnClientAuthenticate", x.answer))
					b := startLoaded(t, Config{ExHook: p.addr, Version: version, FailedAction: action, RequestTimeout: timeout})
					_, err := dial5(t, b.Addr(), connect5("c", "u"), false)
					if (err == nil) != want {
						t.Errorf("%s login: %v, want let in %t", version, err, want)
					}
					got := p.await(t, "OnClientAuthenticate", 1)[0].req.(*exhookv3.ClientAuthenticateRequest)
					if got.Result != (version == "v3") || got.Clientinfo.Password != "pw" {
						t.Errorf("%s asked with %v", version, got)
					}
				}
				login("v3", x.login || ignoring)
				login("v2", x.login58) // nobody decided is false there, however it came

				want := x.authorized || ignoring
				p := startProvider(t, []*exhookv3.HookSpec{spec("client.authorize")}, answerTo("OnClientAuthorize", x.answer))
				b := startLoaded(t, Config{ExHook: p.addr, FailedAction: action, RequestTimeout: timeout})
				c := mqtt5(t, b.Addr(), "c", "u")
				code := byte(1)
				if !want {
					code = 0x87
				}
				if ack := c.subscribe(1, "a"); !slices.Equal(ack.Reasons, []byte{code}) {
					t.Errorf("SUBACK %x, want %x", ack.Reasons, code)
				}
				for qos := range byte(3) {
					res, err := c.publish(qos, fmt.Sprint("to/", qos), "x")
					switch {
					case qos == 0 || want:
						if err != nil {
							t.Errorf("publish with QoS %d: %v", qos, err)
						}
					case res == nil || res.ReasonCode != 0x87:
						t.Errorf("publish with QoS %d: %v %v, want 87", qos, res, err)
					}
				}
			})
		}
	}
}

// A refused publish is acknowledged as if nothing were to a 3.1.1 client.
func TestRefusedPublish311(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("client.authorize"), spec("message.publish")}, asRecorder)
	b := startBroker(t, Config{ExHook: p.addr})
	c := mustDial3(t, b.Addr(), "c", "", "")
	for qos := range byte(3) {
		if err := c.wait(c.Publish("forbidden/1", qos, false, "x")); err != nil {
			t.Errorf("QoS %d: %v", qos, err)
		}
	}
	if err := c.wait(c.Publish("ok", 1, false, "x")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := len(p.snapshot("OnMessagePublish")); n != 1 {
		t.Errorf("message.publish was called %d times, want for the last only", n)
	}
}

func TestPublishPassesOnFailure(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(context.Context, call) (proto.Message, error){
		"error": fail, "timeout": hang, "ignore": fixed(ignoreAnswer), "no value": fixed(bare),
		"a bool": fixed(boolAnswer(false)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, []*exhookv3.HookSpec{spec("message.publish")}, answerTo("OnMessagePublish", answer))
			timeout := patience
			if name == "timeout" {
				timeout = 200 * time.Millisecond
			}
			b := startLoaded(t, Config{ExHook: p.addr, RequestTimeout: timeout})
			c := mqtt5(t, b.Addr(), "c", "")
			c.subscribe(1, "#")
			if _, err := c.publish(1, "a", "as it was"); err != nil {
				t.Fatal(err)
			}
			if m := c.receive(); string(m.Payload) != "as it was" {
				t.Errorf("got %q", m.Payload)
			}
		})
	}
}

func TestDroppedSilently(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr})
	sub := mqtt5(t, b.Addr(), "sub", "")
	sub.subscribe(2, "#")
	c5 := mqtt5(t, b.Addr(), "c5", "")
	c3 := mustDial3(t, b.Addr(), "c3", "", "")
	for qos := range byte(3) {
		res, err := c5.Publish(c5.ctx, &paho.Publish{QoS: qos, Topic: "drop/1", Payload: []byte("x"), Retain: true})
		if err != nil || qos > 0 && res.ReasonCode != 0 {
			t.Errorf("v5, QoS %d: %v %v, want success", qos, res, err)
		}
		if err := c3.wait(c3.Publish("drop/1", qos, true, "x")); err != nil {
			t.Errorf("3.1.1, QoS %d: %v", qos, err)
		}
	}
	if _, err := c5.publish(0, "kept", "x"); err != nil {
		t.Fatal(err)
	}
	if m := sub.receive(); m.Topic != "kept" {
		t.Errorf("%q came through", m.Topic)
	}
	if n := len(p.snapshot("OnMessageDropped")); n != 0 {
		t.Errorf("message.dropped was called %d times", n)
	}
	if late := mqtt5(t, b.Addr(), "late", ""); true {
		late.subscribe(1, "drop/#")
		if _, err := c5.publish(0, "drop/../kept", "x"); err != nil {
			t.Fatal(err)
		}
	}
	p.await(t, "OnMessagePublish", 8)
	if n := len(p.snapshot("OnMessageDelivered")); n != 1 {
		t.Errorf("message.delivered was called %d times: something was retained", n)
	}
}

// Of a returned message only qos, topic, payload and allow_publish count.
func TestRewrite(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("message.publish"), spec("message.delivered")},
		answerTo("OnMessagePublish", func(_ context.Context, c call) (proto.Message, error) {
			m := c.req.(*exhookv3.MessagePublishRequest).Message
			return messageAnswer(&exhookv3.Message{
				Qos: (m.Qos + 1) % 3, Topic: "new/" + m.Topic, Payload: []byte("new"),
				Id: "x", From: "x", Node: "x", Timestamp: 1, Headers: map[string]string{"username": "x", "allow_publish": "true"},
			}), nil
		}))
	b := startBroker(t, Config{ExHook: p.addr})
	sub := mqtt5(t, b.Addr(), "sub", "")
	sub.subscribe(2, "new/#")
	pub := mqtt5(t, b.Addr(), "pub", "carol")
	for qos := range byte(3) {
		// The publisher is acknowledged by the QoS it chose.
		if _, err := pub.publish(qos, "a", "old"); err != nil {
			t.Fatalf("QoS %d: %v", qos, err)
		}
		m := sub.receive()
		if m.Topic != "new/a" || string(m.Payload) != "new" || m.QoS != (qos+1)%3 {
			t.Errorf("QoS %d became %v", qos, m)
		}
		sent := p.snapshot("OnMessagePublish")[qos].req.(*exhookv3.MessagePublishRequest).Message
		got := p.snapshot("OnMessageDelivered")[qos].req.(*exhookv3.MessageDeliveredRequest).Message
		want := proto.CloneOf(sent)
		want.Qos, want.Topic, want.Payload = uint32((qos+1)%3), "new/a", []byte("new")
		if !proto.Equal(got, want) {
			t.Errorf("delivered %v\nwant      %v", got, want)
		}
	}
}

func TestAuthzCache(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[time.Duration]int{0: 2, -1: 4} { // 0 is EMQX's minute
		p := startProvider(t, []*exhookv3.HookSpec{spec("client.authorize")}, asRecorder)
		b := startBroker(t, Config{ExHook: p.addr, AuthzCache: ttl})
		c := mqtt5(t, b.Addr(), "c", "")
		for range 2 {
			for _, topic := range []string{"a", "forbidden/1"} {
				if _, err := c.publish(1, topic, "x"); (err != nil) != (topic != "a") {
					t.Errorf("publish to %s: %v", topic, err)
				}
			}
		}
		if n := len(p.snapshot("OnClientAuthorize")); n != want {
			t.Errorf("ttl %s: asked %d times, want %d", ttl, n, want)
		}
	}
}

func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr})
	c, err := dial5(t, b.Addr(), connect5("c", "bad"), false)
	if err == nil || c.connack == nil || c.connack.ReasonCode != 0x87 {
		t.Errorf("v5: %v %v, want 87", c.connack, err)
	}
	_, ack := dialRaw3(t, b.Addr(), connectRaw("c", "bad"))
	if ack == nil || ack.ReturnCode != 5 {
		t.Errorf("3.1.1: %v, want 5", ack)
	}
	want := []string{"ProviderLoaded", "ClientConnect", "ClientAuthenticate", "ClientConnack", "ClientConnect", "ClientAuthenticate", "ClientConnack"}
	if got := p.rpcs(); !slices.Equal(got, want) {
		t.Errorf("calls: %v", got)
	}
}
