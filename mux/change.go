package mux

import (
	"bytes"
	"strings"
)

// Change is something that an answer to a message hook can change.
type Change uint8

// The changes, which are all that EMQX takes from an answer's message.
const (
	ChangePayload Change = iota
	ChangeTopic
	ChangeQoS
	ChangeDrop // the header allow_publish: whether the message is published at all

	NumChanges = int(ChangeDrop) + 1
)

var changeNames = []string{"payload", "topic", "qos", "drop"}

func (c Change) String() string { return changeNames[c] }

// Changes is a set of Change, a bit each.
type Changes uint8

// Has says whether one is in the set.
func (c Changes) Has(one Change) bool { return c>>one&1 != 0 }

func (c Changes) String() string {
	var out []string
	for i, n := range changeNames {
		if c.Has(Change(i)) {
			out = append(out, n)
		}
	}
	return strings.Join(out, ", ")
}

// changes is what of a message is not as it was.
func (c *content) changes(was *content) (changed Changes) {
	if !bytes.Equal(c.payload, was.payload) {
		changed |= 1 << ChangePayload
	}
	if !bytes.Equal(c.topic, was.topic) {
		changed |= 1 << ChangeTopic
	}
	if c.qos != was.qos {
		changed |= 1 << ChangeQoS
	}
	if c.publish != was.publish {
		changed |= 1 << ChangeDrop
	}
	return changed
}
