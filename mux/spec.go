package mux

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Spec is how a provider is to be treated. The zero value of every field but
// Name is good: NewProvider puts the defaults in.
type Spec struct {
	// Name is what logs and the config call it.
	Name string
	// Hooks narrows what the provider is asked to these, and counts also
	// before it has ever started. nil: whatever it declares.
	Hooks []HookSpec
	// When narrows it further, event by event; nil: no condition. A valued hook
	// whose condition fails has no answer, with ReasonError; a notification is lost.
	When Condition
	// Observe makes it an observer of valued hooks: it is told of them like of
	// notifications, when they are decided and with what was decided in the
	// request, and its answer does not count.
	Observe bool
	// Pure overrides what the provider declares of its valued hooks; nil: as it
	// declares.
	Pure *bool
	// OnFailure is what a valued hook does without an answer.
	OnFailure [NumHooks]Policies
	// Timeout bounds one call, within the event's deadline. Default 2 s.
	Timeout time.Duration
	// Concurrency bounds the decisions asked of it at a time; more wait, within
	// their deadline. Default 256.
	Concurrency int
	// Delivery is how notifications reach it, and what it observes; Sync is Async for
	// the latter.
	Delivery Deliveries
	// Durable is about the events that are delivered durably.
	Durable DurableSpec
	// MayChange is what of its answers to message hooks counts; what else it changes
	// is put back. nil: all; empty: nothing.
	MayChange []Change
	// Redact is what it is not shown. The password is always among it, unless it
	// decides client.authenticate, or Redact is empty and not nil. Without the
	// payload it may not change it either.
	Redact  []Redaction
	Breaker BreakerSpec
	Lane    LaneSpec
}

// BreakerSpec is when a provider is no longer asked.
type BreakerSpec struct {
	// Failures in a row open the breaker. Default 5.
	Failures int
	// Open is how long it stays open before one call probes. Default 5 s.
	Open time.Duration
}

// LaneSpec bounds the notifications that wait for a provider.
type LaneSpec struct {
	// Events is the most events that wait. Default 10,000.
	Events int
	// Bytes is the most bytes that wait. Default 64 MiB.
	Bytes int64
	// Overflow is what happens to one more.
	Overflow Overflow
}

// DurableSpec bounds the delivery of events that are stored.
type DurableSpec struct {
	// Tries is how often an event is delivered that the provider does not handle,
	// before it becomes a dead letter. Default 20, which takes about ten minutes.
	Tries int
	// Age is how old an event may get: an older one is dropped. 0: any age.
	Age time.Duration
}

// Defaults of a Spec.
const (
	DefaultTimeout         = 2 * time.Second
	DefaultConcurrency     = 256
	DefaultBreakerFailures = 5
	DefaultBreakerOpen     = 5 * time.Second
	DefaultLaneEvents      = 10_000
	DefaultLaneBytes       = 64 << 20
	DefaultTries           = 20
)

func (s Spec) withDefaults() Spec {
	setDefault(&s.Timeout, DefaultTimeout)
	setDefault(&s.Concurrency, DefaultConcurrency)
	setDefault(&s.Breaker.Failures, DefaultBreakerFailures)
	setDefault(&s.Breaker.Open, DefaultBreakerOpen)
	setDefault(&s.Lane.Events, DefaultLaneEvents)
	setDefault(&s.Lane.Bytes, DefaultLaneBytes)
	setDefault(&s.Durable.Tries, DefaultTries)
	return s
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// HookSpec is one hook that a provider wants, or is granted.
type HookSpec struct {
	Hook   Hook
	Topics []string // topic filters, for message hooks; empty: every topic
	// Pure says that the same request always gets the same answer and has no side
	// effect, so that it may be made ahead of its turn, or for nothing.
	Pure bool

	// and is a second list of filters that must match too: what the provider
	// asked for, where Topics is what the config grants.
	and []string
}

// lost is a filter with topics that were asked about and no longer are when the
// provider declares these filters.
func (w *HookSpec) lost(declared []string) (filter string, ok bool) {
	tree := newTopicTree(declared)
	some := func(filters []string) []string {
		if len(filters) == 0 {
			return []string{""} // every topic
		}
		return filters
	}
	// A topic was asked about if a filter of each list matches it.
	for _, a := range some(w.Topics) {
		for _, b := range some(w.and) {
			if tree.covers(a) || tree.covers(b) {
				continue
			}
			return cmp.Or(b, a, "every topic"), true
		}
	}
	return "", false
}

// wants is what to ask a provider that declares this; an error says why it
// cannot be served.
func (s *Spec) wants(declared []HookSpec) ([]HookSpec, error) {
	for _, d := range declared {
		for _, f := range d.Topics {
			if err := CheckTopicFilter(f); err != nil {
				return nil, fmt.Errorf("it declares %s with an invalid filter: %w", d.Hook, err)
			}
		}
	}
	return s.effective(declared)
}

// effective is what a provider is asked: what it declared, narrowed to what
// the config grants. A hook that the config counts on and the provider does
// not have is an error: otherwise nobody would decide it.
func (s *Spec) effective(declared []HookSpec) ([]HookSpec, error) {
	if s.Hooks == nil {
		return declared, nil
	}
	var out []HookSpec
	for _, granted := range s.Hooks {
		i := slices.IndexFunc(declared, func(d HookSpec) bool { return d.Hook == granted.Hook })
		if i < 0 {
			return nil, fmt.Errorf("the config lists %s under hooks, but the provider does not answer it", granted.Hook)
		}
		if len(granted.Topics) == 0 {
			granted.Topics = declared[i].Topics
		} else {
			granted.and = declared[i].Topics
		}
		granted.Pure = declared[i].Pure
		out = append(out, granted)
	}
	return out, nil
}

// beforeStart is what a provider counts for while nobody knows what it wants:
// every valued hook that may not pass without it.
func (s *Spec) beforeStart() []HookSpec {
	if s.Hooks != nil {
		return s.Hooks
	}
	var out []HookSpec
	for _, h := range Hooks() {
		if s.holds(h) {
			out = append(out, HookSpec{Hook: h})
		}
	}
	return out
}

// holds says whether the valued hook h may not pass while the provider is down.
func (s *Spec) holds(h Hook) bool {
	return h.Valued() && !s.Observe && s.OnFailure[h][ReasonDown] != Ignore
}
