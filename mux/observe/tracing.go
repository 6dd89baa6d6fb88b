package observe

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/hookmux/hookmux/mux"
)

// DefaultTraceSample is TracingOptions.Sample by default.
const DefaultTraceSample = 100

// TracingOptions are where traces go. No Endpoint: nowhere.
type TracingOptions struct {
	// Endpoint takes OTLP over gRPC: http://host:port, or https://host:port, which must
	// have a certificate that the machine trusts.
	Endpoint string
	// Sample is of how many events one is traced, by chance. A decision that the broker
	// itself traces, which its call then says, is traced in any case. Default 100.
	Sample int
}

// Tracing makes spans of what it is told, as a mux.Recorder: one for each event that is
// sampled, and below it one for each provider that was asked or told. It never waits:
// spans that cannot be sent are lost.
type Tracing struct {
	provider *sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
	tracer   trace.Tracer
	sample   uint64
	high     maphash.Seed // of the trace id's halves, and of the event's span id
	low      maphash.Seed
	span     maphash.Seed
}

// NewTracing makes a Tracing, which must be closed.
func NewTracing(opts TracingOptions, version string, log *slog.Logger) (*Tracing, error) {
	at, err := url.Parse(opts.Endpoint)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, fmt.Errorf("tracing: %q is no endpoint such as http://127.0.0.1:4317", opts.Endpoint)
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(at.Host)}
	if at.Scheme == "http" {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(context.Background(), options...) // which does not wait for a connection
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	// The SDK has one handler for the whole process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))
	t := &Tracing{exporter: exporter, sample: uint64(opts.Sample), high: maphash.MakeSeed(), low: maphash.MakeSeed(), span: maphash.MakeSeed()}
	if t.sample == 0 {
		t.sample = DefaultTraceSample
	}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // what is not sampled gets no span
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "hookmux"), attribute.String("service.version", version))),
	)
	t.tracer = t.provider.Tracer("github.com/hookmux/hookmux")
	return t, nil
}

// Close sends what waits, until ctx ends.
func (t *Tracing) Close(ctx context.Context) {
	if t.provider.Shutdown(ctx) != nil {
		_ = t.exporter.Shutdown(ctx) // which breaks off what is under way
	}
}

// ids gives a span the ids that its context says, so that those who were told of one
// event at different times agree on them.
type ids struct{}

type idsKey struct{}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if sc, ok := ctx.Value(idsKey{}).(trace.SpanContext); ok {
		return sc.TraceID(), sc.SpanID()
	}
	var id trace.TraceID
	binary.BigEndian.PutUint64(id[:8], rand64())
	binary.BigEndian.PutUint64(id[8:], rand64())
	return id, randSpan()
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if sc, ok := ctx.Value(idsKey{}).(trace.SpanContext); ok {
		return sc.SpanID()
	}
	return randSpan()
}

func randSpan() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand64())
	return id
}

// rand64 is random, and not 0, which would be no id.
func rand64() uint64 { return maphash.Bytes(maphash.MakeSeed(), nil) | 1 }

// of is the identity of an event's span, made from what all who are told of the event
// know of it, and whether it is sampled.
func (t *Tracing) of(ev *mux.Event) (sc trace.SpanContext, sampled bool) {
	var key [64]byte
	binary.BigEndian.PutUint64(key[:], uint64(ev.Told().UnixNano()))
	key[8] = byte(ev.Hook)
	whole := append(key[:9], ev.Client()...)
	high := maphash.Bytes(t.high, whole)
	if high%t.sample != 0 {
		return sc, false
	}
	var id trace.TraceID
	binary.BigEndian.PutUint64(id[:8], high|1<<63)
	binary.BigEndian.PutUint64(id[8:], maphash.Bytes(t.low, whole))
	var span trace.SpanID
	binary.BigEndian.PutUint64(span[:], maphash.Bytes(t.span, whole)|1)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled}), true
}

