package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// round is one measurement of each mode of a group, taken one after another.
type round map[string]sample

// ratio is one line of the result.
type ratio struct {
	name    string
	what    string
	limit   float64
	atLeast bool     // the limit is the least, not the most
	group   string   // what it is measured together with
	modes   []string // what it compares
	of      func(r round) float64
}

// ratios is the table of all. To add one, add a row, and its modes below.
var ratios = []ratio{
	{
		name: "async1_cpu", what: "CPU of a notification: hookmux + 1 plugin ÷ direct", limit: 1.15,
		group: "notifications", modes: []string{"direct", "1 plugin"},
		of: func(r round) float64 { return r["1 plugin"].cpuPerEvent() / r["direct"].cpuPerEvent() },
	},
	{
		name: "sync1_cpu", what: "CPU of a rewritten message.publish: hookmux + 1 plugin ÷ direct", limit: 1.6,
		group: "decisions", modes: []string{"direct", "1 plugin"},
		of: func(r round) float64 { return r["1 plugin"].cpuPerEvent() / r["direct"].cpuPerEvent() },
	},
	{
		name: "async_each_cpu", what: "CPU of a notification: each further plugin ÷ direct", limit: 0.25,
		group: "notifications", modes: []string{"direct", "1 plugin", "4 plugins"},
		of: each,
	},
	{
		name: "sync_each_cpu", what: "CPU of a rewritten message.publish: each further plugin ÷ direct", limit: 0.6,
		group: "decisions", modes: []string{"direct", "1 plugin", "4 plugins"},
		of: each,
	},
	{
		name: "async4_vs_serial4_throughput", what: "notifications per second: hookmux + 4 plugins ÷ 4 direct servers called in turn, as EMQX does", limit: 3, atLeast: true,
		group: "notifications", modes: []string{"4 plugins", "4 direct in turn"},
		of: func(r round) float64 { return r["4 plugins"].perSecond() / r["4 direct in turn"].perSecond() },
	},
	{
		name: "sync1_p50", what: "p50 of message.publish, one caller: hookmux + 1 plugin ÷ direct", limit: 2.2,
		group: "one caller", modes: []string{"direct, one caller", "1 plugin, one caller"},
		of: func(r round) float64 {
			return float64(r["1 plugin, one caller"].P50) / float64(r["direct, one caller"].P50)
		},
	},
	{
		name: "chain4_pure_p50", what: "p50 of message.publish, one caller: 4 pure plugins that pass ÷ 1", limit: 1.6,
		group: "pure plugins", modes: []string{"1 pure plugin", "4 pure plugins"},
		of: func(r round) float64 { return float64(r["4 pure plugins"].P50) / float64(r["1 pure plugin"].P50) },
	},
	{
		name: "observe_async_cpu", what: "CPU of a notification: metrics, trail and a follower ÷ none of them", limit: 1.1,
		group: "watched notifications", modes: []string{"unwatched", "followed"},
		of: func(r round) float64 { return r["followed"].cpuPerEvent() / r["unwatched"].cpuPerEvent() },
	},
	{
		name: "observe_sync_cpu", what: "CPU of a rewritten message.publish: metrics, trail and a follower ÷ none of them", limit: 1.1,
		group: "watched decisions", modes: []string{"unwatched", "followed"},
		of: func(r round) float64 { return r["followed"].cpuPerEvent() / r["unwatched"].cpuPerEvent() },
	},
	{
		name: "slow1_p99", what: "p99 of a notification: 1 of 4 plugins sleeps 100 ms ÷ none", limit: 1.2,
		group: "slow plugin", modes: []string{"none slow", "1 of 4 slow"},
		of: func(r round) float64 { return float64(r["1 of 4 slow"].P99) / float64(r["none slow"].P99) },
	},
	{
		name: "durable1_p99", what: "p99 of a notification: 1 of 4 plugins gets it durably and sleeps 100 ms ÷ does not sleep", limit: 1.2,
		group: "stuck durable plugin", modes: []string{"none stuck", "1 of 4 stuck"},
		of: func(r round) float64 { return float64(r["1 of 4 stuck"].P99) / float64(r["none stuck"].P99) },
	},
	{
		name: "durable1_decision_p99", what: "p99 of message.publish: 1 of 4 plugins watches it durably and sleeps 100 ms ÷ does not sleep", limit: 1.2,
		group: "decisions, stuck durable plugin", modes: []string{"none stuck", "1 of 4 stuck"},
		of: func(r round) float64 { return float64(r["1 of 4 stuck"].P99) / float64(r["none stuck"].P99) },
	},
	{
		name: "durable_throughput", what: "notifications per second: delivered durably ÷ async", limit: 0.25, atLeast: true,
		group: "durable delivery", modes: []string{"async", "durable"},
		of: func(r round) float64 { return r["durable"].perSecond() / r["async"].perSecond() },
	},
	{
		name: "durable_own_throughput", what: "notifications per second, delivered durably: hookmux's own store ÷ a nats-server", limit: 0.8, atLeast: true,
		group: "durable delivery, stores", modes: []string{"own store", "nats-server"},
		of: func(r round) float64 { return r["own store"].perSecond() / r["nats-server"].perSecond() },
	},
	{
		name: "forward_sql_throughput", what: "messages per second that forward-sql takes out of the durable store into PostgreSQL ÷ psql's COPY of the same rows", limit: 0.1, atLeast: true,
		group: "forward-sql", modes: []string{"forward-sql", "COPY"},
		of: func(r round) float64 { return r["forward-sql"].perSecond() / r["COPY"].perSecond() },
	},
	{
		name: "crash1_p99", what: "p99 of message.publish: 1 of 4 plugins killed every second ÷ none", limit: 2,
		group: "crashing plugin", modes: []string{"none crashes", "1 of 4 killed"},
		of: func(r round) float64 { return float64(r["1 of 4 killed"].P99) / float64(r["none crashes"].P99) },
	},
}

