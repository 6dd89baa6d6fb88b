package mux

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errNotItsFault goes to the breaker for a call that says nothing about the
// provider's health: the broker gave up, too little time was left for it, or it
// answered, if with an error.
var errNotItsFault = errors.New("not the provider's fault")

// failure is a missing answer: why, in a word and in a sentence.
type failure struct {
	reason Reason
	err    error
}

// reply is what came of asking a provider: an answer, or why there is none.
type reply struct {
	answer
	failure
	hook         Hook
	start        time.Time // this and the next two only if the question is timed
	waited, took time.Duration
	bug          string // a panic of our own
}

// ask asks the provider behind its guard: concurrency limit, then breaker, then
// deadline. It changes nothing but the provider's counters, so that several may
// be asked at a time.
func (p *Provider) ask(ctx context.Context, q query) (r reply) {
	if q.timed {
		r.start = time.Now()
	}
	r.answer, r.failure = p.guarded(ctx, &q, &r.waited)
	r.hook = q.ev.Hook
	if q.timed {
		r.took = time.Since(r.start)
	}
	return r
}

func (p *Provider) guarded(ctx context.Context, q *query, waited *time.Duration) (a answer, f failure) {
	h := q.ev.Hook
	if p.spec.When != nil {
		ok, err := p.matches(q.event())
		switch {
		case err != nil:
			return a, failure{ReasonError, err}
		case !ok:
			return answer{typ: typeIgnore, unasked: true}, failure{}
		}
	}
	if p.held.Load() {
		return a, failure{ReasonDown, ErrHeld}
	}
	if q.ev.excess {
		return a, failure{ReasonOverload, errExcess}
	}
	if !p.IsUp() {
		return a, failure{ReasonDown, ErrDown}
	}
	deadline := q.deadline
	// What it might have had, had nobody before it in the chain used any time.
	fair := min(deadline.Sub(q.start), p.spec.Timeout)
	if mine := time.Now().Add(p.spec.Timeout); mine.Before(deadline) {
		deadline = mine
	}
	limited := newLimited(ctx, deadline)
	defer limited.end()
	ctx = limited

	if !p.slots.TryAcquire(1) {
		before := time.Now()
		if p.slots.Acquire(ctx, 1) != nil {
			return a, p.overloaded(ctx)
		}
		*waited = time.Since(before)
		if time.Until(deadline) < fair/2 {
			// Asked now, it could hardly answer, and the next one could not either.
			p.slots.Release(1)
			return a, p.overloaded(ctx)
		}
	}
	defer p.slots.Release(1)
	l := p.link.Load()
	if l == nil {
		return a, failure{ReasonDown, ErrDown}
	}

	if l.decisions[h] == nil {
		return answer{typ: typeIgnore}, failure{} // it has just started, and turns out not to decide this
	}
	done, err := l.decisions[h].Allow()
	if err != nil {
		return a, failure{ReasonBreakerOpen, fmt.Errorf("its breaker for %s is open", h)}
	}
	req := q.ev.redacted(q.body, l.hide[h])
	if len(req) != len(q.body) {
		p.stats.Redacted.Add(1)
	}
	had := time.Until(deadline)
	raw, err := l.call(ctx, func(ctx context.Context) ([]byte, error) { return l.conn.Decide(ctx, h, req) })
	if err == nil {
		a, err := parseAnswer(h, raw)
		if err == nil {
			err = a.merge(h, q.msg, p.grants)
		}
		done(err)
		if err != nil {
			return a, failure{ReasonInvalid, err}
		}
		p.stats.Decided[h].Add(1)
		return a, failure{}
	}

	f = classify(ctx, err)
	switch {
	case f.reason == ReasonCanceled, errors.Is(err, ErrAnswered), f.reason == ReasonTimeout && (had < fair/2 || had < min(p.spec.Timeout, q.most)/4):
		// The last two: others in the chain have used up its time, or the broker is
		// in a hurry that must not open the breaker for all brokers.
		done(errNotItsFault)
	default:
		done(err)
	}
	if f.reason == ReasonTimeout {
		f.err = fmt.Errorf("no answer within %s", had.Round(time.Millisecond))
	}
	return a, f
}

func (p *Provider) overloaded(ctx context.Context) failure {
	if errors.Is(ctx.Err(), context.Canceled) {
		return failure{ReasonCanceled, ctx.Err()}
	}
	return failure{ReasonOverload, fmt.Errorf("%d decisions were already waiting for it", p.spec.Concurrency)}
}

// call runs f and turns a panic of the connection's code into an error.
func (l *link) call(ctx context.Context, f func(context.Context) ([]byte, error)) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in the connection: %v", r)
		}
	}()
	return f(ctx)
}

func classify(ctx context.Context, err error) failure {
	switch {
	case errors.Is(err, ErrDown), errors.Is(err, ErrNotSent):
		return failure{ReasonDown, err}
	case errors.Is(ctx.Err(), context.Canceled) && errors.Is(err, context.Canceled):
		return failure{ReasonCanceled, err}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{ReasonTimeout, err}
	default:
		return failure{ReasonError, err}
	}
}

// notify delivers one notification over l. retry means that the provider has
// certainly not seen it and it should be tried again on the next link.
func (p *Provider) notify(ctx context.Context, l *link, ev *Event) (r Reason, retry bool, err error) {
	done, err := l.notify.Allow()
	if err != nil {
		return ReasonBreakerOpen, true, err
	}
	cctx, cancel := context.WithTimeout(ctx, p.spec.Timeout)
	defer cancel()
	req := ev.redacted(ev.Body, l.hide[ev.Hook])
	p.sending(ev)
	_, err = l.call(cctx, func(ctx context.Context) ([]byte, error) { return nil, l.conn.Notify(ctx, ev.Hook, req) })
	if err == nil {
		done(nil)
		return ReasonNone, false, nil
	}
	f := classify(cctx, err)
	if f.reason == ReasonCanceled || errors.Is(err, ErrAnswered) {
		done(errNotItsFault)
	} else {
		done(err)
	}
	return f.reason, errors.Is(err, ErrNotSent), f.err
}
