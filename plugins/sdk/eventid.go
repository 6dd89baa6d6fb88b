package sdk

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"
)

// eventIDKey is what a stream's events have their id under.
type eventIDKey struct{}

// eventIDMetadata is where it is in app protocol 1.
const eventIDMetadata = "hookmux-event-id"

// EventID names the notification that a method is called for, when it is delivered
// durably (`delivery: durable`): the same in every attempt to deliver it, also after
// restarts, so that a method can tell a repetition. It is "" for all other events. ctx is
// the method's, or made from it.
func EventID(ctx context.Context) string {
	if id, ok := ctx.Value(eventIDKey{}).(string); ok {
		return id
	}
	if id := metadata.ValueFromIncomingContext(ctx, eventIDMetadata); len(id) > 0 {
		return id[0]
	}
	return ""
}

// eventTime is when hookmux took an event: its id is a UUID of version 7, which begins with
// the time in milliseconds. Of one that is not, it is otherwise.
func eventTime(id string, otherwise time.Time) time.Time {
	const length, version = 36, 14 // 01234567-89ab-7…
	if len(id) != length || id[8] != '-' || id[version] != '7' {
		return otherwise
	}
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	if err != nil {
		return otherwise
	}
	return time.UnixMilli(ms)
}
