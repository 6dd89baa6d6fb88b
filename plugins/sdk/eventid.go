package sdk

import (
	"context"

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
