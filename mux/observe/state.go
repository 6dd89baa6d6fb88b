package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Source says how things are when somebody scrapes.
type Source interface {
	Providers() []ProviderState
	Brokers() []BrokerState
	// Stored is what waits to be delivered durably; nil if that cannot be said now.
	Stored() []StoredState
}

// ProviderState is how a provider is.
type ProviderState struct {
	Name                  string
	Status                string            // one of Statuses
	Breakers              map[string]string // by hook, or "notifications": closed, half-open or open
	LaneEvents, LaneBytes int64             // notifications that wait
	Dropped               map[string]int64  // by reason
	PutBack               map[string]int64  // by change
	Redacted              int64
}

// BrokerState is how a broker that has loaded hookmux is.
type BrokerState struct {
	Node    string
	Since   time.Time // when it last loaded hookmux
	Missing int       // hooks that are wanted and that it does not send
}

// StoredState is what is stored for a provider.
type StoredState struct {
	Provider      string
	Events, Bytes uint64
	Oldest        time.Time // zero: nothing is stored
	DeadLetters   uint64
}

// Statuses are what a provider can be doing.
var Statuses = []string{"starting", "up", "restarting", "quarantined", "draining", "disabled", "stopped"}

var breakerStates = []string{"closed", "half-open", "open"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	laneEvents    = desc("hookmux_lane_events", "Notifications that wait for a provider.", "provider")
	laneBytes     = desc("hookmux_lane_bytes", "How large the notifications are that wait for a provider.", "provider")
	laneDropped   = desc("hookmux_lane_dropped_total", "Notifications that a provider did not get, by reason.", "provider", "reason")
	breakerState  = desc("hookmux_breaker_state", "1 for the state that a breaker is in.", "provider", "breaker", "state")
	providerState = desc("hookmux_provider_state", "1 for what a provider is doing.", "provider", "state")
	reverted      = desc("hookmux_reverted_changes_total", "Changes of messages that a provider was not granted and that were put back.", "provider", "change")
	redactions    = desc("hookmux_redactions_total", "Requests from which something was taken out for a provider.", "provider")
	registered    = desc("hookmux_broker_registered_timestamp_seconds", "When a broker last loaded hookmux.", "node")
	storedEvents  = desc("hookmux_spool_events", "Events that are stored until a provider has handled them.", "provider")
	storedBytes   = desc("hookmux_spool_bytes", "How large the events are that are stored for a provider.", "provider")
	storedOldest  = desc("hookmux_spool_oldest_timestamp_seconds", "When the oldest event was stored that a provider has not handled; not there if there is none.", "provider")
	deadLetters   = desc("hookmux_spool_dead_letters", "Events that a provider did not handle in all its tries, and that are put aside.", "provider")
	missing       = desc("hookmux_broker_missing_hooks", "Hooks that are wanted and that a broker does not send, until it loads hookmux again.", "node")
)

// stateCollector asks a Source at each scrape.
type stateCollector struct{ source Source }

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{laneEvents, laneBytes, laneDropped, breakerState, providerState, reverted, redactions, registered, missing, storedEvents, storedBytes, storedOldest, deadLetters} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	oneOf := func(d *prometheus.Desc, is string, all []string, labels ...string) {
		for _, s := range all {
			v := 0.0
			if s == is {
				v = 1
			}
			gauge(d, v, append(labels[:len(labels):len(labels)], s)...)
		}
	}
	for _, p := range c.source.Providers() {
		gauge(laneEvents, float64(p.LaneEvents), p.Name)
		gauge(laneBytes, float64(p.LaneBytes), p.Name)
		for reason, n := range p.Dropped {
			counter(laneDropped, n, p.Name, reason)
		}
		for breaker, state := range p.Breakers {
			oneOf(breakerState, state, breakerStates, p.Name, breaker)
		}
		oneOf(providerState, p.Status, Statuses, p.Name)
		for change, n := range p.PutBack {
			counter(reverted, n, p.Name, change)
		}
		counter(redactions, p.Redacted, p.Name)
	}
	for _, b := range c.source.Brokers() {
		gauge(registered, seconds(b.Since), b.Node)
		gauge(missing, float64(b.Missing), b.Node)
	}
	for _, s := range c.source.Stored() {
		gauge(storedEvents, float64(s.Events), s.Provider)
		gauge(storedBytes, float64(s.Bytes), s.Provider)
		gauge(deadLetters, float64(s.DeadLetters), s.Provider)
		if !s.Oldest.IsZero() {
			gauge(storedOldest, seconds(s.Oldest), s.Provider)
		}
	}
}

// seconds is t as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
