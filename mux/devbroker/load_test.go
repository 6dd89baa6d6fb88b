package devbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// unusedAddr is a loopback address that nobody listens on.
func unusedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func denyLogin(_ context.Context, c call) (proto.Message, error) {
	if c.rpc == "OnClientAuthenticate" {
		return boolAnswer(false), nil
	}
	return nil, nil
}

func TestUnhookedUntilLoaded(t *testing.T) {
	t.Parallel()
	p := &testProvider{hooks: allHooks(t, "5.10.3"), answer: denyLogin, addr: unusedAddr(t)}
	b := startBroker(t, Config{ExHook: p.addr, AutoReconnect: 10 * time.Millisecond, RequestTimeout: patience})
	mqtt5(t, b.Addr(), "early", "u").leave(0) // let in although failed_action is deny

	p.start(t)
	t.Cleanup(p.stop)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.WaitLoaded(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := dial5(t, b.Addr(), connect5("late", "u"), false); err == nil {
		t.Error("the loaded provider refused the login, the client was let in")
	}
	if first := p.snapshot()[0].rpc; first != "OnProviderLoaded" {
		t.Errorf("the first call was %s", first)
	}
	if calls := p.snapshot("OnClientConnect"); len(calls) != 1 {
		t.Errorf("%d clients were hooked, want the late one only", len(calls))
	}
}

func TestWaitLoadedGivesUp(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{ExHook: unusedAddr(t)})
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	if err := b.WaitLoaded(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing what was never loaded: %v", err)
	}
}

func TestUnknownHookFailsTheWholeLoad(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("client.authenticate"), spec("client.invented")}, denyLogin)
	b := startBroker(t, Config{ExHook: p.addr, AutoReconnect: 5 * time.Millisecond})
	mqtt5(t, b.Addr(), "c", "u").leave(0)
	p.await(t, "OnProviderLoaded", 3) // goes on trying
	if n := len(p.snapshot("OnClientAuthenticate")); n != 0 {
		t.Errorf("the known hook of a failed load was called %d times", n)
	}
	p.setHooks(spec("client.authenticate"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.WaitLoaded(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := dial5(t, b.Addr(), connect5("c", "u"), false); err == nil {
		t.Error("let in after the load was mended")
	}
}

func TestOnlyNamedHooksAreCalled(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{spec("client.connected")}, nil)
	b := startBroker(t, Config{ExHook: p.addr})
	c := mqtt5(t, b.Addr(), "c", "u")
	c.subscribe(1, "a")
	if _, err := c.publish(1, "a", "x"); err != nil {
		t.Fatal(err)
	}
	c.receive()
	_ = b.Close()
	if got := p.rpcs(); !slices.Equal(got, []string{"ProviderLoaded", "ClientConnected", "ProviderUnloaded"}) {
		t.Errorf("calls: %v", got)
	}
}

func TestTopicFilters(t *testing.T) {
	t.Parallel()
	p := startProvider(t, []*exhookv3.HookSpec{
		spec("message.publish", "a/+", "b/#"), spec("message.publish", "c"), // the second loses its topics
		spec("message.delivered", "b/#"), spec("message.dropped", "b/#"),
		spec("client.authorize", "nowhere"), // topics are for message hooks only
	}, nil)
	b := startBroker(t, Config{ExHook: p.addr, AuthzCache: -1})
	c := mqtt5(t, b.Addr(), "c", "")
	c.subscribe(0, "a/#", "b/1")
	for _, topic := range []string{"a/1", "a/1/2", "b/1", "b/2", "c", "b"} {
		if _, err := c.publish(1, topic, "x"); err != nil && !strings.Contains(err.Error(), "reason: 16") {
			t.Fatal(err)
		}
	}
	for range 3 {
		c.receive()
	}
	var published, delivered, dropped []string
	for _, x := range p.snapshot() {
		switch r := x.req.(type) {
		case *exhookv3.MessagePublishRequest:
			published = append(published, r.Message.Topic)
		case *exhookv3.MessageDeliveredRequest:
			delivered = append(delivered, r.Message.Topic)
		case *exhookv3.MessageDroppedRequest:
			dropped = append(dropped, r.Message.Topic)
		}
	}
	if want := []string{"a/1", "b/1", "b/2", "b"}; !slices.Equal(published, want) {
		t.Errorf("message.publish for %v, want %v", published, want)
	}
	if want := []string{"b/1"}; !slices.Equal(delivered, want) {
		t.Errorf("message.delivered for %v, want %v", delivered, want)
	}
	if want := []string{"b/2", "b"}; !slices.Equal(dropped, want) {
		t.Errorf("message.dropped for %v, want %v", dropped, want)
	}
	if n := len(p.snapshot("OnClientAuthorize")); n != 8 {
		t.Errorf("client.authorize was called %d times, want 8", n)
	}
}

// restart stops the provider, lets down pass, and starts it again on its address.
func restart(t *testing.T, p *testProvider, down func()) {
	t.Helper()
	p.stop()
	down()
	p.start(t)
}

func TestReloadAfterOutage(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), nil)
	b := startBroker(t, Config{ExHook: p.addr, StatusCheck: 5 * time.Millisecond, AutoReconnect: 5 * time.Millisecond})
	p.await(t, "OnProviderLoaded", 1)
	restart(t, p, func() {
		eventually(t, "the broker to see the provider down", b.provider.down.Load)
	})
	p.await(t, "OnProviderLoaded", 2)
	for i := range 2 * b.cfg.PoolSize { // every connection is back, not just that of the load
		mqtt5(t, b.Addr(), fmt.Sprint("c", i), "").leave(0)
	}
	p.await(t, "OnClientConnected", 2*b.cfg.PoolSize)
}

