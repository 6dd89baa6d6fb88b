package observe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/observe"
	exhook "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t testing.TB, h mux.Hook, client, topic string) *mux.Event {
	t.Helper()
	var req proto.Message = &exhook.ClientAuthenticateRequest{Clientinfo: &exhook.ClientInfo{Clientid: client}}
	if h.HasTopics() {
		req = &exhook.MessagePublishRequest{Message: &exhook.Message{From: client, Topic: topic}}
	}
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ev := mux.NewEvent(h, body)
	return &ev
}

// everything makes metrics in which each of them has a value.
func everything(t testing.TB) *observe.Metrics {
	t.Helper()
	m := observe.NewMetrics(observe.Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1"})
	m.Collect(state{})
	m.Decided(t.Context(), &mux.Decision{
		Event: event(t, mux.ClientAuthenticate, "c", ""), Answer: mux.VerdictDeny,
		Asked: []mux.Asked{
			{Provider: "login", Verdict: mux.VerdictAllow, Waited: time.Millisecond, Took: 3 * time.Millisecond},
			{Provider: "rules", Reason: mux.ReasonTimeout, Err: errors.New("late"), Policy: mux.Deny, Took: 2 * time.Second},
			{Provider: "spare", Unneeded: true},
		},
	})
	m.Notified(&mux.Notification{Event: event(t, mux.MessageDelivered, "c", "t"), Provider: "rules", Waited: time.Millisecond, Took: time.Second})
	m.Notified(&mux.Notification{Event: event(t, mux.MessageDelivered, "c", "t"), Provider: "rules", Reason: mux.ReasonLaneFull})
	m.Answered(t.Context(), event(t, mux.ClientAuthenticate, "c", ""), 4*time.Millisecond)
	m.Restarted("rules", "crashed")
	m.Reloaded(false)
	return m
}

// state is a Source in which all that can be there is.
type state struct{}

func (state) Providers() []observe.ProviderState {
	return []observe.ProviderState{{
		Name: "rules", Status: "restarting", Breakers: map[string]string{"notifications": "open"}, LaneEvents: 3, LaneBytes: 400,
		Dropped: map[string]int64{"lane_full": 1}, PutBack: map[string]int64{"topic": 2}, Redacted: 5,
	}}
}

func (state) Brokers() []observe.BrokerState {
	return []observe.BrokerState{{Node: "emqx@a", Since: time.Unix(1700000000, 0), Missing: 1}}
}

func (state) Stored() []observe.StoredState {
	return []observe.StoredState{
		{Provider: "rules", Events: 7, Bytes: 800, Oldest: time.Unix(1700000000, 0), DeadLetters: 2},
		{Provider: "done"},
	}
}

func scrape(t testing.TB, m *observe.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d, %v", w.Code, err)
	}
	return string(body)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	got := scrape(t, everything(t))
	for _, want := range []string{
		`hookmux_build_info{goversion="go1",revision="abc",version="1.2.3"} 1`,
		`hookmux_event_duration_seconds_count{hook="client.authenticate"} 1`,
		`hookmux_event_duration_seconds_bucket{hook="client.authenticate",le="0.005"} 1`,
		`hookmux_decisions_total{answer="deny",hook="client.authenticate"} 1`,
		`hookmux_provider_answers_total{hook="client.authenticate",outcome="allow",provider="login"} 1`,
		`hookmux_provider_answers_total{hook="client.authenticate",outcome="timeout",provider="rules"} 1`,
		`hookmux_provider_answer_duration_seconds_count{hook="client.authenticate",provider="login"} 1`,
		`hookmux_policy_decisions_total{hook="client.authenticate",policy="deny",provider="rules",reason="timeout"} 1`,
		`hookmux_provider_queue_seconds_count{provider="login"} 1`,
		`hookmux_provider_queue_seconds_count{provider="rules"} 2`,
		`hookmux_notifications_total{hook="message.delivered",outcome="delivered",provider="rules"} 1`,
		`hookmux_notifications_total{hook="message.delivered",outcome="lane_full",provider="rules"} 1`,
		`hookmux_notification_duration_seconds_count{provider="rules"} 1`,
		`hookmux_lane_events{provider="rules"} 3`,
		`hookmux_lane_bytes{provider="rules"} 400`,
		`hookmux_lane_dropped_total{provider="rules",reason="lane_full"} 1`,
		`hookmux_breaker_state{breaker="notifications",provider="rules",state="open"} 1`,
		`hookmux_breaker_state{breaker="notifications",provider="rules",state="closed"} 0`,
		`hookmux_provider_state{provider="rules",state="restarting"} 1`,
		`hookmux_provider_state{provider="rules",state="up"} 0`,
		`hookmux_provider_restarts_total{cause="crashed",provider="rules"} 1`,
		`hookmux_reverted_changes_total{change="topic",provider="rules"} 2`,
		`hookmux_redactions_total{provider="rules"} 5`,
		`hookmux_broker_registered_timestamp_seconds{node="emqx@a"} 1.7e+09`,
		`hookmux_broker_missing_hooks{node="emqx@a"} 1`,
		`hookmux_spool_events{provider="rules"} 7`,
		`hookmux_spool_bytes{provider="rules"} 800`,
		`hookmux_spool_oldest_timestamp_seconds{provider="rules"} 1.7e+09`,
		`hookmux_spool_dead_letters{provider="rules"} 2`,
		`hookmux_spool_events{provider="done"} 0`,
		`hookmux_reloads_total{outcome="failed"} 1`,
		`hookmux_reloads_total{outcome="done"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("not there: %s", want)
		}
	}
	if strings.Contains(got, `hookmux_spool_oldest_timestamp_seconds{provider="done"}`) {
		t.Error("nothing is stored, and yet it has an age")
	}
	if strings.Contains(got, `provider="spare"`) {
		t.Error("who was not needed was counted")
	}
}

func TestNamesAreLinted(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(everything(t).Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "hookmux_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// How many clients and topics there are makes no difference, and who is gone leaves
// nothing behind.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	m := everything(t)
	count := func() int {
		n, err := testutil.GatherAndCount(m.Registry())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	for i := range 10_000 {
		ev := event(t, mux.MessageDelivered, fmt.Sprint("client", i), fmt.Sprint("topic/", i))
		m.Notified(&mux.Notification{Event: ev, Provider: "rules"})
		m.Decided(context.Background(), &mux.Decision{Event: event(t, mux.ClientAuthenticate, fmt.Sprint(i), ""), Answer: mux.VerdictDeny})
	}
	if n := count(); n != before {
		t.Errorf("%d series, before 10,000 clients %d", n, before)
	}
	m.Forget("login")
	if strings.Contains(scrape(t, m), `provider="login"`) {
		t.Error("a provider that is gone is among the metrics")
	}
	m.Restarted("login", "crashed")
	m.Notified(&mux.Notification{Event: event(t, mux.MessageDelivered, "c", "t"), Provider: "login"})
	if !strings.Contains(scrape(t, m), `hookmux_notifications_total{hook="message.delivered",outcome="delivered",provider="login"} 1`) {
		t.Error("a provider that came back is not counted anew")
	}
}

func BenchmarkDecided(b *testing.B) {
	m := everything(b)
	d := &mux.Decision{
		Event: event(b, mux.ClientAuthenticate, "c", ""), Answer: mux.VerdictAllow,
		Asked: []mux.Asked{{Provider: "login", Verdict: mux.VerdictAllow, Took: time.Millisecond}, {Provider: "rules", Verdict: mux.VerdictIgnore, Took: time.Millisecond}},
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Decided(b.Context(), d)
	}
}

func BenchmarkNotified(b *testing.B) {
	m := everything(b)
	n := &mux.Notification{Event: event(b, mux.MessageDelivered, "c", "t"), Provider: "rules", Took: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Notified(n)
	}
}
