package mux

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"

	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// fake is a provider's connection made of two functions; a nil one answers
// IGNORE, and success. It records what it was asked.
type fake struct {
	decide func(ctx context.Context, h Hook, req []byte) ([]byte, error)
	notify func(ctx context.Context, h Hook, req []byte) error

	mu    sync.Mutex
	asked []call
}

type call struct {
	hook Hook
	req  []byte
}

func (f *fake) record(h Hook, req []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, call{h, req})
}

// calls are the requests so far.
func (f *fake) calls() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.asked...)
}

func (f *fake) Decide(ctx context.Context, h Hook, req []byte) ([]byte, error) {
	f.record(h, req)
	if f.decide == nil {
		return ignoreResponse, nil
	}
	return f.decide(ctx, h, req)
}

func (f *fake) Notify(ctx context.Context, h Hook, req []byte) error {
	f.record(h, req)
	if f.notify == nil {
		return nil
	}
	return f.notify(ctx, h, req)
}

// says is a connection that gives every decision the same answer.
func says(answer []byte) *fake {
	return &fake{decide: func(context.Context, Hook, []byte) ([]byte, error) { return answer, nil }}
}

// fails is a connection on which every call ends with err.
func fails(err error) *fake {
	return &fake{
		decide: func(context.Context, Hook, []byte) ([]byte, error) { return nil, err },
		notify: func(context.Context, Hook, []byte) error { return err },
	}
}

// hangs is a connection that never answers, but keeps to its contract.
func hangs() *fake {
	return &fake{
		decide: func(ctx context.Context, _ Hook, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		notify: func(ctx context.Context, _ Hook, _ []byte) error { <-ctx.Done(); return ctx.Err() },
	}
}

// newProvider makes a provider that the test's end closes; conn nil leaves it down.
func newProvider(t testing.TB, spec Spec, conn Conn, wants ...HookSpec) *Provider {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "p"
	}
	p := NewProvider(spec, quiet)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Close(ctx)
	})
	if conn != nil {
		up(t, p, conn, wants...)
	}
	return p
}

func up(t testing.TB, p *Provider, conn Conn, wants ...HookSpec) {
	t.Helper()
	if err := p.Up(conn, wants); err != nil {
		t.Fatalf("Up: %v", err)
	}
}

// newMux is a ready Mux with these providers in its chain.
func newMux(opts Options, providers ...*Provider) *Mux {
	opts.Log = quiet
	m := New(opts)
	m.SetProviders(providers)
	m.SetReady()
	return m
}

func wants(hooks ...Hook) (out []HookSpec) {
	for _, h := range hooks {
		out = append(out, HookSpec{Hook: h})
	}
	return out
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatalf("Marshal: %v", err)
	}
	return b
}

func unmarshal[T any, M interface {
	*T
	proto.Message
}](t testing.TB, b []byte) M {
	t.Helper()
	m := M(new(T))
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("Unmarshal %T: %v", m, err)
	}
	return m
}

// newRequest is an empty request message of the hook in that API version.
func newRequest(a API, h Hook) proto.Message {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(a.Service()))
	if err != nil {
		panic(err)
	}
	m := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(a.Method(h)))
	if m == nil {
		panic(fmt.Sprintf("%s has no %s", a.Service(), a.Method(h)))
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		panic(err)
	}
	return typ.New().Interface()
}

// fill sets every field of m to something random, and adds unknown fields.
func fill(r *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			mp := m.Mutable(f).Map()
			for range r.IntN(4) {
				mp.Set(protoreflect.ValueOfString(randText(r)).MapKey(), protoreflect.ValueOfString(randText(r)))
			}
		case f.IsList():
			l := m.Mutable(f).List()
			for range r.IntN(4) {
				el := l.NewElement()
				if f.Kind() == protoreflect.MessageKind {
					fill(r, el.Message())
				} else {
					el = randScalar(r, f)
				}
				l.Append(el)
			}
		case f.Kind() == protoreflect.MessageKind:
			fill(r, m.Mutable(f).Message())
		default:
			m.Set(f, randScalar(r, f))
		}
	}
	if r.IntN(2) == 0 {
		m.SetUnknown(appendBytesField(appendVarintField(nil, 1000, r.Uint64()), 1001, []byte(randText(r))))
	}
}

func randScalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(randText(r))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(randText(r)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32N(3))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(r.Int64())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(2)))
	}
	panic("no random " + f.Kind().String())
}

func randText(r *rand.Rand) string {
	words := []string{"", "a", "b/c", "zürich", "工厂", "$SYS", "client-7", strings.Repeat("x", 200)}
	return words[r.IntN(len(words))] + words[r.IntN(len(words))]
}

func randomRequest(r *rand.Rand, a API, h Hook) proto.Message {
	m := newRequest(a, h)
	fill(r, m.ProtoReflect())
	return m
}

// Requests that many tests use.

func authenticate(client string, result bool) *exhookv3.ClientAuthenticateRequest {
	return &exhookv3.ClientAuthenticateRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: client}, Result: result}
}

// event is a notification about a client, told apart by n.
func event(t testing.TB, client string, n int) Event {
	return NewEvent(ClientDisconnected, marshal(t, &exhookv3.ClientDisconnectedRequest{
		Clientinfo: &exhookv3.ClientInfo{Clientid: client}, Reason: fmt.Sprint(n),
	}))
}

// eventually waits until ok, at most 10 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting: %s", what)
		}
		time.Sleep(200 * time.Microsecond)
	}
}
