package muxtest

import (
	"hash/maphash"
	"sync"

	"google.golang.org/grpc"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// serveStreams registers app protocol 2, in its simplest form: a goroutine for
// each decision, one for each of 16 groups of clients.
func (p *player) serveStreams(s *grpc.Server) {
	handler := func(ordered bool) grpc.StreamHandler {
		return func(_ any, stream grpc.ServerStream) error { return p.stream(stream, ordered) }
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: pluginv1.Plugin_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "Decide", Handler: handler(false), ServerStreams: true, ClientStreams: true},
			{StreamName: "Notify", Handler: handler(true), ServerStreams: true, ClientStreams: true},
		},
	}, p)
}

func (p *player) stream(stream grpc.ServerStream, ordered bool) error {
	var sending sync.Mutex
	handle := func(e *batch.Event) {
		answer := p.handle(mux.Hook(e.Hook-1), e.Request)
		sending.Lock()
		defer sending.Unlock()
		_ = stream.SendMsg(rawcodec.Message(batch.AppendReply(nil, &batch.Reply{ID: e.ID, Answer: answer})))
	}
	var groups [16]chan batch.Event
	for i := range groups {
		groups[i] = make(chan batch.Event, 10_000)
		defer close(groups[i])
		go func() {
			for e := range groups[i] {
				handle(&e)
			}
		}()
	}
	seed := maphash.MakeSeed()
	for {
		var b rawcodec.Message
		if err := stream.RecvMsg(&b); err != nil {
			return err
		}
		if err := batch.ReadEvents(b, func(e *batch.Event) {
			if ordered {
				groups[maphash.Bytes(seed, e.Key)%16] <- *e
			} else {
				go handle(&batch.Event{ID: e.ID, Hook: e.Hook, Request: e.Request})
			}
		}, func(uint64) {}); err != nil {
			return err
		}
	}
}
