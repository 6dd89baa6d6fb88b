package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/observe"
)

// Causes of a restart that are not a host.Cause: somebody wanted it.
const (
	causeConfig   = "config_changed"
	causeOperator = "operator"
)

// newMetrics are the App's metrics; they show how it is while it runs.
func newMetrics(a *App) *observe.Metrics {
	b := observe.Build{Version: a.opts.Version, GoVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	m := observe.NewMetrics(b)
	m.Collect(scrape{a})
	return m
}

// causes are all of them.
func causes() []string {
	all := []string{causeConfig, causeOperator}
	for _, c := range host.Causes() {
		all = append(all, string(c))
	}
	return all
}

// wentDown counts a provider that went down by itself.
func (a *App) wentDown(provider string, why host.Cause) { a.metrics.Restarted(provider, string(why)) }

// scrape is the App as package observe sees it.
type scrape struct{ a *App }

// Providers implements observe.Source.
func (s scrape) Providers() (out []observe.ProviderState) {
	s.a.mu.Lock()
	units := s.a.units
	s.a.mu.Unlock()
	for _, u := range units {
		p := statusOf(u, s.a.since)
		stats := u.provider.Stats()
		state := observe.ProviderState{
			Name: p.Name, Status: p.Status, Breakers: p.Breakers, LaneEvents: p.WaitingEvents, LaneBytes: p.WaitingBytes,
			Dropped: make(map[string]int64), PutBack: make(map[string]int64), Redacted: stats.Redacted.Load(),
		}
		for r := mux.ReasonNone + 1; int(r) < mux.NumReasons; r++ {
			state.Dropped[r.String()] = stats.Dropped[r].Load() // 0, too: see Metrics.Expect
		}
		for c := range mux.Change(mux.NumChanges) {
			if n := stats.PutBack[c].Load(); n != 0 {
				state.PutBack[c.String()] = n
			}
		}
		out = append(out, state)
	}
	return out
}

// Brokers implements observe.Source.
func (s scrape) Brokers() (out []observe.BrokerState) {
	if s.a.mux == nil { // not started yet
		return nil
	}
	for _, r := range s.a.mux.Registrations() {
		out = append(out, observe.BrokerState{Node: r.Node, Since: r.Since, Missing: len(r.Missing)})
	}
	return out
}

// storeAnswers is how long a scrape waits for a store to say what it has.
const storeAnswers = 2 * time.Second

// Stored implements observe.Source.
func (s scrape) Stored() (out []observe.StoredState) {
	store := s.a.openedSpool()
	if store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.a.life, storeAnswers)
	defer cancel()
	list, err := store.List(ctx)
	if err != nil { // of which the store's own log tells
		return nil
	}
	for _, i := range list {
		out = append(out, observe.StoredState{Provider: i.Provider, Events: i.Events, Bytes: i.Bytes, Oldest: i.Oldest, DeadLetters: i.Dead})
	}
	return out
}

// recorder is who is told of events.
func (a *App) recorder() mux.Recorder {
	switch {
	case a.opts.Unwatched:
		return nil
	case a.tracing != nil:
		return mux.Recorders{a.trail, a.metrics, a.tracing}
	}
	return mux.Recorders{a.trail, a.metrics}
}

// lastSpans is how long the spans that wait at the end may take to be sent.
const lastSpans = 2 * time.Second

func (a *App) startTracing() (err error) {
	c := a.cfg.Tracing
	if c.Endpoint == "" {
		return nil
	}
	if a.tracing, err = observe.NewTracing(observe.TracingOptions(c), a.opts.Version, a.log); err != nil {
		return err
	}
	a.undo = append(a.undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
		defer cancel()
		a.tracing.Close(ctx)
	})
	a.log.Info("traces go out", "endpoint", c.Endpoint)
	return nil
}