// While the provider is down calls fail at once, and the first call after it is back
// goes through.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr, RequestTimeout: time.Hour})
	restart(t, p, func() {
		for i := range 2 * b.cfg.PoolSize {
			if _, err := dial5(t, b.Addr(), connect5(fmt.Sprint("c", i), ""), false); err == nil {
				t.Error("let in while the provider was down")
			}
		}
	})
	for i := range 2 * b.cfg.PoolSize {
		mqtt5(t, b.Addr(), fmt.Sprint("c", i), "").leave(0)
	}
}

func TestReconnectIsNotReloadBefore59(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.8.8"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr, Version: "v2", StatusCheck: time.Millisecond, AutoReconnect: time.Millisecond})
	restart(t, p, func() {})
	mqtt5(t, b.Addr(), "c", "").leave(0) // waits for the connection
	p.await(t, "OnSessionTerminated", 1)
	if n := len(p.snapshot("OnProviderLoaded")); n != 1 {
		t.Errorf("loaded %d times", n)
	}
}

// A hook that a reload no longer names stays hooked and fails.
func TestShrunkRegistration(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"deny", "ignore"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, []*exhookv3.HookSpec{spec("client.authenticate"), spec("client.connect")}, asRecorder)
			b := startBroker(t, Config{
				ExHook: p.addr, FailedAction: action, StatusCheck: 5 * time.Millisecond, AutoReconnect: 5 * time.Millisecond,
			})
			mqtt5(t, b.Addr(), "before", "").leave(0)
			restart(t, p, func() {
				p.setHooks(spec("client.connect"))
				eventually(t, "the broker to see the provider down", b.provider.down.Load)
			})
			eventually(t, "the reload", func() bool {
				_, is := b.provider.reg.Load().topics[clientAuthenticate]
				return !is
			})
			_, err := dial5(t, b.Addr(), connect5("after", ""), false)
			if denied := err != nil; denied != (action == "deny") {
				t.Errorf("after the reload: %v", err)
			}
			if n := len(p.snapshot("OnClientAuthenticate")); n != 1 {
				t.Errorf("client.authenticate was called %d times, want once, before", n)
			}
		})
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), denyLogin)
	b := startBroker(t, Config{ExHook: p.addr})
	p.setHooks(spec("client.connect"))
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	mqtt5(t, b.Addr(), "c", "") // authenticate was unhooked in between, so it is not stale
	if got := p.rpcs(); !slices.Equal(got, []string{"ProviderLoaded", "ProviderUnloaded", "ProviderLoaded", "ClientConnect"}) {
		t.Errorf("calls: %v", got)
	}
}

func TestFailedReloadIsRetried(t *testing.T) {
	t.Parallel()
	var loads atomic.Int32
	p := startProvider(t, allHooks(t, "5.8.8"), func(_ context.Context, c call) (proto.Message, error) {
		if c.rpc == "OnProviderLoaded" && loads.Add(1) == 2 {
			return nil, errProvider
		}
		return nil, nil
	})
	b := startBroker(t, Config{ExHook: p.addr, Version: "v2", AutoReconnect: 5 * time.Millisecond})
	if err := b.Reload(); err == nil {
		t.Error("the failure was not told")
	}
	p.await(t, "OnProviderLoaded", 3)
}

func TestVersion1(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "4.4.19"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr, Version: "v1"})
	c := connect5("c", "u")
	c.CleanStart, c.Properties.SessionExpiryInterval = false, ptr(uint32(60))
	mustDial5(t, b.Addr(), c, false)
	mustDial5(t, b.Addr(), c, false).subscribe(1, "$share/g/a")
	p.await(t, "OnSessionTakeovered", 1)
	acl := p.await(t, "OnClientCheckAcl", 1)[0].req.(*exhookv3.ClientAuthorizeRequest)
	if acl.Topic != "a" || acl.Type != exhookv3.ClientAuthorizeRequest_SUBSCRIBE {
		t.Errorf("authorize was asked for %v", acl)
	}
	var loaded exhookv1.ProviderLoadedRequest
	if err := proto.Unmarshal(p.snapshot("OnProviderLoaded")[0].raw, &loaded); err != nil {
		t.Fatal(err)
	}
	if loaded.Broker.Uptime == "" || loaded.Broker.Version != "4.4.19" || loaded.Meta.ClusterName != "emqxcl" {
		t.Errorf("loaded with %v", &loaded)
	}
	var subscribed exhookv1.SessionSubscribedRequest
	if err := proto.Unmarshal(p.await(t, "OnSessionSubscribed", 1)[0].raw, &subscribed); err != nil {
		t.Fatal(err)
	}
	if s := subscribed.Subopts; subscribed.Topic != "a" || s.GetShare() != "g" || s.GetQos() != 1 {
		t.Errorf("subscribed to %v", &subscribed)
	}
	for _, x := range p.snapshot() {
		if x.service != "emqx.exhook.v1.HookProvider" {
			t.Errorf("%s went to %s", x.rpc, x.service)
		}
	}
}