func each(r round) float64 {
	return (r["4 plugins"].cpuPerEvent() - r["1 plugin"].cpuPerEvent()) / 3 / r["direct"].cpuPerEvent()
}

// mode is one thing that is measured.
type mode struct {
	name string
	run  func(ctx context.Context, l *lab, d time.Duration) (sample, error)
	// cold modes measure what each pair starts anew and warms up itself.
	cold bool
}

// groups are the modes that run in turns, by the name that ratios give. What
// is sensitive to a busy machine takes turns often: each mode of a pair is
// measured in so many slices, which are put together.
var groups = []struct {
	name   string
	slices int
	modes  []mode
}{
	{"notifications", 2, []mode{
		{name: "direct", run: direct(1, notified)},
		{name: "1 plugin", run: behind(1, notified)},
		{name: "4 plugins", run: behind(4, notified)},
		{name: "4 direct in turn", run: direct(4, notified)},
	}},
	{"decisions", 2, []mode{
		{name: "direct", run: direct(1, decided)},
		{name: "1 plugin", run: behind(1, decided)},
		{name: "4 plugins", run: behind(4, decided)},
	}},
	{"one caller", 4, []mode{
		{name: "direct, one caller", run: direct(1, alone)},
		{name: "1 plugin, one caller", run: behind(1, alone)},
	}},
	{"pure plugins", 4, []mode{
		{name: "1 pure plugin", run: pure(1)},
		{name: "4 pure plugins", run: pure(4)},
	}},
	{"watched notifications", 4, []mode{
		{name: "unwatched", run: watched(unwatched, notified)},
		{name: "followed", run: watched(followed, notified)},
	}},
	{"watched decisions", 4, []mode{
		{name: "unwatched", run: watched(unwatched, decided)},
		{name: "followed", run: watched(followed, decided)},
	}},
	{"slow plugin", 5, []mode{
		{name: "none slow", run: slow(0)},
		{name: "1 of 4 slow", run: slow(100 * time.Millisecond)},
	}},
	{"stuck durable plugin", 5, []mode{
		{name: "none stuck", run: stuck(0, notified)},
		{name: "1 of 4 stuck", run: stuck(100*time.Millisecond, notified)},
	}},
	{"decisions, stuck durable plugin", 5, []mode{
		{name: "none stuck", run: stuck(0, published)},
		{name: "1 of 4 stuck", run: stuck(100*time.Millisecond, published)},
	}},
	{"durable delivery", 2, []mode{
		{name: "async", run: delivery(async)},
		{name: "durable", run: delivery(durable)},
	}},
	{"durable delivery, stores", 2, []mode{
		{name: "own store", run: delivery(durable)},
		{name: "nats-server", run: delivery(durableNATS)},
	}},
	{"forward-sql", 1, []mode{
		{name: "forward-sql", run: drained},
		{name: "COPY", run: copied},
	}},
	{"crashing plugin", 3, []mode{
		{name: "none crashes", run: crash(false), cold: true},
		{name: "1 of 4 killed", run: crash(true), cold: true},
	}},
}

