package main

import (
	"slices"
	"strings"
	"time"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// connection is one connection of a client: a row of the table.
type connection struct {
	id int64 // 0: it is not stored yet

	endpoint

	username, protocol string
	connected          time.Time // zero: its begin was never told
	disconnected       time.Time // zero: it lasts
	reason             string    // why it has ended
	// inferred: that it has ended follows from something else, and its own end, should that be
	// told, is to be believed.
	inferred        bool
	connectEvent    string // ids of the events; "" without durable delivery
	disconnectEvent string

	changed bool // since it was read
}

// endpoint is how the end of a connection is known to be its own: when a session is
// taken over, it may be told after the new one's begin.
type endpoint struct {
	clientID
	node, peerhost string
	peerport       uint32 // 0: EMQX 4.x and 5.0 do not tell it
}

// clientID is a client: its id is unique in a cluster.
type clientID struct{ cluster, client string }

// Reasons for an end that nobody told.
const (
	superseded    = "superseded"     // the client connected again
	nodeRestarted = "node restarted" // EMQX, where it was
)

// change is a begin or an end of a connection.
type change struct {
	endpoint

	event              string // its id
	at                 time.Time
	begins             bool
	username, protocol string
	reason             string
}

// changeOf reads an event. It has no change if there is no client in it.
func changeOf(e *sdk.BatchEvent) (change, bool) {
	info := e.ClientInfo()
	c := change{event: e.ID, at: e.Time.UTC().Truncate(time.Microsecond), username: info.GetUsername(), protocol: info.GetProtocol()}
	c.endpoint = endpoint{clientID{"", info.GetClientid()}, e.Node(), info.GetPeerhost(), info.GetPeerport()}
	switch r := e.Request.(type) {
	case *sdk.ClientConnectedRequest:
		c.begins, c.cluster = true, r.GetMeta().GetClusterName()
	case *sdk.ClientDisconnectedRequest:
		c.reason, c.cluster = r.GetReason(), r.GetMeta().GetClusterName()
	}
	if c.node == "" {
		c.node = info.GetNode()
	}
	return c, c.client != ""
}

// history is what is known of one client's connections: at least those that last, and
// those that ended after the changes to come.
type history []*connection

// apply takes a change in. It may be told late, again, or before the one before it.
func (h *history) apply(c change, started map[string]time.Time) {
	if c.begins {
		h.begin(c, started[c.node])
		return
	}
	h.end(c)
}

// begin is the begin of a connection to a node that has run since started.
func (h *history) begin(c change, started time.Time) {
	for _, o := range *h {
		if c.event != "" && o.connectEvent == c.event {
			return // it comes again
		}
	}
	// Its end may have been told before.
	for _, o := range *h {
		if o.endpoint == c.endpoint && o.connected.IsZero() && !o.disconnected.Before(c.at) {
			o.connected, o.connectEvent, o.username, o.protocol, o.changed = c.at, c.event, c.username, c.protocol, true
			return
		}
	}
	n := &connection{endpoint: c.endpoint, username: c.username, protocol: c.protocol, connected: c.at, connectEvent: c.event, changed: true}
	for _, o := range *h {
		switch {
		case o.connected.After(c.at): // a later one is known already
			n.endBefore(o.connected, superseded)
		case o.disconnected.IsZero(), o.inferred:
			o.endBefore(c.at, superseded)
		}
	}
	if started.After(c.at) {
		n.endBefore(started, nodeRestarted)
	}
	*h = append(*h, n)
}

// endBefore infers that the connection has ended at a time, unless it did earlier.
func (c *connection) endBefore(at time.Time, why string) {
	if !c.disconnected.IsZero() && !c.disconnected.After(at) {
		return
	}
	if c.reason == "" {
		c.reason = why
	}
	c.disconnected, c.inferred, c.changed = at, true, true
}

func (h *history) end(c change) {
	var latest *connection // from this endpoint, of those that began before
	for _, o := range *h {
		switch {
		case c.event != "" && o.disconnectEvent == c.event:
			return // it comes again
		case o.endpoint == c.endpoint && !o.connected.After(c.at) && (latest == nil || o.connected.After(latest.connected)):
			latest = o
		}
	}
	switch {
	case latest == nil:
		*h = append(*h, &connection{
			endpoint: c.endpoint, username: c.username, protocol: c.protocol, disconnected: c.at, reason: c.reason, disconnectEvent: c.event, changed: true,
		})
	case !latest.disconnected.IsZero() && !latest.inferred:
		// EMQX tells the end of a session without a connection so, too.
	case c.peerport == 0 && byAnother(c.reason):
		// It may be the end of the one before this one. Whose place is taken has
		// a successor, whose begin ends it.
		if latest.disconnected.IsZero() {
			latest.reason, latest.changed = c.reason, true
		}
	default:
		latest.disconnected, latest.reason, latest.disconnectEvent, latest.inferred, latest.changed = c.at, c.reason, c.event, false, true
	}
}

// byAnother reports whether a connection ended because the client connected again.
func byAnother(reason string) bool {
	return slices.ContainsFunc([]string{"takenover", "takeovered", "discarded"}, func(s string) bool { return strings.Contains(reason, s) })
}
