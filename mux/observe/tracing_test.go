package observe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/observe"
	exhook "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// receiver takes spans as a collector does.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		for _, s := range rs.GetScopeSpans() {
			r.spans = append(r.spans, s.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) named(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	i := slices.IndexFunc(r.spans, func(s *tracepb.Span) bool { return s.GetName() == name })
	if i < 0 {
		t.Fatalf("no span %s among %v", name, r.spans)
	}
	return r.spans[i]
}

// traced gives what f told a Tracing to the receiver that it sent its spans to.
func traced(t *testing.T, sample int, f func(*observe.Tracing)) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := new(receiver)
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, r)
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	tr, err := observe.NewTracing(observe.TracingOptions{Endpoint: "http://" + l.Addr().String(), Sample: sample}, "1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f(tr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tr.Close(ctx)
	return r
}

// through has a Mux dispatch events that are recorded by tr.
func through(t *testing.T, tr mux.Recorder, ctx context.Context, events ...*mux.Event) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	m := mux.New(mux.Options{Recorder: tr, Log: log})
	var all []*mux.Provider
	for _, name := range []string{"yes", "broken"} {
		p := mux.NewProvider(mux.Spec{Name: name}, log)
		all = append(all, p)
	}
	m.SetProviders(all)
	for _, p := range all {
		var err error
		if p.Name() == "broken" {
			err = errors.New("out of order")
		}
		if err := p.Up(conn{err}, []mux.HookSpec{{Hook: mux.ClientAuthenticate}, {Hook: mux.MessageDelivered}}); err != nil {
			t.Fatal(err)
		}
	}
	m.SetReady()
	for _, ev := range events {
		m.Dispatch(ctx, *ev)
	}
	for _, p := range all {
		p.Close(t.Context())
	}
}

// conn allows everything, or fails.
type conn struct{ err error }

func (c conn) Decide(context.Context, mux.Hook, []byte) ([]byte, error) {
	b, _ := proto.Marshal(&exhook.ValuedResponse{Value: &exhook.ValuedResponse_BoolResult{BoolResult: true}})
	return b, c.err
}
func (c conn) Notify(context.Context, mux.Hook, []byte) error { return c.err }

func attr(s *tracepb.Span, key string) string {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == key {
			return kv.GetValue().GetStringValue()
		}
	}
	return ""
}

func TestTracing(t *testing.T) {
	t.Parallel()
	login := event(t, mux.ClientAuthenticate, strings.Repeat("c", 1000), "")
	r := traced(t, 1, func(tr *observe.Tracing) {
		through(t, tr, t.Context(), login, event(t, mux.MessageDelivered, "c", "t"))
	})
	if len(r.spans) != 6 {
		t.Fatalf("%d spans: %v", len(r.spans), r.spans)
	}
	decision, told := r.named(t, "client.authenticate"), r.named(t, "message.delivered")
	if attr(decision, "hookmux.answer") != "deny" || attr(decision, "hookmux.by") == "" || len(attr(decision, "hookmux.client")) != 256 {
		t.Errorf("decision: %v", decision)
	}
	below := map[string]int{}
	for _, s := range r.spans {
		for _, root := range []*tracepb.Span{decision, told} {
			if string(s.GetParentSpanId()) == string(root.GetSpanId()) {
				below[s.GetName()+" of "+root.GetName()]++
				if string(s.GetTraceId()) != string(root.GetTraceId()) || s.GetStartTimeUnixNano() < root.GetStartTimeUnixNano() {
					t.Errorf("span %v below %v", s, root)
				}
			}
		}
		if s.GetName() == "broken" && (s.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || !strings.Contains(s.GetStatus().GetMessage(), "out of order") || attr(s, "hookmux.reason") != "error") {
			t.Errorf("broken: %v", s)
		}
	}
	for _, want := range []string{"yes of client.authenticate", "broken of client.authenticate", "yes of message.delivered", "broken of message.delivered"} {
		if below[want] != 1 {
			t.Errorf("%s: %d", want, below[want])
		}
	}
}

// One in a million is sampled by chance, but what the broker traces is traced, in its
// own trace.
func TestTracingGoesOnWithTheBrokers(t *testing.T) {
	t.Parallel()
	const id = "0af7651916cd43dd8448eb211c80319c"
	r := traced(t, 1<<40, func(tr *observe.Tracing) {
		ev := event(t, mux.ClientAuthenticate, "c", "")
		through(t, tr, t.Context(), ev)
		for _, flags := range []string{"00", "01"} {
			through(t, tr, metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", "00-"+id+"-b7ad6b7169203331-"+flags)), ev)
		}
	})
	if len(r.spans) != 3 {
		t.Fatalf("%d spans: %v", len(r.spans), r.spans)
	}
	for _, s := range r.spans {
		if got := string(s.GetTraceId()); got != "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c" {
			t.Errorf("trace %x", got)
		}
	}
}

// A notification that is sampled has its deliveries below it, whatever the broker traces:
// then it is linked to the broker's span.
func TestTracedNotificationIsWhole(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"00", "01"} {
		r := traced(t, 1, func(tr *observe.Tracing) {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"+flags))
			through(t, tr, ctx, event(t, mux.MessageDelivered, "c", "t"))
		})
		root := r.named(t, "message.delivered")
		if len(r.spans) != 3 || len(root.GetParentSpanId()) != 0 || len(root.GetLinks()) != 1 || root.GetLinks()[0].GetTraceId()[0] != 0x0a {
			t.Errorf("%d spans, root %v", len(r.spans), root)
		}
		for _, s := range r.spans {
			if !bytes.Equal(s.GetTraceId(), root.GetTraceId()) {
				t.Errorf("%s is in another trace", s.GetName())
			}
		}
	}
}

// Nobody takes the spans: nothing waits for that.
func TestTracingWithoutACollector(t *testing.T) {
	t.Parallel()
	tr, err := observe.NewTracing(observe.TracingOptions{Endpoint: "http://127.0.0.1:1", Sample: 1}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 { // more than are kept
		tr.Notified(&mux.Notification{Event: event(t, mux.MessageDelivered, "c", "t"), Provider: "p", Start: time.Now()})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	tr.Close(ctx)
}

func BenchmarkNotSampled(b *testing.B) {
	tr, err := observe.NewTracing(observe.TracingOptions{Endpoint: "http://127.0.0.1:1", Sample: 1 << 40}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tr.Close(ctx)
	}()
	n := &mux.Notification{Event: event(b, mux.MessageDelivered, "c", "t"), Provider: "p"}
	b.ReportAllocs()
	for b.Loop() {
		tr.Notified(n)
	}
}
