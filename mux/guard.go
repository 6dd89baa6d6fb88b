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

// decide asks the provider about v behind its guard (concurrency limit, then
// breaker, then deadline) and takes its answer into v. The chain as a
// whole has from start to deadline.
func (p *Provider) decide(ctx context.Context, v *value, start, deadline time.Time) failure {
	h := v.ev.Hook
	if !p.IsUp() {
		return failure{ReasonDown, ErrDown}
	}
	// What it might have had, had nobody before it in the chain used any time.
	fair := min(deadline.Sub(start), p.spec.Timeout)
	if mine := time.Now().Add(p.spec.Timeout); mine.Before(deadline) {
		deadline = mine
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	if !p.slots.TryAcquire(1) {
		if p.slots.Acquire(ctx, 1) != nil {
			return p.overloaded(ctx)
		}
		if time.Until(deadline) < fair/2 {
			// Asked now, it could hardly answer, and the next one could not either.
			p.slots.Release(1)
			return p.overloaded(ctx)
		}
	}
	defer p.slots.Release(1)
	l := p.link.Load()
	if l == nil {
		return failure{ReasonDown, ErrDown}
	}

	if l.decisions[h] == nil {
		return failure{} // it has just started, and turns out not to decide this
	}
	done, err := l.decisions[h].Allow()
	if err != nil {
		return failure{ReasonBreakerOpen, fmt.Errorf("its breaker for %s is open", h)}
	}
	had := time.Until(deadline)
	raw, err := l.call(ctx, func(ctx context.Context) ([]byte, error) { return l.conn.Decide(ctx, h, v.request()) })
	if err == nil {
		a, err := parseAnswer(h, raw)
		if err == nil {
			err = v.apply(p.spec.Name, a)
		}
		done(err)
		if err != nil {
			return failure{ReasonInvalid, err}
		}
		p.stats.Decided[h].Add(1)
		return failure{}
	}

	f := classify(ctx, err)
	switch {
	case f.reason == ReasonCanceled, errors.Is(err, ErrAnswered), f.reason == ReasonTimeout && had < fair/2:
		done(errNotItsFault)
	default:
		done(err)
	}
	if f.reason == ReasonTimeout {
		f.err = fmt.Errorf("no answer within %s", had.Round(time.Millisecond))
	}
	return f
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
func (p *Provider) notify(ctx context.Context, l *link, h Hook, body []byte) (r Reason, retry bool, err error) {
	done, err := l.notify.Allow()
	if err != nil {
		return ReasonBreakerOpen, true, err
	}
	cctx, cancel := context.WithTimeout(ctx, p.spec.Timeout)
	defer cancel()
	_, err = l.call(cctx, func(ctx context.Context) ([]byte, error) { return nil, l.conn.Notify(ctx, h, body) })
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
