package mux

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// When a broker has loaded hookmux under two names, for the time that it takes to put
// one in the other's place, every event comes twice. Whoever does that announces it
// with ExpectDoubles, and the second call of each event is recognised and answered
// without asking or telling anybody again.
//
// EMQX asks its servers one after another: the second call comes after the first was
// answered, with the value that the answer left, and over a connection of the other
// name's own pool. A pool has one connection for each client, so two events of one
// client that are the same by chance come over the same one: these are never taken for
// one. Neither is a call when anything else is in doubt: the first answer was
// STOP_AND_RETURN, behind which nobody is asked; it is not there yet; too much time has
// passed; the broker is not known to have loaded twice. Then everybody is asked as always,
// which is what happens with two servers anyway.

// doubleWithin is how long after the first answer the second call may come: EMQX's
// request timeout for those that it asks in between, and then some.
const doubleWithin = 10 * time.Second

// maxDoubles bounds the first calls that are remembered; of more, the second is asked
// about like any other.
const maxDoubles = 100_000

// Doubles is a time during which events may come twice.
type Doubles struct {
	Until      time.Time // zero: it is over
	Nodes      []string  // the brokers that have loaded hookmux a second time and not unloaded it
	Recognised int64     // second calls so far
}

// doubles is such a time while it lasts.
type doubles struct {
	mu         sync.Mutex
	until      time.Time
	timer      *time.Timer
	nodes      map[string]bool
	first      map[doubleKey][]firstCall
	calls      int // in first
	swept      time.Time
	recognised int64
}

// doubleKey is a hash of all of an event but the value that an answer changes, and its hook.
type doubleKey [sha256.Size]byte

// carried is the value: `result`, or a hash of what an answer changes in a message.
type carried struct {
	allowed bool
	content [sha256.Size]byte
}

// firstCall is a call whose second is awaited.
type firstCall struct {
	node    string
	conn    string
	leaves  carried // what the second call carries
	answer  []byte  // to the second
	expires time.Time
}

// ExpectDoubles says that for so long events may come twice, because brokers load
// hookmux under a second name before they unload the first. 0 says that it is over.
// Until then it may be called again, for more time. It takes Options.Peer.
func (m *Mux) ExpectDoubles(during time.Duration) Doubles {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.doubles.Load()
	switch {
	case m.table.Load().opts.Peer == nil:
		return Doubles{}
	case during <= 0:
		m.doubles.Store(nil)
		if d == nil {
			return Doubles{}
		}
		d.timer.Stop()
		state := d.state()
		state.Until = time.Time{}
		return state
	case d == nil:
		d = &doubles{nodes: make(map[string]bool), first: make(map[doubleKey][]firstCall)}
		d.timer = time.AfterFunc(during, func() { m.doubles.CompareAndSwap(d, nil) })
		m.doubles.Store(d)
	default:
		d.timer.Reset(during)
	}
	d.mu.Lock()
	d.until = time.Now().Add(during)
	d.mu.Unlock()
	return d.state()
}

// Doubles says how that goes.
func (m *Mux) Doubles() Doubles {
	if d := m.doubles.Load(); d != nil {
		return d.state()
	}
	return Doubles{}
}

func (d *doubles) state() Doubles {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Doubles{Until: d.until, Recognised: d.recognised}
	for node := range d.nodes {
		s.Nodes = append(s.Nodes, node)
	}
	slices.Sort(s.Nodes)
	return s
}

// loaded notes that a broker has loaded hookmux a second time.
func (d *doubles) loaded(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes[node] = true
}

// unloaded notes that one of the names is gone: nothing of this broker comes twice any
// more, and what was under way is in doubt.
func (d *doubles) unloaded(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.nodes, node)
	for key, calls := range d.first {
		d.keep(key, calls, func(c *firstCall) bool { return c.node != node })
	}
}

// keep drops the calls of key that ok is not true of.
func (d *doubles) keep(key doubleKey, calls []firstCall, ok func(*firstCall) bool) {
	left := slices.DeleteFunc(calls, func(c firstCall) bool { return !ok(&c) })
	d.calls -= len(calls) - len(left)
	if len(left) == 0 {
		delete(d.first, key)
	} else {
		d.first[key] = left
	}
}

