// Package observe makes metrics for Prometheus and traces for OpenTelemetry of what a
// mux.Recorder is told. README.md lists the metrics.
//
// Names of providers, hooks, reasons and broker nodes are labels; client ids and topics
// never are, so how many series there are depends on the config, not on the clients.
package observe

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hookmux/hookmux/mux"
)

// Build is what hookmux_build_info says.
type Build struct{ Version, Revision, GoVersion string }

// Metrics counts what it is told, as a mux.Recorder, and collects the rest from a
// Source when it is scraped. All methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry

	answered [mux.NumHooks]prometheus.Observer
	answers  [mux.NumHooks][numVerdicts]lazy
	vecs     vecs

	mu        sync.Mutex // serialises changes of providers
	providers atomic.Pointer[map[string]*provider]
}

const numVerdicts = int(mux.VerdictDrop) + 1

// delivered is the outcome of a notification that was handled.
const delivered = "delivered"

// vecs are the metrics with labels.
type vecs struct {
	events                        *prometheus.HistogramVec
	decisions                     *prometheus.CounterVec
	answers, notifications, stood *prometheus.CounterVec
	answerTook                    *prometheus.HistogramVec
	queued, notifyTook            *prometheus.HistogramVec
	restarts, reloads             *prometheus.CounterVec
}

// buckets reach from what a plugin next door takes to EMQX's own timeout, in seconds.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// NewMetrics makes the metrics of one hookmux.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.providers.Store(&map[string]*provider{})
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.vecs = vecs{
		events:        histogram("hookmux_event_duration_seconds", "How long the broker waited for the answer to an event.", "hook"),
		decisions:     counter("hookmux_decisions_total", "Merged answers to hooks with an answer.", "hook", "answer"),
		answers:       counter("hookmux_provider_answers_total", "What came of asking a provider: its answer, or why there was none.", "provider", "hook", "outcome"),
		answerTook:    histogram("hookmux_provider_answer_duration_seconds", "How long asking a provider took, waiting for a place included.", "provider", "hook"),
		queued:        histogram("hookmux_provider_queue_seconds", "How long a decision waited for a place, or a notification for its turn.", "provider"),
		notifications: counter("hookmux_notifications_total", "Notifications to a provider by what became of them: delivered, or why they were lost.", "provider", "hook", "outcome"),
		notifyTook:    histogram("hookmux_notification_duration_seconds", "How long it took from the broker's call until the provider had handled a notification.", "provider"),
		stood:         counter("hookmux_policy_decisions_total", "Missing answers for which the failure policy stood in, by why they were missing.", "provider", "hook", "reason", "policy"),
		restarts:      counter("hookmux_provider_restarts_total", "How often a provider went down, or was replaced, by cause.", "provider", "cause"),
		reloads:       counter("hookmux_reloads_total", "Reloads of the config, by outcome: done or failed.", "outcome"),
	}
	for _, h := range mux.Hooks() {
		m.answered[h] = m.vecs.events.WithLabelValues(h.String())
	}
	for _, outcome := range []string{"done", "failed"} {
		m.vecs.reloads.WithLabelValues(outcome)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hookmux_build_info", Help: "Always 1; the labels say which hookmux this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion},
	})
	info.Set(1)
	m.registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Collect has what s says at each scrape among the metrics. It is called once.
func (m *Metrics) Collect(s Source) { m.registry.MustRegister(&stateCollector{s}) }

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Registry is where the metrics are, for tests.
func (m *Metrics) Registry() prometheus.Gatherer { return m.registry }

// Expect has a provider among the metrics before it goes down for the first time, which
// is no increase for Prometheus unless there was a 0 before.
func (m *Metrics) Expect(provider string, causes []string) {
	for _, cause := range causes {
		m.vecs.restarts.WithLabelValues(provider, cause)
	}
}

// Restarted counts that a provider went down or was replaced.
func (m *Metrics) Restarted(provider, cause string) {
	m.vecs.restarts.WithLabelValues(provider, cause).Inc()
}

// Reloaded counts a reload.
func (m *Metrics) Reloaded(ok bool) {
	outcome := "failed"
	if ok {
		outcome = "done"
	}
	m.vecs.reloads.WithLabelValues(outcome).Inc()
}

