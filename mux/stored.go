package mux

import (
	"context"
	"errors"
	"time"
)

// Spool keeps the events that are delivered durably, a Queue for each provider.
// Package spool has one.
type Spool interface {
	// Queue is a provider's part. It is there at once: what it cannot do yet, its
	// methods wait for. The engine opens it once at a time, and closes it.
	Queue(provider string) Queue
}

// Queue is what is stored for one provider, in the order in which it was stored. Its
// methods may be called from any goroutine, but Next from one.
type Queue interface {
	// Store keeps e, in its place in the order, and gives it an ID. When it returns
	// without an error, e survives the end of this process. It returns when ctx ends at
	// the latest. An error says that e may be lost, and not that it is; it wraps
	// ErrStoreFull when there was no room.
	Store(ctx context.Context, e *Stored) error
	// Next waits for what is stored, beginning with the oldest event that is not Done. It
	// gives each event once, and fails only when the Queue is closed.
	Next() (*Stored, error)
	// Load is an event once more that Next gave. It waits for the store, until ctx
	// ends. ErrNotStored says that somebody removed the event.
	Load(ctx context.Context, seq uint64) (*Stored, error)
	// Done says that nobody needs the event any more. It does not wait.
	Done(seq uint64)
	// Bury moves the event to the dead letters. After an error it is where it was.
	Bury(ctx context.Context, e *Stored, why Death) error
	// Close ends Next and frees what the Queue uses. What is stored stays.
	Close()
}

// Stored is an event that a Queue keeps.
type Stored struct {
	Seq  uint64 // its place in the Queue; grows
	ID   string // names the event, here and in all places where it ends up
	Hook Hook
	Time time.Time // when the broker told it
	Body []byte    // the request, as the provider may see it

	sent time.Duration // when it was last handed to the provider, since epoch; only with a Recorder
}

// Death is why an event became a dead letter.
type Death struct {
	Tries int
	Error string // of the last one
}

// ErrStoreFull is what a Queue wraps when there is no room for an event.
var ErrStoreFull = errors.New("the store is full")

// ErrNotStored says that an event is not stored, or not any more.
var ErrNotStored = errors.New("the event is not stored any more")

// eventIDKey is what a context has an event's id under.
type eventIDKey struct{}

// EventID is the id of the durable event that a Conn is asked to deliver with ctx; ""
// for all others.
func EventID(ctx context.Context) string {
	id, _ := ctx.Value(eventIDKey{}).(string)
	return id
}

func withEventID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, eventIDKey{}, id)
}
