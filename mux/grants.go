package mux

import (
	"bytes"
	"fmt"
)

// ChangeNames lists the words that ParseChange takes.
func ChangeNames() []string { return changeNames }

// ParseChange reads a word of the config.
func ParseChange(s string) (Change, error) {
	for i, n := range changeNames {
		if s == n {
			return Change(i), nil
		}
	}
	return 0, fmt.Errorf("%q is nothing that an answer can change: use payload, topic, qos or drop", s)
}

// grants is what of a provider's messages counts.
type grants struct {
	may Changes
	// blind: it was not shown the payload. It may not change it, and the empty one
	// in its answer is no attempt to.
	blind bool
}

func (s *Spec) grants() grants {
	g := grants{may: 1<<NumChanges - 1, blind: s.redacts(RedactPayload)}
	if s.MayChange != nil {
		g.may = 0
		for _, c := range s.MayChange {
			g.may |= 1 << c
		}
	}
	if g.blind {
		g.may &^= 1 << ChangePayload
	}
	return g
}

// putBack gives is, what a provider wants of a message, back what was there and
// g does not grant, and says what of it the provider had changed.
func (g grants) putBack(is, was *content) (back Changes) {
	if g.blind && len(is.payload) == 0 {
		is.payload = was.payload
	}
	if !g.may.Has(ChangePayload) && !bytes.Equal(is.payload, was.payload) {
		is.payload = was.payload
		back |= 1 << ChangePayload
	}
	if !g.may.Has(ChangeTopic) && !bytes.Equal(is.topic, was.topic) {
		is.topic = was.topic
		back |= 1 << ChangeTopic
	}
	if !g.may.Has(ChangeQoS) && is.qos != was.qos {
		is.qos = was.qos
		back |= 1 << ChangeQoS
	}
	if !g.may.Has(ChangeDrop) && is.publish != was.publish {
		// "true" where nobody had said anything changes nothing.
		if was.publish != publishUnsaid || is.publish != publishTrue {
			back |= 1 << ChangeDrop
		}
		is.publish = was.publish
	}
	return back
}

// putBack counts what of the provider's answer was put back and says so, at a
// bounded rate.
func (p *Provider) putBack(ev *Event, back Changes) {
	if back == 0 {
		return
	}
	for c := range NumChanges {
		if back.Has(Change(c)) {
			p.stats.PutBack[c].Add(1)
		}
	}
	ok, held := p.putBackLog.allow()
	if !ok {
		return
	}
	attrs := []any{"hook", ev.Hook.String(), "client", ev.Client(), "topic", ev.Topic(), "changed", back.String()}
	if held > 0 {
		attrs = append(attrs, "more_like_it", held)
	}
	p.log.Warn("it changed what it may not change (may_change): put back", attrs...)
}
