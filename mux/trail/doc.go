// Package trail remembers the last decisions, to answer why a client was refused,
// and lets others follow events as they happen.
//
// # Use
//
//	t := trail.New(trail.Options{})
//	m := mux.New(mux.Options{Recorder: t})
//	found := t.Search(trail.Query{Client: "sensor-1"})
//	f, err := t.Follow(trail.Filter{Client: "sensor-1"})
//	for e := range f.Events() { … }
//
// # What is kept
//
// Refusals, decisions that lacked somebody's answer, and all others have a ring
// each, so that a flood of one kind leaves the others alone. Of the third kind,
// Options.Sample says how many are kept. A record holds who was asked and what came
// of it, and of the request what people search by, each text cut to a length: never a
// password, and a payload's beginning only if Options.Payloads says so. Memory is so
// bounded by Options.Size.
//
// # What it costs
//
// Its methods are called on the event's way. Of the request they read what Subject
// has and copy it into the place of the oldest record; a decision that is not kept
// costs a counter, and a notification that nobody follows the load of a pointer.
// Nobody waits for a follower: one that is too slow loses events, and is told how many.
package trail
