package sdk

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv2 "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// broken has every valued hook, and one of its ways to fail.
type broken struct{ fail func(context.Context) error }

func (b broken) OnClientAuthenticate(ctx context.Context, r *ClientAuthenticateRequest) (Access, error) {
	if r.GetClientinfo().GetUsername() == "right" {
		return Allow, nil
	}
	return Allow, b.fail(ctx)
}

func (b broken) OnClientAuthorize(ctx context.Context, r *ClientAuthorizeRequest) (Access, error) {
	if r.GetTopic() == "right" {
		return Allow, nil
	}
	return Allow, b.fail(ctx)
}

func (b broken) OnMessageIngress(ctx context.Context, _ *MessageIngressRequest) (Answer, error) {
	return Pass, b.fail(ctx)
}

func (b broken) OnMessagePublish(ctx context.Context, _ *MessagePublishRequest) (Answer, error) {
	return Pass, b.fail(ctx)
}

func (b broken) OnSessionTakenover(ctx context.Context, _ *SessionTakenoverRequest) error {
	return b.fail(ctx)
}

func (b broken) OnProviderLoaded(ctx context.Context, _ *ProviderLoadedRequest) error {
	return b.fail(ctx)
}

// dialStandalone serves a plugin as --standalone does, and connects to it.
func dialStandalone(t *testing.T, plugin any) *grpc.ClientConn {
	t.Helper()
	h, err := newHandler(plugin)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newStandaloneServer(h)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); <-done })
	return conn
}

func failing(context.Context) error { return errors.New("no") }

func hookNames[H interface{ GetName() string }](hooks []H) (names []string) {
	for _, h := range hooks {
		names = append(names, h.GetName())
	}
	return names
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %q, want %q", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %q, want %q", what, got, want)
			return
		}
	}
}

