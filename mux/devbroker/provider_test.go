package devbroker

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// call is one RPC as the provider saw it.
type call struct {
	service string // emqx.exhook.v3.HookProvider
	rpc     string // OnClientConnect
	raw     []byte
	req     proto.Message // the v3 message, nil if it does not decode
	left    time.Duration // of the deadline; 0 without one
	meta    metadata.MD
	conn    string // the caller's address
}

// testProvider is a HookProvider of all three versions that records every call.
type testProvider struct {
	addr string
	// answer says what to return; nil is the empty answer. Set before start.
	answer func(ctx context.Context, c call) (proto.Message, error)
	hooks  []*exhookv3.HookSpec

	server *grpc.Server
	done   chan struct{}
	mu     sync.Mutex
	calls  []call
}

// allHooks names every hook that a release knows.
func allHooks(t testing.TB, release string) []*exhookv3.HookSpec {
	t.Helper()
	d, err := dialectOf(release)
	if err != nil {
		t.Fatal(err)
	}
	var specs []*exhookv3.HookSpec
	for h := range hookTable {
		specs = append(specs, &exhookv3.HookSpec{Name: d.hookName(hook(h))})
	}
	return specs
}

func spec(name string, topics ...string) *exhookv3.HookSpec {
	return &exhookv3.HookSpec{Name: name, Topics: topics}
}

// startProvider serves on loopback until the test ends. answer may be nil.
func startProvider(t testing.TB, hooks []*exhookv3.HookSpec, answer func(context.Context, call) (proto.Message, error)) *testProvider {
	t.Helper()
	p := &testProvider{hooks: hooks, answer: answer, addr: "127.0.0.1:0"}
	p.start(t)
	t.Cleanup(p.stop)
	return p
}

// start serves on the address it had before, if any.
func (p *testProvider) start(t testing.TB) {
	t.Helper()
	var ln net.Listener
	eventually(t, "the provider's address to be free", func() bool {
		var err error
		ln, err = net.Listen("tcp", p.addr)
		return err == nil
	})
	p.addr = ln.Addr().String()
	p.server = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(p.handle))
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		_ = p.server.Serve(ln)
	}()
}

func (p *testProvider) stop() {
	p.server.Stop()
	<-p.done
}

func (p *testProvider) setHooks(hooks ...*exhookv3.HookSpec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = hooks
}

func (p *testProvider) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	service, rpc, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	c := call{service: service, rpc: rpc}
	if err := stream.RecvMsg(&c.raw); err != nil {
		return err
	}
	c.raw = slices.Clone(c.raw)
	if deadline, ok := stream.Context().Deadline(); ok {
		c.left = time.Until(deadline)
	}
	c.meta, _ = metadata.FromIncomingContext(stream.Context())
	c.conn = peerOf(stream.Context())
	c.req = decodeV3(rpc, c.raw)
	p.mu.Lock()
	p.calls = append(p.calls, c)
	hooks := p.hooks
	p.mu.Unlock()
	var res proto.Message
	var err error
	if p.answer != nil {
		res, err = p.answer(stream.Context(), c)
	}
	if err != nil {
		return err
	}
	if res == nil {
		res = &exhookv3.EmptySuccess{}
		if rpc == "OnProviderLoaded" {
			res = &exhookv3.LoadedResponse{Hooks: hooks}
		}
	}
	return stream.SendMsg(encode(res))
}

// decodeV3 reads a request of any version as its v3 message.
func decodeV3(rpc string, raw []byte) proto.Message {
	renamed := map[string]string{"OnClientCheckAcl": "OnClientAuthorize", "OnSessionTakeovered": "OnSessionTakenover"}
	if r, ok := renamed[rpc]; ok {
		rpc = r
	}
	md := exhookv3.File_emqx_exhook_v3_exhook_proto.Services().ByName("HookProvider").Methods().ByName(protoreflect.Name(rpc))
	if md == nil {
		return nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
	if err != nil {
		return nil
	}
	m := mt.New().Interface()
	if proto.Unmarshal(raw, m) != nil {
		return nil
	}
	return m
}

// snapshot returns the calls so far, of the named RPCs if any are named.
func (p *testProvider) snapshot(rpcs ...string) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []call
	for _, c := range p.calls {
		if len(rpcs) == 0 || slices.Contains(rpcs, c.rpc) {
			out = append(out, c)
		}
	}
	return out
}

// rpcs lists the names of the calls so far, without On.
func (p *testProvider) rpcs() []string {
	var names []string
	for _, c := range p.snapshot() {
		names = append(names, strings.TrimPrefix(c.rpc, "On"))
	}
	return names
}

// await waits until an RPC was called n times, and returns those calls.
func (p *testProvider) await(t testing.TB, rpc string, n int) []call {
	t.Helper()
	eventually(t, rpc, func() bool { return len(p.snapshot(rpc)) >= n })
	return p.snapshot(rpc)
}

func boolAnswer(yes bool) *exhookv3.ValuedResponse {
	return &exhookv3.ValuedResponse{
		Type:  exhookv3.ValuedResponse_STOP_AND_RETURN,
		Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: yes},
	}
}

func messageAnswer(m *exhookv3.Message) *exhookv3.ValuedResponse {
	return &exhookv3.ValuedResponse{Value: &exhookv3.ValuedResponse_Message{Message: m}}
}

var ignoreAnswer = &exhookv3.ValuedResponse{Type: exhookv3.ValuedResponse_IGNORE}

// asRecorder answers as the provider of the recordings did.
func asRecorder(_ context.Context, c call) (proto.Message, error) {
	switch req := c.req.(type) {
	case *exhookv3.ClientAuthenticateRequest:
		return boolAnswer(req.Clientinfo.Username != "bad"), nil
	case *exhookv3.ClientAuthorizeRequest:
		a := boolAnswer(!strings.HasPrefix(req.Topic, "forbidden/"))
		a.Type = exhookv3.ValuedResponse_CONTINUE
		return a, nil
	case *exhookv3.MessagePublishRequest:
		m := proto.CloneOf(req.Message)
		switch {
		case strings.HasPrefix(m.Topic, "rewrite/"):
			m.Payload = []byte("REWRITTEN")
			return messageAnswer(m), nil
		case strings.HasPrefix(m.Topic, "drop/"):
			m.Headers = map[string]string{"allow_publish": "false"}
			a := messageAnswer(m)
			a.Type = exhookv3.ValuedResponse_STOP_AND_RETURN
			return a, nil
		}
		return ignoreAnswer, nil
	}
	return nil, nil
}

var errProvider = errors.New("provider is broken")

// startBroker starts a broker on a free port, closed when the test ends.
func startBroker(t testing.TB, cfg Config) *Broker {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	b, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// startLoaded starts a broker and waits for the load, which may take several
// attempts where a test shortens RequestTimeout.
func startLoaded(t testing.TB, cfg Config) *Broker {
	t.Helper()
	cfg.AutoReconnect = 10 * time.Millisecond
	b := startBroker(t, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.WaitLoaded(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}
