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

	body    []byte // the request with the value in it, once stale is false; see request
	stale   bool   // body lacks the newest value
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
	}
}

func (v *value) setMessage(msg []byte) {
	v.msg = msg
	lastBytes(msg, msgTopic, &v.topic)
	v.stale = true
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

// apply takes the answer of the provider by into the value, as EMQX does.
func (v *value) apply(by string, a answer) error {
	if a.typ == typeIgnore {
		return nil
	}
	if v.ev.Hook.Access() {
		v.setAllowed(a.allowed)
	} else {
		merged, changed, err := mergeMessage(v.msg, a.msg)
		if err != nil {
			return err
		}
		if changed {
			v.setMessage(merged)
		}
	}
	v.decided, v.by, v.final = true, by, a.typ == typeStop
	return nil
}

// fail takes a missing answer into the value, as the failure policy says.
func (v *value) fail(by string, p Policy) {
	if p != Ignore {
		v.by = by + ", which did not answer"
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

// decide asks the providers one after another, each with the value so far.
func (m *Mux) decide(ctx context.Context, ev *Event, routes []route, defaults map[Hook]bool) []byte {
	v := newValue(ev)
	start, deadline := time.Now(), m.deadline(ctx)
	for i := range routes {
		r := &routes[i]
		// As in EMQX by the topic so far: who guards a topic also sees what was
		// moved to it.
		if ev.Hook.HasTopics() && !r.takes(v.topic) {
			continue
		}
		if f := r.p.decide(ctx, v, start, deadline); f.reason != ReasonNone {
			r.p.missing(ev, f)
			v.fail(r.p.Name(), r.p.spec.OnFailure[ev.Hook][f.reason])
		}
		if v.final {
			break
		}
	}
	if allow, ok := defaults[ev.Hook]; ok && !v.decided {
		v.setAllowed(allow)
		v.decided, v.by = true, "default"
	}
	if m.log.Enabled(ctx, slog.LevelDebug) {
		m.log.Debug("decided", "hook", ev.Hook.String(), "client", ev.Client(), "topic", string(v.topic), "answer", v.verdict(), "by", v.by)
	}
	return v.response()
}

// verdict is the merged answer in a word.
func (v *value) verdict() string {
	switch c, _ := parseContent(v.msg); {
	case !v.decided:
		return "no opinion"
	case v.ev.Hook.Access() && v.allowed:
		return "allow"
	case v.ev.Hook.Access():
		return "deny"
	case c.publish == publishFalse:
		return "drop"
	}
	return "publish"
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
