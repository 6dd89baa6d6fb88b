package trail

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hookmux/hookmux/mux"
)

// record is a decision in the form in which it is kept: made without an allocation,
// once its place in the ring has been used before. Decision is made from it when
// somebody asks.
type record struct {
	id       uint64
	start    time.Time
	took     time.Duration
	hook     mux.Hook
	strategy mux.Strategy
	answer   mux.Verdict
	final    bool
	subject  texts
	newTopic string // empty unless it is another
	by       string
	asked    []asked
}

// texts are the parts of a mux.Subject, one after another in buf.
type texts struct {
	buf         []byte
	ends        [numTexts]uint16
	cut         uint8 // which of them were too long, a bit each
	action      string
	payloadSize int
}

const (
	textNode = iota
	textClient
	textUsername
	textTopic
	textPayload

	numTexts
)

var textLimits = [numTexts]int{maxNode, maxClient, maxUsername, maxTopic, maxPayload}

func (t *texts) set(s *mux.Subject, payloads bool) {
	t.buf, t.cut, t.action, t.payloadSize = t.buf[:0], 0, s.Action, 0
	parts := [numTexts][]byte{s.Node, s.Client, s.Username, s.Topic}
	if payloads {
		parts[textPayload], t.payloadSize = s.Payload, len(s.Payload)
	}
	for i, p := range parts {
		if len(p) > textLimits[i] {
			p, t.cut = p[:textLimits[i]], t.cut|1<<i
		}
		t.buf = append(t.buf, p...)
		t.ends[i] = uint16(len(t.buf))
	}
}

// bytes is one of the texts; one that was too long is its beginning.
func (t *texts) bytes(i int) []byte {
	from := uint16(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.buf[from:t.ends[i]]
}

func (t *texts) string(i int) string {
	b := t.bytes(i)
	if t.cut>>i&1 == 0 {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return cutText(string(b), textLimits[i])
}

func (t *texts) payload() []byte { return bytes.Clone(t.bytes(textPayload)) }

// cutText is s, or its beginning of about most bytes and "…".
func cutText(s string, most int) string {
	if len(s) < most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.ToValidUTF8(s[:end], "\uFFFD") + "…"
}

// asked is a mux.Asked that keeps nothing alive.
type asked struct {
	provider     string
	verdict      mux.Verdict
	final        bool
	unneeded     bool
	reason       mux.Reason
	policy       mux.Policy
	changed      mux.Changes
	err          string
	waited, took time.Duration
}

func (r *record) set(id uint64, d *mux.Decision, s *mux.Subject, payloads bool) {
	r.id, r.start, r.took = id, d.Start, d.Took
	r.hook, r.strategy, r.answer, r.final, r.by = d.Event.Hook, d.Strategy, d.Answer, d.Final, d.By
	r.subject.set(s, payloads)
	r.newTopic = ""
	if d.Event.Hook.HasTopics() && !bytes.Equal(d.Topic, s.Topic) {
		r.newTopic = cutText(string(d.Topic), maxTopic)
	}
	clear(r.asked)
	r.asked = r.asked[:0]
	for i := range d.Asked {
		a := &d.Asked[i]
		kept := asked{
			provider: a.Provider, verdict: a.Verdict, final: a.Final, unneeded: a.Unneeded,
			reason: a.Reason, policy: a.Policy, changed: a.Changed, waited: a.Waited, took: a.Took,
		}
		if a.Err != nil {
			kept.err = cutText(a.Err.Error(), maxError)
		}
		r.asked = append(r.asked, kept)
	}
}

// decision is the record for people. Without payloads it shows none, also if it was kept
// when there were.
func (r *record) decision(payloads bool) *Decision {
	d := &Decision{
		ID: r.id, Time: r.start, Hook: r.hook.String(),
		Node: r.subject.string(textNode), Client: r.subject.string(textClient), Username: r.subject.string(textUsername), Topic: r.subject.string(textTopic),
		NewTopic: r.newTopic, Action: r.subject.action,
		Strategy: r.strategy.String(), Answer: r.answer.String(), Final: r.final, By: r.by, TookUs: r.took.Microseconds(), Asked: []Asked{},
	}
	if payloads {
		d.Payload, d.PayloadSize = r.subject.payload(), r.subject.payloadSize
	}
	for i := range r.asked {
		a := &r.asked[i]
		out := Asked{
			Provider: a.provider, Verdict: a.verdict.String(), Final: a.final, Unneeded: a.unneeded,
			Reason: a.reason.String(), Error: a.err, WaitedUs: a.waited.Microseconds(), TookUs: a.took.Microseconds(),
		}
		if a.reason != mux.ReasonNone {
			out.Policy = a.policy.String()
		}
		for c := range mux.NumChanges {
			if a.changed.Has(mux.Change(c)) {
				out.Changed = append(out.Changed, mux.Change(c).String())
			}
		}
		d.Asked = append(d.Asked, out)
	}
	return d
}

// refused says whether the broker was told no.
func refused(v mux.Verdict) bool { return v == mux.VerdictDeny || v == mux.VerdictDrop }

// unanswered says whether somebody's answer was missing.
func unanswered(d *mux.Decision) bool {
	for i := range d.Asked {
		if d.Asked[i].Reason != mux.ReasonNone {
			return true
		}
	}
	return false
}
