package mux

import "errors"

// Reason is why a provider gave no answer, or why an event did not reach it.
// The set is closed: the same words are errors, log fields and counters.
type Reason uint8

// The reasons. The first group can befall a decision and a notification, the
// second only a notification.
const (
	ReasonNone        Reason = iota
	ReasonError              // the provider answered with an error, or panicked
	ReasonTimeout            // no answer in time
	ReasonBreakerOpen        // not asked: it failed too often just now
	ReasonOverload           // not asked: its concurrency limit was reached
	ReasonDown               // not asked, or lost on the way: starting, crashed or quarantined
	ReasonInvalid            // the answer made no sense
	ReasonCanceled           // the broker gave up on its call

	ReasonLaneFull // dropped by the overflow policy
	ReasonShutdown // still waiting when hookmux stopped
	ReasonTooLarge // larger than events may be

	ReasonStoreFailed // to be delivered durably, and not stored
	ReasonStoreFull   // the same, for want of room
	ReasonExpired     // stored, and not handled before it was too old
	ReasonDeadLetter  // stored, not handled in all tries, and kept among the dead letters

	numReasons = int(ReasonDeadLetter) + 1
)

var reasonNames = [numReasons]string{
	"", "error", "timeout", "breaker_open", "overload", "down", "invalid", "canceled", "lane_full", "shutdown", "too_large",
	"store_failed", "store_full", "expired", "dead_letter",
}

// NumReasons is how many there are, ReasonNone included.
const NumReasons = numReasons

func (r Reason) String() string { return reasonNames[r] }

// ErrDown is what a Conn answers when the provider's process or connection
// has ended; an event may have been lost on the way.
var ErrDown = errors.New("the provider is down")

// ErrNotSent is what a Conn answers when it is certain that the provider has
// not seen the event.
var ErrNotSent = errors.New("the provider went down before the event was sent")

// ErrNoRoom is what a Streamer answers when the provider has not taken what was
// posted before.
var ErrNoRoom = errors.New("the provider does not keep up with its stream")

// ErrAnswered is what a Conn wraps when the provider itself answered with an
// error. That is one event's failure and not the breaker's business: it would
// let a client whose login trips a bug lock everybody else out.
var ErrAnswered = errors.New("the provider answered with an error")

// ErrUnavailable is what a Conn wraps besides ErrAnswered when the provider says that what it
// needs is away, such as its database. That is no fault of the event.
var ErrUnavailable = errors.New("what the provider needs is away")
