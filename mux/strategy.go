package mux

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Strategy is how the providers' answers to a valued hook become one. The zero
// value is EMQX's chain.
type Strategy uint8

// The strategies. All and Any are for access hooks; the providers are asked
// beside each other, about the decision as the broker sent it, and the rest are
// no longer waited for once it is decided. See "Strategies" in the package
// documentation.
const (
	Chain Strategy = iota // one after another, each with the value so far; the last word counts
	All                   // everybody who has an opinion must allow
	Any                   // it is enough that one allows
)

var strategyNames = []string{"chain", "all", "any"}

func (s Strategy) String() string { return strategyNames[s] }

// StrategyNames lists the words that ParseStrategy takes.
func StrategyNames() []string { return strategyNames }

// ParseStrategy reads a word of the config.
func ParseStrategy(s string) (Strategy, error) {
	for i, n := range strategyNames {
		if s == n {
			return Strategy(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no strategy: use chain, all or any", s)
}

// numbered is a reply of the provider in routes[i].
type numbered struct {
	i int
	reply
}

// strategy is how the answers to a hook are merged. A message goes from one
// provider to the next, whatever the options say.
func (t *table) strategy(h Hook) Strategy {
	if !h.Access() {
		return Chain
	}
	return t.opts.Strategy[h]
}

// vote asks all providers at a time and merges their answers as All or Any.
func vote(ctx context.Context, v *value, t *table) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // gives up who is not waited for
	q := v.query()
	routes := t.routes[v.ev.Hook]
	replies := make(chan numbered, len(routes))
	if len(routes) == 1 {
		replies <- numbered{0, routes[0].p.ask(ctx, q)}
	} else {
		for i := range routes {
			t.users.enter() // it may be on its way longer than the event
			go func() {
				defer t.users.leave()
				replies <- numbered{i, routes[i].p.askSafely(ctx, q)}
			}()
		}
	}
	v.record.expect(routes)
	poll := poll{all: t.strategy(v.ev.Hook) == All}
	for range routes {
		n := <-replies
		p := routes[n.i].p
		if n.bug != "" {
			panic(n.bug)
		}
		if n.reason != ReasonNone {
			p.missing(v.ev, n.failure)
		}
		v.record.asked(n.i, p, &n.reply)
		if poll.count(p, &n.reply) {
			break
		}
	}
	poll.decide(v)
}

// poll counts the answers to an access hook.
type poll struct {
	all             bool
	denied, allowed string // who did, the first to deny and the last to allow; empty: nobody
	final           bool   // what allows is the last word, also for the broker
}

// count takes a reply, and says whether no other matters any more.
func (b *poll) count(p *Provider, r *reply) (over bool) {
	verdict, by := r.verdict(r.hook), p.spec.Name
	if r.reason != ReasonNone {
		by += noAnswer
		switch p.spec.OnFailure[r.hook][r.reason] {
		case Deny:
			verdict = VerdictDeny
		case Allow:
			verdict = VerdictAllow
		default:
			verdict = VerdictIgnore
		}
	}
	switch verdict {
	case VerdictDeny:
		if b.denied == "" {
			b.denied = by
		}
		return b.all
	case VerdictAllow:
		final := r.reason == ReasonNone && r.typ == typeStop
		b.final = final && (b.allowed == "" || b.final)
		b.allowed = by
		return !b.all
	}
	return false
}

// decide makes the count the value. A denial is final, or a server behind us
// in EMQX's chain could overrule it; what allows is as final as those who did.
func (b *poll) decide(v *value) {
	switch {
	case b.denied != "" && (b.all || b.allowed == ""):
		v.setAllowed(false)
		v.decided, v.final, v.by = true, true, b.denied
	case b.allowed != "":
		v.setAllowed(true)
		v.decided, v.final, v.by = true, b.final, b.allowed
	}
}

// askSafely is ask for a goroutine of its own: a panic is handed to who
// collects the replies.
func (p *Provider) askSafely(ctx context.Context, q query) (r reply) {
	defer func() {
		if e := recover(); e != nil {
			r.bug = fmt.Sprintf("%v\n%s", e, debug.Stack())
		}
	}()
	return p.ask(ctx, q)
}
