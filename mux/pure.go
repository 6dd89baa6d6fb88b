package mux

import "context"

// early asks the pure providers of a chain before it is their turn, with the
// value at hand. When that has changed by then, they are asked again.
type early struct {
	ctx     context.Context // the event's
	table   *table
	routes  []route
	version int            // of the value that they are asked with
	asked   []<-chan reply // by route; nil: not asked
	cancel  context.CancelFunc
}

func newEarly(ctx context.Context, t *table, routes []route) *early {
	return &early{ctx: ctx, table: t, routes: routes, version: -1, cancel: func() {}}
}

// reply is that of the provider whose turn it is, routes[i]. Before it is waited
// for, all pure ones that are still to come are asked.
func (e *early) reply(v *value, i int) reply {
	if e.version != v.version {
		e.cancel() // nobody waits for them any more
		var ctx context.Context
		ctx, e.cancel = context.WithCancel(e.ctx)
		e.version, e.asked = v.version, make([]<-chan reply, len(e.routes))
		for j := i + 1; j < len(e.routes); j++ {
			if r := &e.routes[j]; r.pure && r.asksAbout(v) {
				e.asked[j] = e.ask(ctx, r.p, v.query())
			}
		}
	}
	if e.asked[i] == nil {
		return e.routes[i].p.ask(e.ctx, v.query())
	}
	r := <-e.asked[i]
	if r.bug != "" {
		panic(r.bug)
	}
	return r
}

func (e *early) ask(ctx context.Context, p *Provider, q query) <-chan reply {
	answer := make(chan reply, 1)
	e.table.users.enter() // it may be on its way longer than the event
	go func() {
		defer e.table.users.leave()
		if ctx.Err() != nil && e.ctx.Err() == nil {
			return // the value has changed already, and nobody waits
		}
		answer <- p.askSafely(ctx, q)
	}()
	return answer
}