func TestStandaloneV1(t *testing.T) {
	t.Parallel()
	c := exhookv1.NewHookProviderClient(dialStandalone(t, broken{failing}))
	loaded, err := c.OnProviderLoaded(t.Context(), &exhookv1.ProviderLoadedRequest{Broker: &exhookv1.BrokerInfo{Version: "4.4.19", Uptime: "3 days"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "hooks", hookNames(loaded.GetHooks()), []string{"client.authenticate", "client.check_acl", "session.takeovered", "message.publish"})
	for _, topic := range []string{"right", "wrong"} {
		res, err := c.OnClientCheckAcl(t.Context(), &exhookv1.ClientCheckAclRequest{Topic: topic})
		if err != nil || res.GetBoolResult() != (topic == "right") {
			t.Errorf("check_acl of %s: %v %v", topic, res, err)
		}
	}
	if _, err := c.OnSessionTakeovered(t.Context(), &exhookv1.SessionTakeoveredRequest{}); err != nil {
		t.Error(err)
	}
	pub, err := c.OnMessagePublish(t.Context(), &exhookv1.MessagePublishRequest{Message: &exhookv1.Message{Topic: "t", Payload: []byte("p")}})
	if err != nil || pub.GetType() != exhookv1.ValuedResponse_STOP_AND_RETURN || pub.GetMessage().GetHeaders()["allow_publish"] != "false" || pub.GetMessage().GetTopic() != "t" {
		t.Errorf("publish: %v %v", pub, err)
	}
}

func TestStandaloneV2(t *testing.T) {
	t.Parallel()
	c := exhookv2.NewHookProviderClient(dialStandalone(t, broken{failing}))
	loaded, err := c.OnProviderLoaded(t.Context(), &exhookv2.ProviderLoadedRequest{Broker: &exhookv2.BrokerInfo{Version: "5.8.8"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "hooks", hookNames(loaded.GetHooks()), []string{"client.authenticate", "client.authorize", "session.takenover", "message.publish"})
	res, err := c.OnClientAuthenticate(t.Context(), &exhookv2.ClientAuthenticateRequest{Clientinfo: &exhookv2.ClientInfo{Username: "right"}})
	if err != nil || !res.GetBoolResult() || res.GetType() != exhookv2.ValuedResponse_CONTINUE {
		t.Errorf("%v %v", res, err)
	}
}

func TestStandaloneV3(t *testing.T) {
	t.Parallel()
	c := exhookv3.NewHookProviderClient(dialStandalone(t, broken{failing}))
	without := []string{"client.authenticate", "client.authorize", "session.takenover", "message.publish"}
	with := []string{"client.authenticate", "client.authorize", "session.takenover", "message.ingress", "message.publish"}
	for version, want := range map[string][]string{
		"5.9.0": without, "5.10.3": without, "6.2.9": without, "": without, "x.y": without,
		"6.3.0": with, "6.3.0-alpha.1": with, "6.10.0": with, "7.0.0": with,
	} {
		loaded, err := c.OnProviderLoaded(t.Context(), &ProviderLoadedRequest{Broker: &BrokerInfo{Version: version}})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, version, hookNames(loaded.GetHooks()), want)
	}
}

// EMQX hangs on a gRPC error, and lets publishes through: there must be none,
// whatever the plugin and the request are.
func TestStandaloneFailsClosed(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, fail := range map[string]func(context.Context) error{
		"error": failing,
		"panic": func(context.Context) error { panic("oh") },
		"late":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"hung":  func(context.Context) error { <-release; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := exhookv3.NewHookProviderClient(dialStandalone(t, broken{fail}))
			ctx := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				t.Cleanup(cancel)
				return ctx
			}
			errs := make(chan error, 6)
			run := func(f func() error) { go func() { errs <- f() }() }
			run(func() error { return denied(c.OnClientAuthenticate(ctx(), &ClientAuthenticateRequest{Result: true})) })
			run(func() error { return denied(c.OnClientAuthorize(ctx(), &ClientAuthorizeRequest{Result: true})) })
			m := &Message{Topic: "t", Payload: []byte("p"), Qos: 1, Headers: map[string]string{"username": "u"}}
			want := &Message{Topic: "t", Payload: []byte("p"), Qos: 1, Headers: map[string]string{"username": "u", "allow_publish": "false"}}
			run(func() error {
				return dropped(want)(c.OnMessagePublish(ctx(), &MessagePublishRequest{Message: m}))
			})
			run(func() error {
				return dropped(want)(c.OnMessageIngress(ctx(), &MessageIngressRequest{Message: m}))
			})
			run(func() error { _, err := c.OnSessionTakenover(ctx(), &SessionTakenoverRequest{}); return err })
			run(func() error {
				loaded, err := c.OnProviderLoaded(ctx(), &ProviderLoadedRequest{})
				if err == nil && len(loaded.GetHooks()) != 4 {
					return errors.New("the load names other hooks")
				}
				return err
			})
			for range cap(errs) {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("undecodable", func(t *testing.T) {
		t.Parallel()
		conn := dialStandalone(t, broken{failing})
		bad := []byte{0x0a, 0x04, 0x12, 0x02, 0xff, 0xfe} // in field 1, field 2 is the string ff fe
		call := func(method string) (*exhookv3.ValuedResponse, error) {
			var res exhookv3.ValuedResponse
			err := conn.Invoke(t.Context(), method, bad, &res, grpc.ForceCodec(bytesOrProto{}))
			return &res, err
		}
		for _, v := range []string{"v1", "v2", "v3"} {
			service := "/emqx.exhook." + v + ".HookProvider/"
			if err := denied(call(service + "OnClientAuthenticate")); err != nil {
				t.Error(v, err)
			}
			want := &Message{Headers: map[string]string{"allow_publish": "false"}}
			if err := dropped(want)(call(service + "OnMessagePublish")); err != nil {
				t.Error(v, err)
			}
			if _, err := call(service + "OnClientConnected"); err != nil {
				t.Error(v, err)
			}
		}
	})
}

func denied(res *exhookv3.ValuedResponse, err error) error {
	v, ok := res.GetValue().(*exhookv3.ValuedResponse_BoolResult)
	if err == nil && (!ok || v.BoolResult || res.GetType() != exhookv3.ValuedResponse_STOP_AND_RETURN) {
		err = errors.New("not a final deny: " + res.String())
	}
	return err
}

func dropped(want *Message) func(res *exhookv3.ValuedResponse, err error) error {
	return func(res *exhookv3.ValuedResponse, err error) error {
		if err == nil && (res.GetType() != exhookv3.ValuedResponse_STOP_AND_RETURN || !proto.Equal(res.GetMessage(), want)) {
			err = errors.New("not a final drop: " + res.String())
		}
		return err
	}
}

// bytesOrProto sends bytes as they are.
type bytesOrProto struct{}

func (bytesOrProto) Name() string { return "proto" }

func (bytesOrProto) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return proto.Marshal(v.(proto.Message))
}

func (bytesOrProto) Unmarshal(data []byte, v any) error {
	return proto.Unmarshal(data, v.(proto.Message))
}
