package mux

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// value is what a chain of providers works on: EMQX's `result` or `message`.
type value struct {
	ev      *Event
	allowed bool   // access hooks
	msg     []byte // message hooks: the encoded Message
	topic   []byte // message hooks: its topic

	start, deadline time.Time     // what all providers together have
	until           time.Time     // the broker waits; what is behind deadline is for the store
	most            time.Duration // the longest that this may be
	record          *recording

	body    []byte // the request with the value in it, once stale is false; see request
	stale   bool   // body lacks the newest value
	version int    // how often the value changed
	decided bool   // somebody had an opinion
	by      string // who had the last, for the log
	final   bool   // nobody else is to be asked
}

func newValue(ev *Event) *value {
	v := &value{ev: ev, body: ev.Body, msg: ev.msg, topic: ev.topic}
	if num := hooks[ev.Hook].result; num != 0 {
		eachField(ev.Body, func(n protowire.Number, typ protowire.Type, val []byte) bool {
			if n == num && typ == protowire.VarintType {
				u, _ := protowire.ConsumeVarint(val)
				v.allowed = u != 0
			}
			return true
		})
	}
	return v
}

func (v *value) setAllowed(allowed bool) {
	if allowed != v.allowed {
		v.allowed, v.stale = allowed, true
		v.version++
	}
}

func (v *value) setMessage(msg []byte) {
	v.msg = msg
	lastBytes(msg, msgTopic, &v.topic)
	v.stale = true
	v.version++
}

// request is the encoded request with the value in it: the broker's own bytes
// until the value changed.
func (v *value) request() []byte {
	if v.stale {
		v.stale = false
		if row := &hooks[v.ev.Hook]; row.kind == access {
			v.body = withResult(v.body, row.result, v.allowed)
		} else {
			v.body = withMessage(v.body, row.message, v.msg)
		}
	}
	return v.body
}

// query is what a provider is asked: the value at hand, which stays as it is
// while others change theirs.
type query struct {
	ev              *Event
	body            []byte        // the request with the value in it
	msg             []byte        // message hooks: the message in it
	start, deadline time.Time     // of the event, for all providers together
	most            time.Duration // from start to deadline, had the broker all the time of the world
	timed           bool          // somebody wants to know how long it takes
}

func (v *value) query() query {
	return query{v.ev, v.request(), v.msg, v.start, v.deadline, v.most, v.record != nil}
}

// event is the event with the message at hand in it.
func (q *query) event() *Event {
	if q.ev.Hook.Access() {
		return q.ev
	}
	ev := *q.ev
	ev.msg = q.msg
	lastBytes(q.msg, msgTopic, &ev.topic)
	return &ev
}

// take takes an answer to the value at hand into it, as EMQX does.
func (v *value) take(by string, a *answer) {
	if a.typ == typeIgnore {
		return
	}
	if v.ev.Hook.Access() {
		v.setAllowed(a.allowed)
	} else if a.changed != 0 {
		v.setMessage(a.msg)
	}
	v.decided, v.by, v.final = true, by, a.typ == typeStop
}

// noAnswer is said of a provider whose failure policy decided.
const noAnswer = ", which did not answer"

// fail takes a missing answer into the value, as the failure policy says.
func (v *value) fail(by string, p Policy) {
	if p != Ignore {
		v.by = by + noAnswer
	}
	switch {
	case p == Deny && v.ev.Hook.Access():
		v.setAllowed(false)
		v.decided, v.final = true, true
	case p == Deny:
		v.setMessage(refuse(v.msg))
		v.decided, v.final = true, true
	case p == Allow && v.ev.Hook.Access():
		v.setAllowed(true)
		v.decided = true
	}
}

// response is the merged answer for the broker.
func (v *value) response() []byte {
	typ := uint64(typeContinue)
	switch {
	case !v.decided:
		return ignoreResponse
	case v.final:
		typ = typeStop
	}
	if v.ev.Hook.Access() {
		return boolResponse(typ, v.allowed)
	}
	return messageResponse(typ, v.msg)
}

// decide asks the providers and answers the broker.
func (m *Mux) decide(ctx context.Context, ev *Event, t *table) []byte {
	v := newValue(ev)
	v.start, v.until, v.most = time.Now(), m.deadline(ctx), t.opts.Timeout
	v.deadline = v.until
	if t.stores[ev.Hook] {
		v.deadline = v.until.Add(-storeShare(v.until.Sub(v.start)))
	}
	v.record = m.newRecording(ev, t, v.start)
	if t.strategy(ev.Hook) == Chain {
		chain(ctx, v, t)
	} else {
		vote(ctx, v, t)
	}
	if allow, ok := t.opts.Defaults[ev.Hook]; ok && !v.decided {
		v.setAllowed(allow)
		v.decided, v.by = true, "default"
	}
	observers := t.observers[ev.Hook]
	if t.stores[ev.Hook] {
		v.store(ctx, observers)
	}
	if m.log.Enabled(ctx, slog.LevelDebug) {
		m.log.Debug("decided", "hook", ev.Hook.String(), "client", ev.Client(), "topic", string(v.topic), "answer", v.verdict().String(), "by", v.by)
	}
	m.decided(ctx, v)
	v.show(observers)
	return v.response()
}

// chain asks the providers one after another, each with the value so far.
func chain(ctx context.Context, v *value, t *table) {
	h := v.ev.Hook
	routes := t.routes[h]
	var ahead *early
	if t.ahead[h] {
		ahead = newEarly(ctx, t, routes)
		defer func() { ahead.cancel() }()
	}
	for i := range routes {
		r := &routes[i]
		if !r.asksAbout(v) {
			continue
		}
		var re reply
		if ahead != nil {
			re = ahead.reply(v, i)
		} else {
			re = r.p.ask(ctx, v.query())
		}
		if re.reason != ReasonNone {
			r.p.missing(v.ev, re.failure)
			v.fail(r.p.Name(), r.p.spec.OnFailure[h][re.reason])
		} else {
			v.take(r.p.Name(), &re.answer)
			r.p.putBack(v.ev, re.putBack)
		}
		v.record.asked(v.record.next(), r.p, &re)
		if v.final {
			return
		}
	}
}

// asksAbout says whether the provider is asked about the value as it is. As in
// EMQX the topic so far counts: who guards a topic also sees what was moved to it.
func (r *route) asksAbout(v *value) bool { return !v.ev.Hook.HasTopics() || r.takes(v.topic) }

// verdict is the merged answer in a word.
func (v *value) verdict() Verdict {
	if !v.decided {
		return VerdictIgnore
	}
	a := answer{typ: typeContinue, allowed: v.allowed}
	if !v.ev.Hook.Access() {
		was, _ := parseContent(v.ev.msg)
		is, _ := parseContent(v.msg)
		if a.changed = is.changes(&was); is.publish == publishFalse {
			return VerdictDrop
		}
	}
	return a.verdict(v.ev.Hook)
}

// missing counts a missing answer and says so, at a bounded rate.
func (p *Provider) missing(ev *Event, f failure) {
	p.stats.Missing[f.reason].Add(1)
	ok, held := p.failLog[f.reason].allow()
	if !ok {
		return
	}
	attrs := []any{"hook", ev.Hook.String(), "client", ev.Client(), "reason", f.reason.String(), "error", f.err, "policy", p.spec.OnFailure[ev.Hook][f.reason].String()}
	if held > 0 {
		attrs = append(attrs, "more_like_it", held)
	}
	p.log.Warn("no answer, so its failure policy decides", attrs...)
}
