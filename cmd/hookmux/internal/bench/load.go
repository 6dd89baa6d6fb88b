package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// load is how a system is called.
type load struct {
	kind     []mux.Hook // notifications or decisions
	duration time.Duration
	callers  int
	clients  int     // distinct client ids
	payload  int     // bytes
	events   uint64  // at least so many, whatever the duration
	rate     float64 // events per second; 0: each caller calls again at once

	// lenient leaves out the checks that a failing plugin would not pass, and
	// strict names the plugins that must have handled every event all the same.
	lenient bool
	strict  int // the first so many plugins
}

// sample is what one measurement gave.
type sample struct {
	Events  int           `json:"events"`
	Elapsed time.Duration `json:"elapsed_ns"` // until the last event was handled
	CPU     time.Duration `json:"cpu_ns"`     // of all processes but the load generator
	Hookmux time.Duration `json:"hookmux_ns"` // the part of CPU that is hookmux itself; 0: there is none
	P50     time.Duration `json:"p50_ns"`     // of what the caller waits
	P99     time.Duration `json:"p99_ns"`

	took []time.Duration // of each event, sorted
}

// newSample sorts took and reads the percentiles from it.
func newSample(took []time.Duration) sample {
	slices.Sort(took)
	return sample{Events: len(took), took: took, P50: percentile(took, 0.5), P99: percentile(took, 0.99)}
}

// plus is both measurements as one.
func (s sample) plus(o sample) sample {
	sum := newSample(slices.Concat(s.took, o.took))
	sum.Events = s.Events + o.Events // whether or not each was timed
	sum.Elapsed, sum.CPU, sum.Hookmux = s.Elapsed+o.Elapsed, s.CPU+o.CPU, s.Hookmux+o.Hookmux
	return sum
}

func (s sample) perSecond() float64   { return float64(s.Events) / s.Elapsed.Seconds() }
func (s sample) cpuPerEvent() float64 { return float64(s.CPU) / float64(s.Events) }

// callTimeout is EMQX's request_timeout.
const callTimeout = 5 * time.Second

// Notifications are acknowledged before they are handled. So that none is
// dropped, the load waits while so many events, or so many bytes, are not
// handled yet: half of what a lane holds by default.
const (
	windowEvents = mux.DefaultLaneEvents / 2
	windowBytes  = mux.DefaultLaneBytes / 2
)

// run puts the load on a system that is idle and comes back when it is again.
func (ld load) run(ctx context.Context, s *system) (sample, error) {
	h, err := s.pick(ld.kind)
	if err != nil {
		return sample{}, err
	}
	t, err := newTemplate(h, ld.payload)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tally := newTally(s, h)
	warnings, _ := s.warned()
	cpu, own := s.cpu()
	start := time.Now()
	r := &running{load: ld, system: s, template: t, gate: &gate{}, start: start, end: start.Add(ld.duration), fail: cancel}
	if !h.Valued() && len(s.plugins) > 0 {
		r.gate.window = min(windowEvents, max(1, windowBytes/uint64(len(t.body)+1024)))
		r.gate.handled = func() uint64 { return tally.least(ld.counted(s)) }
	}
	took := r.all(ctx)
	elapsed := time.Since(start)
	if r.err != nil {
		err := fmt.Errorf("%s, %s: %w", s.name, h, r.err)
		if n, last := s.warned(); n > warnings {
			err = fmt.Errorf("%w; it logged: %s", err, last)
		}
		return sample{}, err
	}
	if err := ctx.Err(); err != nil {
		return sample{}, err
	}
	out := newSample(took)
	out.Elapsed = elapsed
	if !h.Valued() {
		if err := tally.drained(ctx, ld.counted(s), uint64(out.Events)); err != nil {
			return out, fmt.Errorf("%s, %s: %w", s.name, h, err)
		}
		out.Elapsed = time.Since(start)
	}
	quiet := settle(ctx, s)
	cpu2, own2 := s.cpu()
	out.CPU, out.Hookmux = cpu2-cpu, own2-own
	if len(s.plugins) == 0 && !h.Valued() {
		out.Elapsed = quiet.Sub(start)
	}
	if err := tally.exact(ld.counted(s), uint64(out.Events)); err != nil {
		return out, fmt.Errorf("%s, %s: %w", s.name, h, err)
	}
	if n, last := s.warned(); n > warnings && !ld.lenient {
		return out, fmt.Errorf("%s, %s: it logged: %s", s.name, h, last)
	}
	if out.Events == 0 {
		return out, errors.New("no event was sent")
	}
	return out, nil
}

// counted is how many of the plugins must handle every event.
func (ld load) counted(s *system) int {
	if ld.lenient {
		return min(ld.strict, len(s.plugins))
	}
	return len(s.plugins)
}

