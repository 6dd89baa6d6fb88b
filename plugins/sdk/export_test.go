package sdk

import (
	"context"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// NewHostedServer is the server that hookmux would call, on both app protocols,
// without the process around it.
func NewHostedServer(p any) (*grpc.Server, func(), error) {
	h, err := newHandler(p)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := newHosted(ctx, cancel, h)
	server := s.newServer(nil)
	for _, set := range s.protocols() {
		for _, p := range set {
			if err := p.(plugin.GRPCPlugin).GRPCServer(nil, server); err != nil {
				return nil, nil, err
			}
		}
	}
	return server, func() { s.end(); cancel() }, nil
}

// Arrive has events come to a plugin as those of one read from a stream do, and waits until they are
// done.
func Arrive(p BatchHook, events ...BatchEvent) {
	b := newBatcher(p)
	defer b.close()
	done := make(chan error)
	for _, e := range events {
		b.add(&batchItem{BatchEvent: e, arrived: time.Now(), over: func() bool { return false }, done: func(err error) { done <- err }})
	}
	b.arrived()
	for range events {
		<-done
	}
}
