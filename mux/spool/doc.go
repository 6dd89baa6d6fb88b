// Package spool stores the events that are delivered durably, in NATS JetStream: in a
// server of its own inside this process, or in one that runs already.
//
// # Use
//
//	s, err := spool.Open(spool.Options{Dir: dir, Log: log})
//	m := mux.New(mux.Options{Spool: s})
//	defer s.Close()
//
// # What is where
//
// Each provider has a stream of its own, so that one that is down fills nobody else's
// store, and a second one for its dead letters. A message of a stream is the event's
// request as it is; its id and its hook are in the headers. The stream's order is the
// order of delivery.
//
// # Reading
//
// A Queue is the only consumer of its stream. Its consumer is made anew whenever
// hookmux starts or the connection was lost, and then gives all that the stream has,
// from the first event on, in order. What an event's acknowledgement removes from the
// stream is nothing that anybody needs. JetStream itself never delivers an event twice,
// which would be out of order: package mux does, from what it has in memory.
//
// A message that did not arrive is noticed by a gap in the consumer's numbers; reading
// then begins anew, and what has been taken already is skipped. It is known by its id: a
// store that has lost its end, or was emptied, uses its numbers again. Only what the
// present reading has given is acknowledged.
//
// # Waiting
//
// A write to a server that hangs keeps its caller. One goroutine writes events and another
// one acknowledgements, so that Store comes back when its time is over, and Done at once.
//
// # What survives
//
// A message is acknowledged to us when it was written to its file, so that the end of
// this process loses nothing. A power cut may lose what was written within
// Options.Sync, or nothing with SyncAlways. What a server of our own has lost is logged when
// it starts.
package spool