// settle waits until the system has nothing left to do: the last answers are
// on their way when the last event has been handled. It says since when. Of
// plugins that do not count it is the only sign.
func settle(ctx context.Context, s *system) time.Time {
	const step, calm = 20 * time.Millisecond, 3
	if len(s.plugins) > 0 {
		time.Sleep(step)
		return time.Now()
	}
	last, _ := s.cpu()
	quiet, since := 0, time.Now()
	for end := time.Now().Add(patience); quiet < calm*4 && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(step)
		now, _ := s.cpu()
		if quiet++; now > last+tick/2 {
			quiet, since, last = 0, time.Now(), now
		}
	}
	return since
}

// tally is what the plugins have counted since its making.
type tally struct {
	system *system
	valued bool
	base   []int64
}

func newTally(s *system, h mux.Hook) *tally {
	t := &tally{system: s, valued: h.Valued()}
	for i := range s.plugins {
		t.base = append(t.base, t.count(i))
	}
	return t
}

func (t *tally) count(i int) int64 {
	if t.valued {
		return t.system.plugins[i].decided.Load()
	}
	return t.system.plugins[i].notified.Load()
}

// least is what the slowest of the first n plugins has handled.
func (t *tally) least(n int) uint64 {
	least := int64(math.MaxInt64)
	for i := range n {
		least = min(least, t.count(i)-t.base[i])
	}
	return uint64(least)
}

// drained waits until each of the first n plugins has handled so many events.
func (t *tally) drained(ctx context.Context, n int, events uint64) error {
	if n == 0 {
		return nil
	}
	progress, since := t.least(n), time.Now()
	for progress < events {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if now := t.least(n); now != progress {
			progress, since = now, time.Now()
		} else if time.Since(since) > callTimeout {
			return fmt.Errorf("events were lost: %d were sent, a plugin has handled %d and gets no more", events, progress)
		}
	}
	return nil
}

// exact fails unless each of the first n plugins has handled just so many.
func (t *tally) exact(n int, events uint64) error {
	for i := range n {
		if got := t.count(i) - t.base[i]; got != int64(events) {
			return fmt.Errorf("the sums are wrong: %d events were sent, plugin %d has handled %d", events, i, got)
		}
	}
	return nil
}

// running is one load under way.
type running struct {
	load
	system     *system
	template   *template
	gate       *gate
	start, end time.Time

	failOnce sync.Once
	fail     context.CancelFunc
	err      error
}

// all runs the callers and gives what each event took, in no order.
func (r *running) all(ctx context.Context) []time.Duration {
	r.gate.open()
	keeper := make(chan struct{})
	go func() {
		defer close(keeper)
		r.gate.keep(ctx)
	}()
	var wg sync.WaitGroup
	took := make([][]time.Duration, r.callers)
	for i := range r.callers {
		wg.Go(func() { took[i] = r.caller(ctx, i) })
	}
	wg.Wait()
	r.gate.close()
	<-keeper
	return slices.Concat(took...)
}

// caller calls until the time is up or something is wrong.
func (r *running) caller(ctx context.Context, i int) (took []time.Duration) {
	var pause time.Duration
	next := r.start
	if r.rate > 0 {
		pause = time.Duration(float64(r.callers) / r.rate * float64(time.Second))
		next = next.Add(pause * time.Duration(i) / time.Duration(r.callers))
	}
	body := slices.Clone(r.template.body)
	for {
		now := time.Now()
		if pause > 0 {
			if now.Before(next) {
				if !sleep(ctx, next.Sub(now)) || !next.Before(r.end) {
					return took
				}
				now = time.Now()
			} else {
				now = next // what it waited for the call before counts
			}
			next = next.Add(pause)
		}
		if !now.Before(r.end) && r.gate.issued.Load() >= r.events || ctx.Err() != nil {
			return took
		}
		n := r.gate.ticket()
		if pause == 0 {
			now = time.Now()
		}
		r.template.setClient(body, n%uint64(r.clients))
		if err := r.call(ctx, body); err != nil {
			r.failOnce.Do(func() { r.err = err; r.fail() })
			return took
		}
		took = append(took, time.Since(now))
	}
}

// call sends one event to each server, one after another as EMQX does.
func (r *running) call(ctx context.Context, body []byte) error {
	c := r.template.connection(body, poolSize)
	for _, pool := range r.system.servers {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		var resp rawcodec.Message
		err := pool[c].Invoke(ctx, r.template.method, rawcodec.Message(body), &resp)
		cancel()
		if err != nil {
			return err
		}
		if r.template.hook != mux.MessagePublish || len(r.system.plugins) == 0 {
			continue
		}
		want := len(r.system.plugins) / len(r.system.servers)
		if r.system.passes {
			want = -1 // an answer without a message
		}
		if got := rewrites(resp); got != want && (!r.lenient || got < r.strict) {
			return fmt.Errorf("an answer was rewritten by %d plugins instead of %d", got, want)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
