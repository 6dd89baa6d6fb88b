package app_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv2 "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// The traffic of three real brokers goes through hookmux to two plugins, in its
// order and with its deadlines. Every call is answered in time and
// without a gRPC error; every request arrives byte for byte.
func TestRecordedBrokersReplay(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		for _, version := range []string{"5.0.26", "5.8.8", "5.10.3"} {
			t.Run(version, func(t *testing.T) {
				t.Parallel()
				calls := muxtest.ReadRecording(t, "../muxtest/testdata/emqx-recordings/"+version+".jsonl")
				one, two := record(t, "one"), record(t, "two")
				s := start(t, config.Config{Providers: []config.Provider{
					plugin(t, "one", muxtest.Behaviour{Protocol: protocol, Record: one}),
					plugin(t, "two", muxtest.Behaviour{Protocol: protocol, Record: two}),
				}}, nil)
				broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
				var sent []muxtest.Recorded
				for _, c := range calls {
					broker.Timeout = c.Timeout
					begin := time.Now()
					resp, err := broker.Call(c.Method, c.Conn, c.Request)
					if err != nil {
						t.Fatalf("%s: %v after %s", c.Method, err, time.Since(begin))
					}
					h := hookOf(t, c.Method)
					switch h {
					case mux.ProviderLoaded:
						var loaded exhookv3.LoadedResponse
						if err := proto.Unmarshal(resp, &loaded); err != nil || len(loaded.Hooks) != 19 {
							t.Fatalf("loaded %d hooks, %v", len(loaded.Hooks), err)
						}
					case mux.ProviderUnloaded:
					default:
						sent = append(sent, muxtest.Recorded{Hook: h, Body: c.Request})
					}
				}
				s.stop()
				for _, path := range []string{one, two} {
					got := muxtest.ReadRecord(t, path)
					if len(got) != len(sent) {
						t.Errorf("%s: got %d calls, the broker made %d", path, len(got), len(sent))
					}
					checkSame(t, sent, got)
					if l := slices.Compact(muxtest.ReadLifecycle(t, path)); len(l) != 4 || !strings.HasPrefix(l[1], "loaded emqx") || !strings.HasPrefix(l[2], "unloaded emqx") {
						t.Errorf("told of %q; want hookmux, the broker, the broker's leave, hookmux's", l)
					}
				}
			})
		}
	})
}

func hookOf(t *testing.T, fullMethod string) mux.Hook {
	t.Helper()
	for api := mux.V1; api <= mux.V3; api++ {
		for h := range mux.NumHooks {
			if api.FullMethod(mux.Hook(h)) == fullMethod {
				return mux.Hook(h)
			}
		}
	}
	t.Fatalf("no hook has the method %s", fullMethod)
	return 0
}

// checkSame holds that the same calls came, whatever the order between clients
// and between decisions and notifications, and in order for each client's
// notifications.
func checkSame(t *testing.T, sent, got []muxtest.Recorded) {
	t.Helper()
	count := make(map[string]int)
	for _, c := range sent {
		count[c.Hook.String()+string(c.Body)]++
	}
	for _, c := range got {
		count[c.Hook.String()+string(c.Body)]--
	}
	for k, n := range count {
		if n != 0 {
			t.Errorf("a call came %+d times less than it was made: %.40q", n, k)
		}
	}
	order := func(calls []muxtest.Recorded) map[string][][]byte {
		m := make(map[string][][]byte)
		for _, c := range calls {
			if !c.Hook.Valued() {
				ev := mux.NewEvent(c.Hook, c.Body)
				m[ev.Client()] = append(m[ev.Client()], c.Body)
			}
		}
		return m
	}
	was, is := order(sent), order(got)
	for client := range was {
		if !slices.EqualFunc(was[client], is[client], bytes.Equal) {
			t.Errorf("notifications of %q came in another order", client)
		}
	}
}

// A field that nobody knows reaches the provider, for each hook of each
// version, and the answer is what EMQX expects.
func TestUnknownFieldsReachTheProvider(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "one")
		s := start(t, config.Config{Providers: []config.Provider{plugin(t, "one", muxtest.Behaviour{Protocol: protocol, Record: rec})}}, nil)
		var sent []muxtest.Recorded
		for api := mux.V1; api <= mux.V3; api++ {
			broker := muxtest.NewBroker(t, s.Addr(), api)
			for _, h := range mux.Hooks() {
				if !api.Has(h) {
					continue
				}
				inner := protowire.AppendTag(nil, 2, protowire.BytesType)
				inner = protowire.AppendString(inner, "client")
				inner = protowire.AppendTag(inner, 900, protowire.BytesType)
				inner = protowire.AppendString(inner, "unknown inside")
				body := protowire.AppendTag(nil, 1, protowire.BytesType)
				body = protowire.AppendBytes(body, inner)
				body = protowire.AppendTag(body, 1000, protowire.VarintType)
				body = protowire.AppendVarint(body, uint64(h)+uint64(api)<<32)
				resp, err := broker.Call(api.FullMethod(h), "client", body)
				if err != nil {
					t.Fatalf("%s: %v", api.FullMethod(h), err)
				}
				var v exhookv3.ValuedResponse
				if err := proto.Unmarshal(resp, &v); err != nil {
					t.Fatal(err)
				}
				if h.Valued() != (v.Type == exhookv3.ValuedResponse_IGNORE) || !h.Valued() && len(resp) != 0 {
					t.Errorf("%s: answered %v", api.FullMethod(h), &v)
				}
				sent = append(sent, muxtest.Recorded{Hook: h, Body: body})
			}
		}
		if len(sent) != 19+19+20 {
			t.Errorf("%d hooks in three versions; EMQX has 19, 19 and 20", len(sent))
		}
		s.stop()
		got := muxtest.ReadRecord(t, rec)
		if len(got) != len(sent) {
			t.Fatalf("sent %d, got %d", len(sent), len(got))
		}
		checkSame(t, sent, got)
	})
}

