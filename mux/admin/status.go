package admin

import "time"

// Status is a snapshot of a hookmux.
type Status struct {
	Version   string     `json:"version"`
	Config    string     `json:"config,omitempty"` // the file
	Listen    string     `json:"listen"`
	Started   time.Time  `json:"started"`
	Ready     bool       `json:"ready"`     // every provider has had its first chance to start
	Providers []Provider `json:"providers"` // in the order in which they are asked
	Hooks     []Hook     `json:"hooks"`     // that somebody wants, in the contract's order
	Brokers   []Broker   `json:"brokers"`   // by their names

	// Stored is what waits to be delivered durably, by provider; empty: nothing is. StoredError is
	// why that is not known.
	Stored      []Stored `json:"stored,omitempty"`
	StoredError string   `json:"stored_error,omitempty"`
}

// Provider is a snapshot of a provider.
type Provider struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`   // plugin or remote
	Status    string    `json:"status"` // starting, up, restarting, quarantined, stopped, draining, disabled
	Since     time.Time `json:"since"`
	Enabled   bool      `json:"enabled"`  // no operator has taken it out of service
	Draining  bool      `json:"draining"` // it is not enabled, and still gets what waited for it
	TimeoutMs int64     `json:"timeout_ms"`
	Pid       int       `json:"pid,omitempty"`
	Restarts  int       `json:"restarts"`             // since the config or an operator started it
	LastError string    `json:"last_error,omitempty"` // why it last ended or failed to start
	// Problems are the process settings that this machine does not allow.
	Problems []string `json:"problems,omitempty"`

	Hooks      []string          `json:"hooks"`       // what it is asked and told
	HooksKnown bool              `json:"hooks_known"` // else Hooks is an assumption: it has never started
	Breakers   map[string]string `json:"breakers"`    // by hook, "notifications" for those: closed, open, half-open; none while it is down

	WaitingEvents int64 `json:"waiting_events"` // notifications in its lane
	WaitingBytes  int64 `json:"waiting_bytes"`

	// Since it was added to the config.
	Sent      int64            `json:"sent"`      // notifications for it
	Delivered int64            `json:"delivered"` // handled without an error
	Dropped   map[string]int64 `json:"dropped"`   // lost, by reason; dead_letter: kept among the dead letters
	Decided   map[string]int64 `json:"decided"`   // answers, by hook
	Missing   map[string]int64 `json:"missing"`   // decisions without an answer, by reason
	Late      int64            `json:"late"`      // replies that came after they were given up

	// LastFailure is the latest time that it did not handle an event delivered durably.
	LastFailure *Failure `json:"last_failure,omitempty"`
}

// Failure is why an event was not handled.
type Failure struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
}

// Broker is an EMQX node that has loaded hookmux.
type Broker struct {
	Node    string   `json:"node"`
	Version string   `json:"version"` // of EMQX
	Service string   `json:"service"` // such as emqx.exhook.v3.HookProvider
	Hooks   []string `json:"hooks"`   // what it was told that we want
	// Missing is what is wanted now and it does not know of: it learns of it when it
	// loads hookmux again.
	Missing []string `json:"missing,omitempty"`
}

// Hook is who is asked about events of a hook, or told of them.
type Hook struct {
	Hook      string         `json:"hook"`
	Valued    bool           `json:"valued"`   // its answer matters
	Strategy  string         `json:"strategy"` // of a valued hook: chain, all or any
	Default   string         `json:"default"`  // allow or deny, when nobody has an opinion; empty: the broker decides
	Providers []HookProvider `json:"providers"`
}

// HookProvider is how a provider is treated for one hook.
type HookProvider struct {
	Name      string            `json:"name"`
	Topics    []string          `json:"topics"`           // empty: all
	Policy    map[string]string `json:"policy,omitempty"` // what a valued hook does without its answer, by cause
	TimeoutMs int64             `json:"timeout_ms"`
	Pure      bool              `json:"pure"`
	Observe   bool              `json:"observe"`  // it is told of the decision, and decides nothing
	Delivery  string            `json:"delivery"` // of notifications
}
