package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/proto/handshake"
)

// scraper gives the lines of /metrics of a hookmux whose admin socket this is.
func scraper(t *testing.T, socket string) func() []string {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return func() []string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://hookmux/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("scrape: %s, %v", resp.Status, err)
		}
		return strings.Split(string(body), "\n")
	}
}

// What a plugin does that crashes, what becomes of its events, and what operators do,
// is what Prometheus reads.
func TestMetricsOfACrashingPlugin(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		hooks := []string{"client.authenticate", "message.delivered"}
		good := plugin(t, "good", muxtest.Behaviour{Protocol: protocol, Hooks: hooks, Answer: "allow"})
		bad := plugin(t, "bad", muxtest.Behaviour{Protocol: protocol, Hooks: hooks, Do: muxtest.ExitMidCall})
		var c *admin.Client
		var scrape func() []string
		s := start(t, config.Config{Providers: []config.Provider{good, bad}}, func(o *app.Options) {
			c = withAdmin(t, o)
			scrape = scraper(t, o.Admin)
		})
		see := func(want ...string) {
			t.Helper()
			for _, w := range want {
				muxtest.Eventually(t, w, func() bool { return slices.Contains(scrape(), w) })
			}
		}
		see(
			`hookmux_provider_state{provider="bad",state="up"} 1`,
			// There is something from which they increase.
			`hookmux_provider_restarts_total{cause="crashed",provider="bad"} 0`,
			`hookmux_lane_dropped_total{provider="bad",reason="lane_full"} 0`,
		)
		broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
		broker.Load(t, "5.10.3")
		s.allows(t, broker, false)
		see(
			`hookmux_event_duration_seconds_count{hook="client.authenticate"} 1`,
			`hookmux_decisions_total{answer="deny",hook="client.authenticate"} 1`,
			`hookmux_provider_answers_total{hook="client.authenticate",outcome="allow",provider="good"} 1`,
			`hookmux_provider_answers_total{hook="client.authenticate",outcome="down",provider="bad"} 1`,
			`hookmux_policy_decisions_total{hook="client.authenticate",policy="deny",provider="bad",reason="down"} 1`,
			`hookmux_provider_restarts_total{cause="crashed",provider="bad"} 1`,
			`hookmux_provider_restarts_total{cause="crashed",provider="good"} 0`,
			`hookmux_broker_missing_hooks{node="emqx@127.0.0.1"} 0`,
			`hookmux_provider_state{provider="bad",state="up"} 1`, // again
		)
		broker.Delivered(t, "c", 0)
		see(
			`hookmux_notifications_total{hook="message.delivered",outcome="delivered",provider="good"} 1`,
			`hookmux_notifications_total{hook="message.delivered",outcome="delivered",provider="bad"} 1`,
			`hookmux_lane_events{provider="bad"} 0`,
		)
		if _, err := c.Do(t.Context(), "restart", "good"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), "disable", "bad"); err != nil {
			t.Fatal(err)
		}
		see(
			`hookmux_provider_restarts_total{cause="operator",provider="good"} 1`,
			`hookmux_provider_state{provider="bad",state="disabled"} 1`,
		)
		good.Config = muxtest.Behaviour{Protocol: protocol, Hooks: hooks}.Config()
		s.apply(t, s.variant(good), app.Changes{Restarted: []string{"good"}, Removed: []string{"bad"}})
		see(`hookmux_provider_restarts_total{cause="config_changed",provider="good"} 1`)
		muxtest.Eventually(t, "who is gone is no longer among the metrics", func() bool {
			return !strings.Contains(strings.Join(scrape(), "\n"), `provider="bad"`)
		})
	})
}

// spans takes traces as a collector does, and keeps the names.
type spans struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string
}

func (s *spans) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				s.names = append(s.names, span.GetName())
			}
		}
	}
	return new(collector.ExportTraceServiceResponse), nil
}

// What is traced has reached the collector when hookmux has stopped.
func TestTracesOfAPlugin(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got spans
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, &got)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	login := plugin(t, "login", muxtest.Behaviour{Protocol: handshake.Stream, Hooks: []string{"client.authenticate", "message.delivered"}, Answer: "allow"})
	s := start(t, config.Config{
		Providers: []config.Provider{login},
		Tracing:   config.Tracing{Endpoint: "http://" + l.Addr().String(), Sample: 1},
	}, nil)
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	s.allows(t, broker, true)
	broker.Delivered(t, "c", 0)
	s.stop()
	got.mu.Lock()
	defer got.mu.Unlock()
	slices.Sort(got.names)
	if !slices.Equal(got.names, []string{"client.authenticate", "login", "login", "message.delivered"}) {
		t.Errorf("spans %q", got.names)
	}
}