// Requests that are odd, huge or broken are answered.
func TestOddRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		s := start(t, config.Config{Providers: []config.Provider{plugin(t, "one", muxtest.Behaviour{Protocol: protocol, Answer: "allow"})}}, nil)
		props := &exhookv3.ClientSubscribeRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c"}, TopicFilters: []*exhookv3.TopicFilter{{Name: "a/#/b"}}}
		for i := range 10_000 {
			props.UserProps = append(props.UserProps, &exhookv3.Property{Name: fmt.Sprint(i), Value: "v"})
		}
		userProps, _ := proto.Marshal(props)
		big, _ := proto.Marshal(&exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Topic: "t", Payload: make([]byte, 1<<20)}})
		badUTF8 := protowire.AppendTag(nil, 1, protowire.BytesType)
		badUTF8 = protowire.AppendBytes(badUTF8, append(protowire.AppendTag(nil, 2, protowire.BytesType), 2, 0xff, 0xfe))
		for name, c := range map[string]struct {
			hook mux.Hook
			body []byte
		}{
			"empty":            {mux.ClientAuthenticate, nil},
			"malformed":        {mux.ClientAuthenticate, []byte{0xff, 0xff, 0xff}},
			"malformed notice": {mux.ClientConnected, []byte{0x0a, 0xff}},
			"invalid UTF-8":    {mux.ClientAuthenticate, badUTF8},
			"1 MB":             {mux.MessagePublish, big},
			"10,000 props":     {mux.ClientSubscribe, userProps},
			"empty publish":    {mux.MessagePublish, nil},
		} {
			broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
			resp, err := broker.Call(mux.V3.FullMethod(c.hook), "c", c.body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var v exhookv3.ValuedResponse
			if err := proto.Unmarshal(resp, &v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "malformed" && (v.Type != exhookv3.ValuedResponse_STOP_AND_RETURN || v.GetBoolResult()) {
				t.Errorf("a malformed login was not refused: %v", &v)
			}
		}
	})
}

// Brokers of different versions are told of the same hooks in their own names.
func TestBrokersOfDifferentVersionsLoad(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "two")
		s := start(t, config.Config{Providers: []config.Provider{
			plugin(t, "one", muxtest.Behaviour{Protocol: protocol, Hooks: []string{"client.authorize", "message.publish", "message.ingress"}, Topics: []string{"a/#"}}),
			plugin(t, "two", muxtest.Behaviour{Protocol: protocol, Record: rec, Hooks: []string{"session.takenover", "message.publish"}, Topics: []string{"b/#", "a/#"}}),
		}}, nil)
		for _, c := range []struct {
			api  mux.API
			emqx string
			want []string
		}{
			{mux.V1, "4.4.19", []string{"client.check_acl", "message.publish", "session.takeovered"}},
			{mux.V2, "5.8.8", []string{"client.authorize", "message.publish", "session.takenover"}},
			{mux.V3, "5.10.3", []string{"client.authorize", "message.publish", "session.takenover"}},
			{mux.V3, "6.3.0", []string{"client.authorize", "message.ingress", "message.publish", "session.takenover"}},
		} {
			broker := muxtest.NewBroker(t, s.Addr(), c.api)
			broker.Node = "emqx@" + c.emqx
			hooks := broker.Load(t, c.emqx)
			var names []string
			for n := range hooks {
				names = append(names, n)
			}
			slices.Sort(names)
			if !slices.Equal(names, c.want) {
				t.Errorf("EMQX %s: told %v, want %v", c.emqx, names, c.want)
			}
			if got := hooks["message.publish"]; !slices.Equal(got, []string{"a/#", "b/#"}) {
				t.Errorf("EMQX %s: topics of message.publish: %v", c.emqx, got)
			}
		}
		muxtest.Eventually(t, "the plugin knows of all four", func() bool { return len(muxtest.ReadLifecycle(t, rec)) == 5 })
		// One that starts later is shown the brokers that are there.
		kill(t, s, "two")
		muxtest.Eventually(t, "and again after a restart", func() bool { return len(muxtest.ReadLifecycle(t, rec)) == 10 })
	})
}

// remoteServer is somebody else's HookProvider, of one version of the service.
type remoteServer struct {
	exhookv3.UnimplementedHookProviderServer
	loads chan string
}

func startRemote(t *testing.T, api mux.API, addr string, opts ...grpc.ServerOption) (*grpc.Server, string, chan string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	loads := make(chan string, 100)
	s := grpc.NewServer(opts...)
	switch api {
	case mux.V1:
		exhookv1.RegisterHookProviderServer(s, v1Server{loads: loads})
	case mux.V2:
		exhookv2.RegisterHookProviderServer(s, v2Server{loads: loads})
	default:
		exhookv3.RegisterHookProviderServer(s, remoteServer{loads: loads})
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return s, l.Addr().String(), loads
}
