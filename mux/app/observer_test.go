package app_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// A plugin that would allow is told what another decided, in order with what it
// is notified of.
func TestObservingPlugin(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		rec := record(t, "audit")
		audit := plugin(t, "audit", muxtest.Behaviour{Protocol: protocol, Record: rec, Answer: "allow", Hooks: []string{"client.authorize", "client.connected", "message.publish"}})
		audit.Observe = true
		s := start(t, config.Config{Providers: []config.Provider{
			audit,
			plugin(t, "topics", muxtest.Behaviour{Protocol: protocol, Answer: "deny", Hooks: []string{"client.authorize"}}),
			plugin(t, "marks", muxtest.Behaviour{Protocol: protocol, Answer: "rewrite", Hooks: []string{"message.publish"}}),
		}}, nil)
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		client := &exhookv3.ClientInfo{Clientid: "c"}
		const rounds = 20
		for range rounds {
			for h, req := range map[mux.Hook]proto.Message{
				mux.ClientAuthorize: &exhookv3.ClientAuthorizeRequest{Clientinfo: client, Topic: "t", Result: true},
				mux.MessagePublish:  &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{From: "c", Topic: "t", Payload: []byte("hello")}},
				mux.ClientConnected: &exhookv3.ClientConnectedRequest{Clientinfo: client},
			} {
				body, err := proto.Marshal(req)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := broker.Call(mux.V3.FullMethod(h), "c", body)
				if err != nil {
					t.Fatal(err)
				}
				var v exhookv3.ValuedResponse
				if err := proto.Unmarshal(resp, &v); h == mux.ClientAuthorize && (err != nil || v.Value == nil || v.GetBoolResult()) {
					t.Errorf("answered %v, %v", &v, err)
				}
			}
		}
		s.stop()
		got := make(map[mux.Hook]int)
		for _, c := range muxtest.ReadRecord(t, rec) {
			got[c.Hook]++
			var authorize exhookv3.ClientAuthorizeRequest
			var publish exhookv3.MessagePublishRequest
			switch c.Hook {
			case mux.ClientAuthorize:
				if err := proto.Unmarshal(c.Body, &authorize); err != nil || authorize.Result || authorize.Topic != "t" {
					t.Errorf("it saw %v, %v", &authorize, err)
				}
			case mux.MessagePublish:
				if err := proto.Unmarshal(c.Body, &publish); err != nil || string(publish.Message.Payload) != "hello!" {
					t.Errorf("it saw %v, %v", &publish, err)
				}
			}
		}
		if len(got) != 3 || got[mux.ClientAuthorize] != rounds || got[mux.MessagePublish] != rounds || got[mux.ClientConnected] != rounds {
			t.Errorf("it was told %v", got)
		}
		for _, p := range s.Providers() {
			if p.Name == "audit" && (p.Stats.Delivered.Load() != 3*rounds || p.Stats.DroppedTotal() != 0) {
				t.Errorf("delivered %d, dropped %d", p.Stats.Delivered.Load(), p.Stats.DroppedTotal())
			}
		}
	})
}
