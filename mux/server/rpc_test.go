package server

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// verdict answers a valued hook: allowed, or the message with another payload.
func verdict(h mux.Hook) *exhookv3.ValuedResponse {
	r := &exhookv3.ValuedResponse{Type: exhookv3.ValuedResponse_STOP_AND_RETURN, Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: true}}
	if !h.Access() {
		r.Value = &exhookv3.ValuedResponse_Message{Message: &exhookv3.Message{Topic: "new topic", Payload: []byte("new payload")}}
	}
	return r
}

func TestEveryRPCOfEveryVersionIsAnswered(t *testing.T) {
	t.Parallel()
	c := &conn{decide: func(_ context.Context, h mux.Hook, _ []byte) ([]byte, error) { return proto.Marshal(verdict(h)) }}
	cc := dial(t, serve(t, newMux(t, mux.Spec{}, c)))
	for _, api := range apis {
		calls := 0
		for h := range mux.Hook(mux.NumHooks) {
			if !api.Has(h) {
				continue
			}
			calls++
			answer, err := stub(t.Context(), cc, api, h, fill)
			if err != nil {
				t.Errorf("%s: %v", api.FullMethod(h), err)
				continue
			}
			b := marshal(t, answer)
			switch {
			case h == mux.ProviderLoaded:
				var loaded exhookv3.LoadedResponse
				if err := proto.Unmarshal(b, &loaded); err != nil || len(loaded.Hooks) < 19 {
					t.Errorf("%s answers %v, %v", api.FullMethod(h), &loaded, err)
				}
			case h.Valued():
				var got exhookv3.ValuedResponse
				if err := proto.Unmarshal(b, &got); err != nil {
					t.Errorf("%s: %v", api.FullMethod(h), err)
				}
				want := verdict(h)
				if got.Type != want.Type || got.GetBoolResult() != want.GetBoolResult() ||
					got.GetMessage().GetTopic() != want.GetMessage().GetTopic() || !bytes.Equal(got.GetMessage().GetPayload(), want.GetMessage().GetPayload()) {
					t.Errorf("%s answers %v, want %v", api.FullMethod(h), &got, want)
				}
			case len(b) != 0:
				t.Errorf("%s answers % x, want an empty message", api.FullMethod(h), b)
			}
		}
		if want := map[mux.API]int{mux.V1: 21, mux.V2: 21, mux.V3: 22}[api]; calls != want {
			t.Errorf("%s has %d RPCs, want %d", api.Service(), calls, want)
		}
	}
}

func TestRequestsReachTheProviderByteForByte(t *testing.T) {
	t.Parallel()
	for _, api := range apis {
		t.Run(api.Service(), func(t *testing.T) {
			t.Parallel()
			c := &conn{}
			cc := dial(t, serve(t, newMux(t, mux.Spec{}, c)))
			var want []string
			for h := range mux.Hook(mux.NumHooks) {
				if !api.Has(h) {
					continue
				}
				var body []byte
				_, err := stub(t.Context(), cc, api, h, func(m proto.Message) {
					fill(m)
					body = marshal(t, m)
				})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, key(h, body))
				// Not how any protobuf library would put it, but sound.
				odd := append(slices.Clone(body), 0xa2, 0x86, 0x80, 0x00, 0x83, 0x00, 'o', 'd', 'd')
				if _, err := invoke(t.Context(), cc, api.FullMethod(h), odd); err != nil {
					t.Fatal(err)
				}
				want = append(want, key(h, odd))
			}
			eventually(t, "all requests", func() bool { return len(c.requests()) == len(want) })
			got := c.requests()
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Error("the provider did not get the bytes that were sent")
			}
		})
	}
}

