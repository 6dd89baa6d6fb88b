package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at is a time of the tests.
func at(seconds int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// life is what really became of one client: its connections, in their order.
type life struct {
	connections []*connection
	told        [][]change // what each node tells of it, in the node's order
	started     map[string]time.Time
}

const nodes = 3

// drawLife makes up a client's connections to some nodes: it goes by itself, is taken over by its next
// connection, whose begin may be told first, or is lost with its node, which tells no end.
func drawLife(t *rapid.T, client string, ports bool) life {
	l := life{told: make([][]change, nodes), started: make(map[string]time.Time)}
	second := 0
	for i := range rapid.IntRange(1, 8).Draw(t, "connections") {
		second += rapid.IntRange(2, 40).Draw(t, "pause")
		node := rapid.IntRange(0, nodes-1).Draw(t, "node")
		c := &connection{
			endpoint: endpoint{clientID{"cluster", client}, fmt.Sprint("node", node), "10.0.0.1", 0}, protocol: "mqtt",
			connected: at(second), connectEvent: fmt.Sprintf("%s-c%d", client, i),
		}
		if ports {
			c.peerport = uint32(40000 + rapid.IntRange(0, 2).Draw(t, "port"))
		}
		begin := change{endpoint: c.endpoint, event: c.connectEvent, at: c.connected, begins: true, protocol: "mqtt"}
		if n := len(l.connections); n > 0 && l.connections[n-1].disconnected.IsZero() { // it takes over
			old := l.connections[n-1]
			oldNode := int(old.node[4] - '0')
			for ports && old.endpoint == c.endpoint { // both are open for a moment
				c.peerport++
				begin.endpoint = c.endpoint
			}
			old.disconnected, old.reason, old.inferred = c.connected, superseded, true
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0: // its node crashed
			case 1: // its end is told before the begin
				late := c.connected.Add(-time.Second)
				l.told[oldNode] = append(l.told[oldNode], old.ends(late, "takenover"))
				if old.peerport != 0 {
					old.disconnected, old.inferred = late, false
				}
				old.reason = "takenover"
			case 2: // or after it
				late := c.connected.Add(time.Second)
				if old.peerport == 0 && oldNode == node { // in the order in which EMQX 5.0 tells it
					late = c.connected
					l.told[oldNode] = append(l.told[oldNode], old.ends(late, "takenover"))
					old.reason = "takenover"
					break
				}
				l.told[node] = append(l.told[node], begin)
				l.told[oldNode] = append(l.told[oldNode], old.ends(late, "takenover"))
				l.connections = append(l.connections, c)
				if old.peerport != 0 {
					old.disconnected, old.inferred = late, false
				}
				old.reason = "takenover"
				begin.client = "" // told
			}
		}
		if begin.client != "" {
			l.told[node] = append(l.told[node], begin)
			l.connections = append(l.connections, c)
		}
		if rapid.Bool().Draw(t, "goes by itself") {
			second += rapid.IntRange(2, 40).Draw(t, "stay")
			l.told[node] = append(l.told[node], c.ends(at(second), "normal"))
			c.disconnected, c.reason = at(second), "normal"
		}
	}
	return l
}

func (c *connection) ends(when time.Time, reason string) change {
	c.disconnectEvent = c.connectEvent + "-end"
	return change{endpoint: c.endpoint, event: c.disconnectEvent, at: when, reason: reason, protocol: "mqtt"}
}

// mixed is what arrives: each node's changes in its order, those of different nodes in any,
// and some of them again, later.
func (l *life) mixed(t *rapid.T) []change {
	var all []change
	left := slices.Clone(l.told)
	for {
		var some []int
		for i, changes := range left {
			if len(changes) > 0 {
				some = append(some, i)
			}
		}
		if len(some) == 0 {
			return all
		}
		i := rapid.SampledFrom(some).Draw(t, "next from")
		all = append(all, left[i][0])
		left[i] = left[i][1:]
		if rapid.IntRange(0, 3).Draw(t, "again") == 0 {
			all = append(all, all[rapid.IntRange(0, len(all)-1).Draw(t, "which")])
		}
	}
}

// String is what a test compares.
func (c *connection) String() string {
	text := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprint(t.Sub(at(0)))
	}
	reason := c.reason
	if c.disconnected.IsZero() {
		reason = "" // of one that lasts it says nothing yet
	}
	return fmt.Sprintf("%s %s:%d %s…%s %q %v", c.client, c.node, c.peerport, text(c.connected), text(c.disconnected), reason, c.inferred)
}

func texts(h []*connection) []string {
	var all []string
	for _, c := range h {
		all = append(all, c.String())
	}
	slices.Sort(all)
	return all
}

// However the nodes' events are mixed, and whatever comes again, in the end each connection's
// begin, end and reason are those that it had.
func TestHistoryIsRight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t, "c", true)
		var h history
		changes := l.mixed(t)
		for _, c := range changes {
			h.apply(c, nil)
		}
		if got, want := texts(h), texts(l.connections); !slices.Equal(got, want) {
			t.Fatalf("told\n%v\ngot\n%v\nwant\n%v", changes, got, want)
		}
	})
}

// eventID is the id that durable delivery would give a change: it begins with its time.
func eventID(c change) string {
	sum := sha256.Sum256([]byte(c.event))
	ms := c.at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%x", ms>>16, ms&0xffff, 0, 0, sum[:6])
}