func notified(ld *load) { ld.kind = notifications }
func decided(ld *load)  { ld.kind = decisions }
func alone(ld *load)    { ld.kind, ld.callers = decisions, 1 }

// warmUp is how long each mode runs before the first pair.
const warmUp = 300 * time.Millisecond

// ratios measures group by group. A group that fails gives no ratio and does
// not keep the others from theirs.
func (l *lab) ratios(ctx context.Context, rep *report) (errs []error) {
	for _, g := range groups {
		var wanted []ratio
		var modes []mode
		for _, r := range ratios {
			if r.group == g.name && l.opts.wants(r.name) {
				wanted = append(wanted, r)
			}
		}
		for _, m := range g.modes {
			if slices.ContainsFunc(wanted, func(r ratio) bool { return slices.Contains(r.modes, m.name) }) {
				modes = append(modes, m)
			}
		}
		if len(wanted) == 0 || ctx.Err() != nil {
			continue
		}
		rounds, err := l.rounds(ctx, g.name, g.slices, modes)
		if err != nil {
			for _, r := range wanted {
				rep.failed(r, err)
			}
			if why := notHere(""); !errors.As(err, &why) {
				errs = append(errs, fmt.Errorf("%s: %w", g.name, err))
			}
			continue
		}
		for _, m := range modes {
			rep.mode(g.name, m.name, rounds)
		}
		for _, r := range wanted {
			rep.ratio(r, rounds)
		}
	}
	return errs
}

// rounds runs the modes in turns, A B A B.
func (l *lab) rounds(ctx context.Context, group string, slices int, modes []mode) ([]round, error) {
	l.progress("%s: warming up", group)
	for _, m := range modes {
		if m.cold {
			continue
		}
		if _, err := m.run(ctx, l, warmUp); err != nil {
			return nil, err
		}
	}
	var all []round
	for i := range l.opts.Pairs {
		l.progress("%s: %d of %d", group, i+1, l.opts.Pairs)
		r, err := l.round(ctx, slices, modes)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (l *lab) round(ctx context.Context, slices int, modes []mode) (round, error) {
	defer l.endRound()
	r := make(round)
	for range slices {
		for _, m := range modes {
			s, err := m.run(ctx, l, l.opts.Duration/time.Duration(slices))
			if err != nil {
				return nil, err
			}
			r[m.name] = r[m.name].plus(s)
		}
	}
	return r, nil
}

// behind loads hookmux with so many plugins.
func behind(plugins int, change func(*load)) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s, err := l.mux(ctx, plugins)
		if err != nil {
			return sample{}, err
		}
		ld := l.load()
		ld.duration = d
		change(&ld)
		return ld.run(ctx, s)
	}
}

// direct loads so many direct servers, one after another in each event.
func direct(servers int, change func(*load)) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s, err := l.directs(ctx, servers)
		if err != nil {
			return sample{}, err
		}
		ld := l.load()
		ld.duration = d
		change(&ld)
		return ld.run(ctx, s)
	}
}

// pure has one caller ask hookmux with so many pure plugins.
func pure(plugins int) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s, err := l.pure(ctx, plugins)
		if err != nil {
			return sample{}, err
		}
		ld := l.load()
		ld.duration = d
		alone(&ld)
		return ld.run(ctx, s)
	}
}