// event begins and ends the span of an event that is sampled; the context is for those
// below it.
func (t *Tracing) event(ctx context.Context, ev *mux.Event, took time.Duration, more ...attribute.KeyValue) (below context.Context, ok bool) {
	self, sampled := t.of(ev)
	parent := brokers(ctx)
	options := []trace.SpanStartOption{trace.WithTimestamp(ev.Told()), trace.WithSpanKind(trace.SpanKindServer)}
	switch {
	case !parent.IsValid():
	case sampled && !ev.Hook.Valued(): // its deliveries are in the trace that is made from it
		options = append(options, trace.WithLinks(trace.Link{SpanContext: parent}))
		parent = trace.SpanContext{}
	case parent.IsSampled():
		if sampled = true; !self.IsValid() {
			self = trace.NewSpanContext(trace.SpanContextConfig{SpanID: randSpan()})
		}
	default:
		sampled = false
	}
	if !sampled {
		return nil, false
	}
	s := ev.Subject()
	below = trace.ContextWithRemoteSpanContext(context.WithValue(context.Background(), idsKey{}, self), parent)
	options = append(options, trace.WithAttributes(
		attribute.String("hookmux.hook", ev.Hook.String()),
		attribute.String("hookmux.node", string(s.Node)),
		attribute.String("hookmux.client", text(s.Client)),
		attribute.String("hookmux.topic", text(s.Topic)),
	), trace.WithAttributes(more...))
	below, span := t.tracer.Start(below, ev.Hook.String(), options...)
	span.End(trace.WithTimestamp(ev.Told().Add(took)))
	return context.WithValue(below, idsKey{}, nil), true
}

// brokers is the broker's own span, if its call names one.
func brokers(ctx context.Context) trace.SpanContext {
	if len(metadata.ValueFromIncomingContext(ctx, "traceparent")) == 0 {
		return trace.SpanContext{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, carrier(md)))
}

// carrier is gRPC metadata as OpenTelemetry reads it.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
func (c carrier) Set(string, string) {}
func (c carrier) Keys() []string     { return nil }

// text is what comes from outside, at a length that a trace can bear.
func text(b []byte) string {
	const most = 256
	if len(b) > most {
		b = b[:most]
	}
	return string(b)
}

// Decided implements mux.Recorder.
func (t *Tracing) Decided(ctx context.Context, d *mux.Decision) {
	below, ok := t.event(ctx, d.Event, time.Since(d.Event.Told()),
		attribute.String("hookmux.answer", d.Answer.String()), attribute.Bool("hookmux.final", d.Final), attribute.String("hookmux.by", d.By))
	if !ok {
		return
	}
	for i := range d.Asked {
		a := &d.Asked[i]
		if a.Unneeded {
			continue
		}
		_, span := t.tracer.Start(below, a.Provider, trace.WithTimestamp(a.Start), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("hookmux.provider", a.Provider), attribute.Int64("hookmux.waited_us", a.Waited.Microseconds())))
		if a.Reason == mux.ReasonNone {
			span.SetAttributes(attribute.String("hookmux.verdict", a.Verdict.String()))
		} else {
			span.SetAttributes(attribute.String("hookmux.reason", a.Reason.String()), attribute.String("hookmux.policy", a.Policy.String()))
			span.SetStatus(codes.Error, errorText(a.Err))
		}
		span.End(trace.WithTimestamp(a.Start.Add(a.Took)))
	}
}

// Answered implements mux.Recorder.
func (t *Tracing) Answered(ctx context.Context, ev *mux.Event, took time.Duration) {
	if ev.Hook.Valued() {
		return // of which Decided has told
	}
	t.event(ctx, ev, took)
}

// Notified implements mux.Recorder.
func (t *Tracing) Notified(n *mux.Notification) {
	self, sampled := t.of(n.Event)
	if !sampled {
		return
	}
	_, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), self), n.Provider,
		trace.WithTimestamp(n.Start.Add(n.Waited)), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("hookmux.provider", n.Provider), attribute.Int64("hookmux.waited_us", n.Waited.Microseconds())))
	if n.Reason != mux.ReasonNone {
		span.SetAttributes(attribute.String("hookmux.reason", n.Reason.String()))
		span.SetStatus(codes.Error, errorText(n.Err))
	}
	span.End(trace.WithTimestamp(n.Start.Add(n.Took)))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// BreakerChanged implements mux.Recorder.
func (t *Tracing) BreakerChanged(string, string, string) {}
