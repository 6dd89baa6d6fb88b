package mux

import (
	"fmt"
	"strings"
)

// Policy is what a valued hook does without an answer. The zero value denies.
type Policy uint8

// The failure policies.
const (
	Deny   Policy = iota // refuse: result false, or a message that is not published
	Ignore               // as if the provider were not there
	Allow                // access hooks: result true; message hooks: as Ignore
)

var policyNames = []string{"deny", "ignore", "allow"}

func (p Policy) String() string { return policyNames[p] }

// PolicyNames lists the words that ParsePolicy takes.
func PolicyNames() []string { return policyNames }

// ParsePolicy reads a word of the config.
func ParsePolicy(s string) (Policy, error) {
	for i, n := range policyNames {
		if s == n {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no failure policy: use deny, ignore or allow", s)
}

// Policies are what a valued hook does without an answer, by the Reason why.
// The zero value denies whatever the reason.
type Policies [ReasonCanceled + 1]Policy

// Always is the same policy for every reason.
func Always(p Policy) (all Policies) {
	for r := range all {
		all[r] = p
	}
	return all
}

func (p Policies) String() string {
	if p == Always(p[ReasonError]) {
		return p[ReasonError].String()
	}
	var words []string
	for _, c := range Causes() {
		words = append(words, c.String()+": "+p[c].String())
	}
	return strings.Join(words, ", ")
}

// Causes are the reasons that failure policies tell apart. A broker that gave up
// is none: nobody hears what follows.
func Causes() []Reason {
	return []Reason{ReasonError, ReasonTimeout, ReasonBreakerOpen, ReasonOverload, ReasonDown, ReasonInvalid}
}

// Overflow is what a full lane does with one more event. The zero value drops it.
type Overflow uint8

// The overflow policies.
const (
	DropNewest Overflow = iota // the new event is dropped
	DropOldest                 // the longest waiting event is dropped
	Block                      // the broker waits for room, at most until the event's deadline
)

var overflowNames = []string{"drop_newest", "drop_oldest", "block"}

func (o Overflow) String() string { return overflowNames[o] }

// OverflowNames lists the words that ParseOverflow takes.
func OverflowNames() []string { return overflowNames }

// ParseOverflow reads a word of the config.
func ParseOverflow(s string) (Overflow, error) {
	for i, n := range overflowNames {
		if s == n {
			return Overflow(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no overflow policy: use drop_newest, drop_oldest or block", s)
}
