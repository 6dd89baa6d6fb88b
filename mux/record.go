package mux

import (
	"context"
	"slices"
	"time"
)

// Recorder is told what became of events, for metrics, trails and traces. Its
// methods are called on the event's way and from many goroutines: they must be
// quick, and neither block nor call back into the engine. What they are given is
// theirs until they return.
type Recorder interface {
	// Decided is told of a decision when it is made. ctx is the event's.
	Decided(ctx context.Context, d *Decision)
	// Notified is told when a notification, or a decision for an observer, has
	// been handled by one provider, or lost.
	Notified(n *Notification)
	// Answered is told how long the broker waited for the answer to an event. ctx is
	// the event's.
	Answered(ctx context.Context, ev *Event, took time.Duration)
	// BreakerChanged is told the new state of a provider's breaker: "closed",
	// "open" or "half-open". what is a valued hook's name, or "notifications".
	BreakerChanged(provider, what, state string)
}

// Recorders tells each of them, in their order.
type Recorders []Recorder

// Decided implements Recorder.
func (rs Recorders) Decided(ctx context.Context, d *Decision) {
	for _, r := range rs {
		r.Decided(ctx, d)
	}
}

// Notified implements Recorder.
func (rs Recorders) Notified(n *Notification) {
	for _, r := range rs {
		r.Notified(n)
	}
}

// Answered implements Recorder.
func (rs Recorders) Answered(ctx context.Context, ev *Event, took time.Duration) {
	for _, r := range rs {
		r.Answered(ctx, ev, took)
	}
}

// BreakerChanged implements Recorder.
func (rs Recorders) BreakerChanged(provider, what, state string) {
	for _, r := range rs {
		r.BreakerChanged(provider, what, state)
	}
}

// Decision is how a valued hook was answered, and by whom.
type Decision struct {
	Event    *Event
	Strategy Strategy
	Start    time.Time
	Took     time.Duration
	// Asked are those who were asked, in chain order; of a pure provider that was
	// asked more than once, the time that counts.
	Asked []Asked
	// Answer is the merged one: VerdictIgnore when nobody had an opinion.
	Answer Verdict
	// Final says that it was STOP_AND_RETURN.
	Final bool
	// By is who had the last word: a provider, "default", "hookmux" for an event
	// about which nobody could be asked, or empty for nobody.
	By string
	// Topic is the message's topic in the answer.
	Topic []byte
}

// Asked is one provider's part in a decision.
type Asked struct {
	Provider string
	Verdict  Verdict // VerdictNone: no answer
	Final    bool    // STOP_AND_RETURN
	// Unneeded says that it was decided before the provider answered.
	Unneeded bool

	// Reason says why there is no answer, Err the same in a sentence, and Policy
	// what stood in for it.
	Reason Reason
	Err    error
	Policy Policy

	// Changed is what the answer changed in the message; Overwrote the part of
	// it that another provider had changed before.
	Changed, Overwrote Changes

	Start  time.Time
	Waited time.Duration // for a place under the provider's concurrency limit
	Took   time.Duration // with Waited

	unasked bool // its condition did not match
}

// Notification is what became of an event on its way to one provider.
type Notification struct {
	Event    *Event
	Provider string
	Reason   Reason // ReasonNone: handled
	Err      error
	Start    time.Time     // when the broker told it
	Waited   time.Duration // for its turn, until it was sent or lost
	Took     time.Duration // until it was handled or lost, with Waited
}

// Verdict is an answer to a valued hook in a word.
type Verdict uint8

// The verdicts.
const (
	VerdictNone    Verdict = iota // no answer
	VerdictIgnore                 // no opinion
	VerdictAllow                  // access hooks: yes
	VerdictDeny                   // access hooks: no
	VerdictPass                   // message hooks: the message as it was
	VerdictRewrite                // message hooks: another message
	VerdictDrop                   // message hooks: not to be published
)

var verdictNames = []string{"none", "ignore", "allow", "deny", "pass", "rewrite", "drop"}

func (v Verdict) String() string { return verdictNames[v] }

// recording is a Decision in the making; nil when nobody wants to know.
type recording struct {
	Decision
	changed Changes // by anybody so far
}

func (m *Mux) newRecording(ev *Event, t *table, start time.Time) *recording {
	if m.recorder == nil {
		return nil
	}
	return &recording{Decision: Decision{Event: ev, Start: start, Strategy: t.strategy(ev.Hook)}}
}

// expect notes that all of routes are asked.
func (r *recording) expect(routes []route) {
	if r == nil {
		return
	}
	for i := range routes {
		r.Asked = append(r.Asked, Asked{Provider: routes[i].p.spec.Name, Unneeded: true})
	}
}

// asked notes a reply; i is its place in Asked, which grows for a new one.
func (r *recording) asked(i int, p *Provider, re *reply) {
	if r == nil {
		return
	}
	if i == len(r.Asked) {
		r.Asked = append(r.Asked, Asked{})
	}
	a := Asked{Provider: p.spec.Name, Reason: re.reason, Err: re.err, Start: re.start, Waited: re.waited, Took: re.took}
	if re.reason != ReasonNone {
		a.Policy = p.spec.OnFailure[re.hook][re.reason]
	} else {
		a.Verdict, a.Final, a.Changed, a.unasked = re.verdict(re.hook), re.typ == typeStop, re.changed, re.unasked
		a.Overwrote = re.changed & r.changed
		r.changed |= re.changed
	}
	r.Asked[i] = a
}

// notStored notes that a durable observer will not hear of the decision.
func (r *recording) notStored(p *Provider, f failure, start time.Time, policy Policy) {
	if r != nil {
		r.Asked = append(r.Asked, Asked{Provider: p.spec.Name, Reason: f.reason, Err: f.err, Policy: policy, Start: start})
	}
}

// next is where the next reply goes.
func (r *recording) next() int {
	if r == nil {
		return 0
	}
	return len(r.Asked)
}

// decided tells the Recorder of the decision.
func (m *Mux) decided(ctx context.Context, v *value) {
	r := v.record
	if r == nil {
		return
	}
	r.Asked = slices.DeleteFunc(r.Asked, func(a Asked) bool { return a.unasked })
	r.Took, r.Answer, r.Final, r.By, r.Topic = time.Since(r.Start), v.verdict(), v.final, v.by, v.topic
	m.recorder.Decided(ctx, &r.Decision)
}

// told tells the Recorder what became of a notification.
func (r *running) told(ev *Event, reason Reason, err error) {
	if r.recorder == nil {
		return
	}
	n := Notification{Event: ev, Provider: r.current().spec.Name, Reason: reason, Err: err, Start: epoch.Add(ev.told)}
	n.Took = time.Since(n.Start)
	if n.Waited = n.Took; ev.sent != 0 {
		n.Waited = ev.sent - ev.told
	}
	r.recorder.Notified(&n)
}

// sending notes that an event is handed to the provider, for the Recorder.
func (r *running) sending(ev *Event) {
	if r.recorder != nil {
		ev.sent = time.Since(epoch)
	}
}

// refuse is denial for an event about which nobody can be asked.
func (m *Mux) refuse(ctx context.Context, ev *Event) []byte {
	if r := m.newRecording(ev, m.table.Load(), time.Now()); r != nil && ev.Hook.Valued() {
		r.Answer, r.Final, r.By, r.Topic = VerdictDeny, true, "hookmux", ev.topic
		if !ev.Hook.Access() {
			r.Answer = VerdictDrop
		}
		m.recorder.Decided(ctx, &r.Decision)
	}
	return denial(ev)
}
