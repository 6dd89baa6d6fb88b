package mux

import (
	"context"
	"sync"
	"time"
)

// show tells the observers what was decided: they get the request with the value
// in it, by the way that notifications take. Filters are held against the topic
// that the message has in the end.
func (v *value) show(observers []route) {
	for _, o := range v.seenBy(observers, func(d Delivery) bool { return d != Durable }) {
		o.p.lane.push(noWait, o.ev)
	}
}

// seenBy is the event as it was decided and the observers who are to be told of it, of
// those with such a delivery.
func (v *value) seenBy(observers []route, with func(Delivery) bool) (out []telling) {
	if len(observers) == 0 {
		return nil
	}
	ev := *v.ev
	ev.Body, ev.msg, ev.topic = v.request(), v.msg, v.topic
	seen := views{ev: &ev}
	for i := range observers {
		r := &observers[i]
		if with(r.p.spec.Delivery[ev.Hook]) && (!ev.Hook.HasTopics() || r.takes(ev.topic)) && r.p.inScope(&ev) {
			out = append(out, telling{r.p, seen.shownTo(r)})
		}
	}
	return out
}

// store stores what was decided for the observers to whom it is delivered durably. If
// that fails for one, its failure policy decides.
func (v *value) store(ctx context.Context, observers []route) {
	to := v.seenBy(observers, func(d Delivery) bool { return d == Durable })
	if len(to) == 0 {
		return
	}
	if v.ev.excess { // for which nobody is to be waited
		for _, o := range to {
			v.notStored(o, failure{ReasonOverload, errExcess})
		}
		return
	}
	ctx, cancel := context.WithDeadline(ctx, v.until)
	defer cancel()
	failures := make([]failure, len(to))
	var wg sync.WaitGroup
	for i := range to[1:] {
		wg.Go(func() { failures[i+1] = to[i+1].p.store(ctx, to[i+1].ev) })
	}
	failures[0] = to[0].p.store(ctx, to[0].ev)
	wg.Wait()
	for i, f := range failures {
		if f.reason != ReasonNone {
			v.notStored(to[i], f)
		}
	}
}

// storeShare is what is kept for the store of the time that a broker waits, so that a provider that
// uses up its own does not have the message refused for want of it.
func storeShare(wait time.Duration) time.Duration { return min(wait/4, 500*time.Millisecond) }

// notStored takes into the value that a durable observer will not hear of it.
func (v *value) notStored(to telling, f failure) {
	p := to.p
	p.lose(to.ev, f.reason, f.err)
	cause := ReasonError
	if f.reason != ReasonStoreFailed { // there is too much of it
		cause = ReasonOverload
	}
	policy := p.spec.OnFailure[v.ev.Hook][cause]
	if policy == Allow {
		policy = Ignore // it had no say in what was decided
	}
	if policy == Deny && v.verdict() != VerdictDeny && v.verdict() != VerdictDrop {
		v.fail(p.Name(), policy)
		v.by = p.Name() + notStored
	}
	v.record.notStored(p, f, v.start, policy)
}

// notStored is said of a durable observer whose failure policy decided.
const notStored = ", for which it could not be stored"

// noWait has ended: for an observer no broker waits, whatever its lane's overflow
// policy.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
