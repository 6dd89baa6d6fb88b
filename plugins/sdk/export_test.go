package sdk

import (
	"context"

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