// dispatch is Mux.dispatch but for second calls.
func (d *doubles) dispatch(ctx context.Context, m *Mux, ev Event) []byte {
	conn, node := m.table.Load().opts.Peer(ctx), nodeOf(ev.Body, metaField[ev.Hook])
	if conn == "" || ev.malformed || !d.twice(node) {
		return m.dispatch(ctx, ev)
	}
	key, has := ev.repetition()
	if answer := d.take(key, node, conn, has); answer != nil {
		return answer
	}
	response := m.dispatch(ctx, ev)
	if leaves, answer, ok := ev.leaves(has, response); ok {
		d.put(key, firstCall{node: node, conn: conn, leaves: leaves, answer: answer, expires: time.Now().Add(doubleWithin)})
	}
	return response
}

func (d *doubles) twice(node string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[node]
}

// take is the answer to a second call; nil: it is none.
func (d *doubles) take(key doubleKey, node, conn string, has carried) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.first[key]
	now := time.Now()
	i := slices.IndexFunc(calls, func(c firstCall) bool {
		return c.node == node && c.conn != conn && c.leaves == has && now.Before(c.expires)
	})
	if i < 0 || !d.nodes[node] {
		return nil
	}
	answer := calls[i].answer
	d.calls--
	if d.first[key] = slices.Delete(calls, i, i+1); len(calls) == 1 {
		delete(d.first, key)
	}
	d.recognised++
	return answer
}

func (d *doubles) put(key doubleKey, c firstCall) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.swept) > doubleWithin {
		d.swept = now
		for key, calls := range d.first {
			d.keep(key, calls, func(c *firstCall) bool { return now.Before(c.expires) })
		}
	}
	if d.calls < maxDoubles && d.nodes[c.node] {
		d.first[key] = append(d.first[key], c)
		d.calls++
	}
}

// repetition is what both calls of an event have in common, and what this one carries.
func (e *Event) repetition() (key doubleKey, has carried) {
	row := &hooks[e.Hook]
	same := make([]byte, 0, len(e.Body)+1)
	same = append(same, byte(e.Hook))
	switch row.kind {
	case access:
		same = withoutField(same, e.Body, row.result)
		has.allowed = newValue(e).allowed
	case message:
		same = withoutField(same, e.Body, row.message)
		// What an answer cannot change: the id above all.
		same = appendFields(same, e.msg, func(num protowire.Number, typ protowire.Type, field []byte) bool {
			return num != msgQoS && num != msgTopic && num != msgPayload && (num != msgHeaders || !isAllowPublish(typ, field))
		})
		has.content = contentOf(e.msg)
	default:
		same = append(same, e.Body...)
	}
	return sha256.Sum256(same), has
}

// contentOf is a hash of what an answer changes in a message.
func contentOf(msg []byte) [sha256.Size]byte {
	c, _ := parseContent(msg) // a malformed one is the hash of nothing
	b := appendVarintField(nil, msgQoS, c.qos)
	b = appendBytesField(b, msgTopic, c.topic)
	b = appendBytesField(b, msgPayload, c.payload)
	return sha256.Sum256(appendVarintField(b, msgHeaders, protowire.EncodeBool(c.publish == publishFalse)))
}

// leaves is what the second call of the event carries behind this response, and how it is
// answered; not ok: there is no second call.
func (e *Event) leaves(has carried, response []byte) (leaves carried, answer []byte, ok bool) {
	if !e.Hook.Valued() {
		return has, emptySuccess, true
	}
	a, err := parseAnswer(e.Hook, response)
	switch {
	case err != nil || a.typ == typeStop:
		return leaves, nil, false
	case a.typ == typeIgnore:
		return has, ignoreResponse, true
	case e.Hook.Access():
		// Said again and not ignored: should it not be the second call after all, it has
		// the answer that was right for the same question just now.
		return carried{allowed: a.allowed}, response, true
	}
	return carried{content: contentOf(a.msg)}, ignoreResponse, true
}