// Whatever a provider does, a broker gets an answer.
func TestProvidersThatMisbehave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*conn{
		"panics": {
			decide: func(context.Context, mux.Hook, []byte) ([]byte, error) { panic("boom") },
			notify: func(context.Context, mux.Hook, []byte) error { panic("boom") },
		},
		"errors": {
			decide: func(context.Context, mux.Hook, []byte) ([]byte, error) {
				return nil, status.Error(codes.Internal, "boom")
			},
			notify: func(context.Context, mux.Hook, []byte) error { return status.Error(codes.Unavailable, "boom") },
		},
		"hangs": {
			decide: func(ctx context.Context, _ mux.Hook, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			notify: func(ctx context.Context, _ mux.Hook, _ []byte) error { <-ctx.Done(); return ctx.Err() },
		},
		"answers rubbish": {
			decide: func(context.Context, mux.Hook, []byte) ([]byte, error) { return []byte("rubbish"), nil },
		},
		"is down": {
			decide: func(context.Context, mux.Hook, []byte) ([]byte, error) { return nil, mux.ErrDown },
			notify: func(context.Context, mux.Hook, []byte) error { return mux.ErrDown },
		},
	} {
		for _, delivery := range []mux.Delivery{mux.Async, mux.Sync} {
			t.Run(fmt.Sprintf("%s/%s", name, delivery), func(t *testing.T) {
				t.Parallel()
				spec := mux.Spec{Delivery: mux.By(delivery), Timeout: 300 * time.Millisecond, Breaker: mux.BreakerSpec{Failures: 1}}
				cc := dial(t, serve(t, newMux(t, spec, &conn{decide: c.decide, notify: c.notify})))
				var wg sync.WaitGroup
				for _, h := range mux.Hooks() {
					wg.Go(func() {
						answer, err := stub(t.Context(), cc, mux.V3, h, fill)
						if err != nil {
							t.Errorf("%s: %v", h, err)
							return
						}
						got, ok := answer.(*exhookv3.ValuedResponse)
						if !ok {
							return
						}
						refused := got.GetMessage().GetHeaders()["allow_publish"] == "false"
						if got.Type != exhookv3.ValuedResponse_STOP_AND_RETURN || got.GetBoolResult() || !h.Access() && !refused {
							t.Errorf("%s: %v, want a refusal", h, got)
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func TestOddRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	c := &conn{}
	cc := dial(t, serve(t, newMux(t, mux.Spec{}, c)))
	large := &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Topic: "t", Payload: bytes.Repeat([]byte("x"), 1<<20)}}
	many := &exhookv3.ClientConnectRequest{Conninfo: &exhookv3.ConnInfo{Clientid: "c"}}
	for n := range 10_000 {
		many.UserProps = append(many.UserProps, &exhookv3.Property{Name: fmt.Sprint(n), Value: "v"})
	}
	raw := func(num byte, s string) []byte { return append([]byte{num<<3 | 2, byte(len(s))}, s...) }
	filter := &exhookv3.ClientSubscribeRequest{TopicFilters: []*exhookv3.TopicFilter{{Name: "a/#/b"}}}
	for _, tt := range []struct {
		name      string
		hook      mux.Hook
		body      []byte
		forwarded bool
	}{
		{"1 MB payload", mux.MessagePublish, marshal(t, large), true},
		{"1 MB payload of a notification", mux.MessageDropped, marshal(t, large), true},
		{"10,000 user properties", mux.ClientConnect, marshal(t, many), true},
		{"client id not UTF-8", mux.ClientConnected, raw(1, string(raw(2, "\xff\xfe"))), true},
		{"client id not UTF-8, valued", mux.ClientAuthenticate, raw(1, string(raw(2, "\xff\xfe"))), true},
		{"topic not UTF-8", mux.MessagePublish, raw(1, string(raw(5, "\xff"))), true},
		{"topic that is no topic", mux.MessagePublish, raw(1, string(raw(5, "a/#/b"))), true},
		{"filter that is no filter", mux.ClientSubscribe, marshal(t, filter), true},
		{"empty body", mux.ClientConnected, nil, true},
		{"empty body, bool", mux.ClientAuthorize, nil, true},
		{"empty body, message", mux.MessagePublish, nil, true},
		{"malformed body", mux.ClientConnected, []byte{0xff}, false},
		{"malformed body, bool", mux.ClientAuthorize, []byte{0xff}, false},
		{"malformed body, message", mux.MessagePublish, []byte{0xff}, false},
		{"malformed loading", mux.ProviderLoaded, []byte{0xff}, false},
		{"malformed unloading", mux.ProviderUnloaded, []byte{0xff}, true},
	} {
		before := len(c.requests())
		answer, err := invoke(t.Context(), cc, mux.V3.FullMethod(tt.hook), tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if tt.hook.Valued() {
			var got exhookv3.ValuedResponse
			if err := proto.Unmarshal(answer, &got); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if ignored := got.Type == exhookv3.ValuedResponse_IGNORE; ignored != tt.forwarded {
				t.Errorf("%s: answer %v", tt.name, &got)
			}
		}
		if tt.forwarded {
			eventually(t, tt.name, func() bool { return len(c.requests()) == before+1 })
			if got := c.requests()[before]; got != key(tt.hook, tt.body) {
				t.Errorf("%s: the provider got other bytes", tt.name)
			}
		} else if len(c.requests()) != before {
			t.Errorf("%s: reached the provider", tt.name)
		}
	}
}

func TestMethodsWeDoNotKnow(t *testing.T) {
	t.Parallel()
	cc := dial(t, serve(t, newMux(t, mux.Spec{}, &conn{})))
	for method, want := range map[string]codes.Code{
		"/emqx.exhook.v3.HookProvider/OnSomethingNew":   codes.OK,
		"/emqx.exhook.v2.HookProvider/OnMessageIngress": codes.OK,
		"/emqx.exhook.v4.HookProvider/OnClientConnect":  codes.OK,
		"/something.else.Service/OnClientConnect":       codes.Unimplemented,
	} {
		answer, err := invoke(t.Context(), cc, method, []byte{0x08, 0x01})
		if status.Code(err) != want || len(answer) != 0 {
			t.Errorf("%s: % x, %v, want %s", method, answer, err, want)
		}
	}
}

func TestSeveralVersionsAtTheSameTime(t *testing.T) {
	t.Parallel()
	m := newMux(t, mux.Spec{}, &conn{})
	address := serve(t, m)
	errs := make(chan error)
	for _, api := range apis {
		for n := range 3 {
			cc := dial(t, address)
			go func() { errs <- session(t.Context(), cc, api, fmt.Sprintf("%d-%d", api, n)) }()
		}
	}
	for range 9 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(m.Brokers()); n != 9 {
		t.Errorf("%d brokers are loaded, want 9", n)
	}
}

// session loads as a node and sends each hook often.
func session(ctx context.Context, cc *grpc.ClientConn, api mux.API, node string) error {
	load, _ := proto.Marshal(&exhookv3.ProviderLoadedRequest{Meta: &exhookv3.RequestMeta{Node: node}})
	answer, err := invoke(ctx, cc, api.FullMethod(mux.ProviderLoaded), load)
	if err != nil {
		return err
	}
	if old := strings.Contains(string(answer), "client.check_acl"); old != (api == mux.V1) {
		return fmt.Errorf("%s is told %q", api.Service(), answer)
	}
	for range 10 {
		for _, h := range mux.Hooks() {
			if !api.Has(h) {
				continue
			}
			if _, err := stub(ctx, cc, api, h, fill); err != nil {
				return fmt.Errorf("%s: %w", api.FullMethod(h), err)
			}
		}
	}
	return nil
}
