package trail

import (
	"time"
)

// Decision is one decision as people see it. Texts that are long are cut, and end
// in "…" then.
type Decision struct {
	ID       uint64    `json:"id"` // grows with time
	Time     time.Time `json:"time"`
	Node     string    `json:"node"`
	Hook     string    `json:"hook"`
	Client   string    `json:"client"`
	Username string    `json:"username"`
	Topic    string    `json:"topic"`               // as it was asked about
	NewTopic string    `json:"new_topic,omitempty"` // if the answer has another
	Action   string    `json:"action"`              // of client.authorize: publish or subscribe
	Strategy string    `json:"strategy"`
	Answer   string    `json:"answer"` // ignore, allow, deny, pass, rewrite or drop
	Final    bool      `json:"final"`
	By       string    `json:"by"` // who had the last word; see mux.Decision
	TookUs   int64     `json:"took_us"`
	Asked    []Asked   `json:"asked"` // in chain order
	// Payload is the beginning of the message's, only if Options.Payloads says so;
	// PayloadSize how long it is as a whole.
	Payload     []byte `json:"payload,omitempty"`
	PayloadSize int    `json:"payload_size,omitempty"`
}

// Asked is one provider's part in a decision.
type Asked struct {
	Provider string   `json:"provider"`
	Verdict  string   `json:"verdict"` // none: no answer
	Final    bool     `json:"final,omitempty"`
	Unneeded bool     `json:"unneeded,omitempty"` // it was decided before it answered
	Reason   string   `json:"reason,omitempty"`   // why there is no answer
	Error    string   `json:"error,omitempty"`    // the same in a sentence
	Policy   string   `json:"policy,omitempty"`   // what stood in for it
	Changed  []string `json:"changed,omitempty"`  // in the message
	WaitedUs int64    `json:"waited_us"`
	TookUs   int64    `json:"took_us"`
}

// Notification is what became of a notification, or of a decision for an observer,
// on its way to one provider.
type Notification struct {
	Time     time.Time `json:"time"` // when the broker told it
	Node     string    `json:"node"`
	Hook     string    `json:"hook"`
	Client   string    `json:"client"`
	Username string    `json:"username"`
	Topic    string    `json:"topic"`
	Provider string    `json:"provider"`
	Outcome  string    `json:"outcome"` // delivered, or why it is lost
	Error    string    `json:"error,omitempty"`
	TookUs   int64     `json:"took_us"`
	// As in Decision.
	Payload     []byte `json:"payload,omitempty"`
	PayloadSize int    `json:"payload_size,omitempty"`
}

// The most bytes that are kept of a text. Of each there is one in a record, but for
// the error, of which there is one for each provider without an answer.
const (
	maxNode     = 128
	maxClient   = 256
	maxUsername = 256
	maxTopic    = 512
	maxError    = 512
	maxPayload  = 1024
)
