// Package mux is hookmux's engine: it takes one event of a broker, fans it out
// to the providers that want it, and merges their answers into one.
//
// # Use
//
//	m := mux.New(mux.Options{})
//	m.SetProviders([]*mux.Provider{mux.NewProvider(mux.Spec{Name: "login"}, log)})
//	m.SetReady()
//	answer := m.Dispatch(ctx, mux.NewEvent(mux.ClientAuthenticate, body))
//
// A provider has no connection of its own: its host (package host) puts one in
// with Provider.Up and takes it away with Provider.Down.
//
// # One event's way
//
// Dispatch reads the client id and the topic from the encoded request, loads
// the route table (an immutable snapshot) and, for a valued hook, asks the
// providers in config order, each with the value so far, as EMQX asks its
// ExHook servers. A notification is put into the lane of each provider that
// wants it and answered at once.
//
// Requests are never decoded as a whole: a provider gets the bytes that the
// broker sent. Only a value that a provider changed is written into them.
//
// # What EMQX's chain does otherwise
//
// An answer without a value, or with a message that cannot be published, is not
// ignored but follows the failure policy. Of an answer's message only QoS, topic,
// payload and allow_publish reach the next provider, which is all that EMQX
// takes in the end. allow_publish="false" stays until a provider says "true".
//
// # Strategies
//
// An access hook may have another strategy than the chain. With All and Any the
// providers are asked beside each other, each about the decision as the broker
// sent it. A yes or no is a vote, IGNORE is none, and for a missing answer the
// failure policy votes: deny no, allow yes, ignore not at all. All is decided by
// the first no, Any by the first yes; nobody else is waited for then, and their
// calls are canceled, which is no failure. At the end of the vote All needs a yes and
// Any has a no if there was one; without a vote the default answers, or IGNORE.
//
// No answer comes before another, so STOP_AND_RETURN is a vote like any other:
// whoever is first must not decide what the others could say. Towards the broker
// a no is STOP_AND_RETURN, or a server behind us could allow what All or Any
// refused; a yes is so if the votes that made it were, for Any the one, for
// All every yes.
//
// # Pure providers
//
// In a chain, pure providers are asked before it is their turn, with the value at hand.
// An answer counts if the value is still the same when it is the provider's turn;
// else the provider is asked again. So the chain's result is the same, and who
// passes costs no time of its own. An early call that is of no use is canceled, and
// no failure of it counts but in the breaker.
//
// # Least privilege
//
// What a provider may not change in a message is put back when its answer is taken,
// and counted in Stats.PutBack. What it may not see is taken out of the bytes on the
// way to its connection (redact.go has what lies where); answers are merged into
// the message as it is, not as the provider was shown it. A Condition says event by
// event whether it is asked at all.
//
// # Observers
//
// A Spec with Observe decides nothing. When a valued hook is decided, its provider is
// told by way of its lane, in order with the client's notifications, and gets the request
// with what was decided in it: the field result, or the message. The broker does not
// wait for it whatever Delivery and Overflow say, and its answer does not count.
//
// # Who decided
//
// A Recorder in the Options is told of each decision with the part of everyone who was
// asked, of what became of each notification, and of breakers. Metrics, trails and
// traces are made from it. Without one, nothing of it costs anything.
//
// # Order, and what may block
//
// Notifications of one client are handled by a provider in the order in which
// Dispatch took them, one after another; those of different clients beside each
// other. A Streamer gets them without waiting for its replies, a few hundred at
// most; any other Conn one at a time for a client.
// Dispatch blocks for a valued hook until its answer is there or its deadline
// is near, and for a notification only with delivery sync or durable, or overflow block.
// An async notification is tried once: what was under way when the provider
// crashed is counted as lost, because it may have been handled and may be what
// kills the provider; what is behind it waits for the next start.
//
// # Durable delivery
//
// With Delivery Durable an event is stored in the provider's Queue, which a Spool has,
// before the broker is answered. It is delivered from there, one event of a client at a time,
// until the provider has handled it; then it is Done. So nothing is lost when the provider or
// this process ends, and no client's events overtake each other. An error, a timeout, and a
// crash while the event alone was under way are tries; after DurableSpec.Tries it goes to
// the dead letters. What is stored for an observer is stored with what was decided, and if
// that fails, the observer's failure policy decides.
//
// # Change while it runs
//
// SetProviders and Reconfigure put everything that changes in place at once: an
// event sees the order, the Specs, the connections and the defaults of before, or
// those of after. Provider.With is a provider under another Spec, with its connection,
// lane and counters; StartWith gives it a new connection, which takes over from the
// old one without a loss: new decisions go to the new one at once, a client's
// notifications once the old one has handled what it has of that client. Link.Settled
// tells when the old one is no longer needed.
//
// # Out of service
//
// Provider.Hold is an operator's word that a provider is to get nothing: it then is as
// one that is down, whatever its connection says, so its failure policy decides, its
// notifications wait and its hooks count. What waited before is still delivered, for a
// clean end. Release undoes it.
//
// # Who loses what
//
// Everything that goes missing has a Reason, from a closed set, which is the
// error, the log field and the counter alike. For each provider, once its lane
// is empty, Stats.Sent = Stats.Delivered + the sum of Stats.Dropped.
//
// # Testing
//
// A Conn is two methods, so a test can be a provider in a few lines; for real
// child processes use package host, for a whole sidecar package app.
package mux