// Forget drops the series of a provider that is gone for good.
func (m *Metrics) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[string]*provider)
	for n, p := range *m.providers.Load() {
		if n != name {
			next[n] = p
		}
	}
	m.providers.Store(&next)
	of := prometheus.Labels{"provider": name}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.vecs.answers, m.vecs.answerTook, m.vecs.queued, m.vecs.notifications, m.vecs.notifyTook, m.vecs.stood, m.vecs.restarts} {
		v.DeletePartialMatch(of)
	}
}

// lazy is a counter that is made when there is something to count, so that what never
// happens is no series.
type lazy struct {
	c atomic.Pointer[prometheus.Counter]
}

func (l *lazy) inc(v *prometheus.CounterVec, labels func() []string) {
	c := l.c.Load()
	if c == nil {
		made := v.WithLabelValues(labels()...) // the same for all who make it
		l.c.Store(&made)
		c = &made
	}
	(*c).Inc()
}

// lazyObserver is the same for a histogram.
type lazyObserver struct {
	o atomic.Pointer[prometheus.Observer]
}

func (l *lazyObserver) observe(v *prometheus.HistogramVec, d time.Duration, labels func() []string) {
	o := l.o.Load()
	if o == nil {
		made := v.WithLabelValues(labels()...)
		l.o.Store(&made)
		o = &made
	}
	(*o).Observe(d.Seconds())
}

// provider holds one provider's series, so that counting looks nothing up.
type provider struct {
	verdicts           [mux.NumHooks][numVerdicts]lazy
	missing            [mux.NumHooks][mux.NumReasons]lazy
	notified           [mux.NumHooks][mux.NumReasons]lazy
	took               [mux.NumHooks]lazyObserver
	queued, notifyTook lazyObserver
}

func (m *Metrics) provider(name string) *provider {
	if p := (*m.providers.Load())[name]; p != nil {
		return p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.providers.Load()
	if p := old[name]; p != nil {
		return p
	}
	next := map[string]*provider{name: {}}
	for n, p := range old {
		next[n] = p
	}
	m.providers.Store(&next)
	return next[name]
}

// Decided implements mux.Recorder.
func (m *Metrics) Decided(_ context.Context, d *mux.Decision) {
	h := d.Event.Hook
	m.answers[h][d.Answer].inc(m.vecs.decisions, func() []string { return []string{h.String(), d.Answer.String()} })
	for i := range d.Asked {
		a := &d.Asked[i]
		if a.Unneeded {
			continue
		}
		p := m.provider(a.Provider)
		p.took[h].observe(m.vecs.answerTook, a.Took, func() []string { return []string{a.Provider, h.String()} })
		if a.Waited > 0 {
			p.queued.observe(m.vecs.queued, a.Waited, func() []string { return []string{a.Provider} })
		}
		if a.Reason == mux.ReasonNone {
			p.verdicts[h][a.Verdict].inc(m.vecs.answers, func() []string { return []string{a.Provider, h.String(), a.Verdict.String()} })
			continue
		}
		p.missing[h][a.Reason].inc(m.vecs.answers, func() []string { return []string{a.Provider, h.String(), a.Reason.String()} })
		m.vecs.stood.WithLabelValues(a.Provider, h.String(), a.Reason.String(), a.Policy.String()).Inc() // rare enough to look up
	}
}

// Notified implements mux.Recorder.
func (m *Metrics) Notified(n *mux.Notification) {
	p, h := m.provider(n.Provider), n.Event.Hook
	p.notified[h][n.Reason].inc(m.vecs.notifications, func() []string {
		outcome := delivered
		if n.Reason != mux.ReasonNone {
			outcome = n.Reason.String()
		}
		return []string{n.Provider, h.String(), outcome}
	})
	p.queued.observe(m.vecs.queued, n.Waited, func() []string { return []string{n.Provider} })
	if n.Reason == mux.ReasonNone {
		p.notifyTook.observe(m.vecs.notifyTook, n.Took, func() []string { return []string{n.Provider} })
	}
}

// Answered implements mux.Recorder.
func (m *Metrics) Answered(_ context.Context, ev *mux.Event, took time.Duration) {
	if o := m.answered[ev.Hook]; o != nil {
		o.Observe(took.Seconds())
	}
}

// BreakerChanged implements mux.Recorder: a scrape asks for the state itself.
func (m *Metrics) BreakerChanged(string, string, string) {}
