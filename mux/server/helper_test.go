package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hookmux/hookmux/mux"
	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv2 "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var apis = []mux.API{mux.V1, mux.V2, mux.V3}

// conn is a provider's connection that records what it gets; without decide it
// answers IGNORE, without notify success.
type conn struct {
	decide func(ctx context.Context, h mux.Hook, req []byte) ([]byte, error)
	notify func(ctx context.Context, h mux.Hook, req []byte) error

	mu  sync.Mutex
	got []string // hook and bytes
}

var ignore = []byte{0x08, 0x01}

func key(h mux.Hook, req []byte) string { return h.String() + " " + string(req) }

func (c *conn) record(h mux.Hook, req []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, key(h, req))
}

func (c *conn) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

func (c *conn) Decide(ctx context.Context, h mux.Hook, req []byte) ([]byte, error) {
	c.record(h, req)
	if c.decide == nil {
		return ignore, nil
	}
	return c.decide(ctx, h, req)
}

func (c *conn) Notify(ctx context.Context, h mux.Hook, req []byte) error {
	c.record(h, req)
	if c.notify == nil {
		return nil
	}
	return c.notify(ctx, h, req)
}

// newMux is a ready Mux with one provider, which wants every hook.
func newMux(t testing.TB, spec mux.Spec, c mux.Conn) *mux.Mux {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	spec.Name = "p"
	p := mux.NewProvider(spec, log)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Close(ctx)
	})
	var wants []mux.HookSpec
	for _, h := range mux.Hooks() {
		wants = append(wants, mux.HookSpec{Hook: h})
	}
	if err := p.Up(c, wants); err != nil {
		t.Fatal(err)
	}
	m := mux.New(mux.Options{Log: log, Timeout: 10 * time.Second})
	m.SetProviders([]*mux.Provider{p})
	m.SetReady()
	return m
}

// serve starts a server on the loopback interface.
func serve(t testing.TB, m *mux.Mux) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(m, Options{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(ctx)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// stub calls the hook's RPC through the generated client.
func stub(ctx context.Context, cc *grpc.ClientConn, api mux.API, h mux.Hook, fillIn func(proto.Message)) (proto.Message, error) {
	client := map[mux.API]any{
		mux.V1: exhookv1.NewHookProviderClient(cc), mux.V2: exhookv2.NewHookProviderClient(cc), mux.V3: exhookv3.NewHookProviderClient(cc),
	}[api]
	method := reflect.ValueOf(client).MethodByName(api.Method(h))
	if !method.IsValid() {
		return nil, fmt.Errorf("the generated client of %s has no %s", api.Service(), api.Method(h))
	}
	req := reflect.New(method.Type().In(1).Elem())
	fillIn(req.Interface().(proto.Message))
	out := method.Call([]reflect.Value{reflect.ValueOf(ctx), req})
	err, _ := out[1].Interface().(error)
	return out[0].Interface().(proto.Message), err
}

// invoke calls the hook's RPC with these bytes.
func invoke(ctx context.Context, cc *grpc.ClientConn, method string, body []byte) ([]byte, error) {
	var answer rawcodec.Message
	err := cc.Invoke(ctx, method, rawcodec.Message(body), &answer, grpc.ForceCodecV2(rawcodec.New()), grpc.MaxCallRecvMsgSize(64<<20))
	return answer, err
}

// fill sets all fields of a request to something, with unknown fields beside.
func fill(m proto.Message) { fillMessage(m.ProtoReflect()) }

func fillMessage(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("username").MapKey(), protoreflect.ValueOfString("u"))
		case f.IsList():
			el := m.Mutable(f).List().AppendMutable().Message()
			fillMessage(el)
		case f.Kind() == protoreflect.MessageKind:
			fillMessage(m.Mutable(f).Message())
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("text of "+string(f.Name())))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte("bytes")))
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(1))
		}
	}
	m.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "from the future"))
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
