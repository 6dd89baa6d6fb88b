package muxtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// Broker calls a HookProvider as an EMQX node does: a pool of connections
// chosen by client id, a grpc-timeout on each call, no retries.
type Broker struct {
	API     mux.API
	Node    string
	Timeout time.Duration
	pool    []*grpc.ClientConn
}

// poolSize is EMQX's default.
const poolSize = 8

// NewBroker makes a broker that calls addr; the test closes it.
func NewBroker(t testing.TB, addr string, api mux.API) *Broker {
	t.Helper()
	return NewTLSBroker(t, addr, api, nil)
}

// NewTLSBroker is NewBroker for a URL that begins with https://; without a cfg, with
// http://.
func NewTLSBroker(t testing.TB, addr string, api mux.API, cfg *tls.Config) *Broker {
	t.Helper()
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	b := &Broker{API: api, Node: "emqx@127.0.0.1", Timeout: 5 * time.Second}
	for range poolSize {
		cc, err := grpc.NewClient(addr,
			grpc.WithTransportCredentials(creds),
			grpc.WithUserAgent("grpc-erlang/0.1.0"),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawcodec.New()), grpc.MaxCallRecvMsgSize(1<<30)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cc.Close() })
		b.pool = append(b.pool, cc)
	}
	return b
}

// Call makes one call with an encoded request and gives the encoded answer.
func (b *Broker) Call(method, client string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.Timeout)
	defer cancel()
	h := fnv.New32a()
	_, _ = h.Write([]byte(client))
	var resp rawcodec.Message
	err := b.pool[h.Sum32()%poolSize].Invoke(ctx, method, rawcodec.Message(req), &resp)
	return resp, err
}

// Event sends an event of a client. Any gRPC error fails the test: no broker
// may ever see one.
func (b *Broker) Event(t testing.TB, h mux.Hook, client string, req proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	resp, err := b.Call(b.API.FullMethod(h), client, body)
	if err != nil {
		t.Errorf("%s of %s: answered after %s with a gRPC error: %v", h, client, time.Since(start), err)
	}
	return resp
}

// Load sends OnProviderLoaded and gives the hooks that the answer names.
func (b *Broker) Load(t testing.TB, emqx string) map[string][]string {
	t.Helper()
	req, err := LoadRequest(b.Node, emqx)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Call(b.API.FullMethod(mux.ProviderLoaded), "", req)
	if err != nil {
		t.Errorf("loading: %v", err)
	}
	hooks, err := ParseLoaded(resp)
	if err != nil {
		t.Fatal(err)
	}
	return hooks
}

// LoadRequest is what a node of that EMQX version loads a server with.
func LoadRequest(node, emqx string) ([]byte, error) {
	return proto.Marshal(&exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{Version: emqx, Sysdescr: "EMQX"}, Meta: &exhookv3.RequestMeta{Node: node},
	})
}

// ParseLoaded reads the answer: hooks, and their topics.
func ParseLoaded(resp []byte) (map[string][]string, error) {
	var loaded exhookv3.LoadedResponse
	if err := proto.Unmarshal(resp, &loaded); err != nil {
		return nil, err
	}
	hooks := make(map[string][]string)
	for _, h := range loaded.Hooks {
		if _, twice := hooks[h.Name]; twice {
			return nil, fmt.Errorf("LoadedResponse names %s twice", h.Name)
		}
		hooks[h.Name] = h.Topics
	}
	return hooks, nil
}

// Unload sends OnProviderUnloaded.
func (b *Broker) Unload(t testing.TB) {
	t.Helper()
	b.Event(t, mux.ProviderUnloaded, "", &exhookv3.ProviderUnloadedRequest{Meta: b.meta()})
}

func (b *Broker) meta() *exhookv3.RequestMeta { return &exhookv3.RequestMeta{Node: b.Node} }

// Authenticate asks whether a client may log in; typ is the answer's type.
func (b *Broker) Authenticate(t testing.TB, client string) (typ exhookv3.ValuedResponse_ResponsedType, allowed bool) {
	t.Helper()
	resp := b.valued(t, mux.ClientAuthenticate, client, &exhookv3.ClientAuthenticateRequest{
		Clientinfo: clientInfo(client), Meta: b.meta(),
	})
	return resp.Type, resp.GetBoolResult()
}

// Authorize asks whether a client may publish to a topic.
func (b *Broker) Authorize(t testing.TB, client, topic string) (typ exhookv3.ValuedResponse_ResponsedType, allowed bool) {
	t.Helper()
	resp := b.valued(t, mux.ClientAuthorize, client, &exhookv3.ClientAuthorizeRequest{
		Clientinfo: clientInfo(client), Topic: topic, Meta: b.meta(),
	})
	return resp.Type, resp.GetBoolResult()
}

// Publish sends a message and says what would become of it in EMQX: the
// message as it would be routed, and whether it would be at all.
func (b *Broker) Publish(t testing.TB, client, topic, payload string) (*exhookv3.Message, bool) {
	t.Helper()
	msg := &exhookv3.Message{Id: "1", From: client, Topic: topic, Payload: []byte(payload), Qos: 1}
	resp := b.valued(t, mux.MessagePublish, client, &exhookv3.MessagePublishRequest{Message: msg, Meta: b.meta()})
	if m := resp.GetMessage(); resp.Type != exhookv3.ValuedResponse_IGNORE && m != nil {
		msg.Topic, msg.Payload, msg.Qos = m.Topic, m.Payload, m.Qos
		return msg, m.Headers["allow_publish"] != "false"
	}
	return msg, true
}

// Delivered tells that message number n was sent to a client.
func (b *Broker) Delivered(t testing.TB, client string, n int) {
	t.Helper()
	b.Event(t, mux.MessageDelivered, client, &exhookv3.MessageDeliveredRequest{
		Clientinfo: clientInfo(client),
		Message:    &exhookv3.Message{Id: fmt.Sprint(n), From: "publisher", Topic: "t", Payload: []byte("x")},
		Meta:       b.meta(),
	})
}

func (b *Broker) valued(t testing.TB, h mux.Hook, client string, req proto.Message) *exhookv3.ValuedResponse {
	t.Helper()
	resp := new(exhookv3.ValuedResponse)
	if err := proto.Unmarshal(b.Event(t, h, client, req), resp); err != nil {
		t.Errorf("%s: the answer is no ValuedResponse: %v", h, err)
	}
	return resp
}

func clientInfo(client string) *exhookv3.ClientInfo {
	return &exhookv3.ClientInfo{Node: "emqx@127.0.0.1", Clientid: client, Username: "u-" + client, Peerhost: "127.0.0.1", Protocol: "mqtt"}
}
