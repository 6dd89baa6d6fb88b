// Package server is hookmux's face to brokers: one gRPC server with the three
// versions of the ExHook service, which hands every request's bytes to a Mux.
//
// It never answers an event with a gRPC error and never refuses a stream: EMQX
// hangs on both until its timeout.
package server

import (
	"context"
	"math"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/rawcodec"

	// The descriptors that reflection shows.
	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// Server serves brokers. Make it with New.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
}

// streamWorkers is how many calls at a time find a goroutine waiting.
const streamWorkers = 64

// New makes a server that asks m about every event.
func New(m *mux.Mux) *Server {
	s := &Server{
		grpc: grpc.NewServer(
			grpc.ForceServerCodecV2(rawcodec.New()),
			// EMQX pings every 60 s, also without streams; other clients more often.
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
			// A broker that vanished without a word is noticed within a minute.
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 45 * time.Second, Timeout: 15 * time.Second}),
			// gRPC would answer a larger message with an error. MQTT's largest packet
			// is 256 MB.
			grpc.MaxRecvMsgSize(math.MaxInt32),
			grpc.MaxSendMsgSize(math.MaxInt32),
			grpc.UnknownServiceHandler(unknownMethod),
			// Goroutines that have grown their stack for one call serve the next: an
			// eighth of the CPU of an event. More calls at a time get one of their own.
			grpc.NumStreamWorkers(streamWorkers),
			// Fixed windows, so that grpc-go does not measure the bandwidth with a ping
			// for every few requests. Left to itself it would go up to 16 MB.
			grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		),
		health: health.NewServer(),
	}
	for api := mux.V1; api <= mux.V3; api++ {
		s.grpc.RegisterService(serviceDesc(api), m)
		s.health.SetServingStatus(api.Service(), healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s
}

// Serve takes connections from l until Stop. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Stop takes no more connections, lets the calls under way end until ctx does,
// and then closes everything.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// serviceDesc describes one version of the service, from the hook table.
func serviceDesc(api mux.API) *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{
		ServiceName: api.Service(),
		HandlerType: (*any)(nil),
		Metadata:    strings.ReplaceAll(strings.TrimSuffix(api.Service(), ".HookProvider"), ".", "/") + "/exhook.proto",
	}
	add := func(h mux.Hook, answer func(m *mux.Mux, ctx context.Context, body []byte) []byte) {
		d.Methods = append(d.Methods, grpc.MethodDesc{
			MethodName: api.Method(h),
			Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var body rawcodec.Message
				if err := dec(&body); err != nil {
					return nil, err
				}
				return rawcodec.Message(answer(srv.(*mux.Mux), ctx, body)), nil
			},
		})
	}
	add(mux.ProviderLoaded, func(m *mux.Mux, ctx context.Context, body []byte) []byte { return m.Load(ctx, api, body) })
	add(mux.ProviderUnloaded, func(m *mux.Mux, ctx context.Context, body []byte) []byte {
		m.Unload(ctx, body)
		return nil
	})
	for _, h := range mux.Hooks() {
		if api.Has(h) {
			add(h, func(m *mux.Mux, ctx context.Context, body []byte) []byte {
				return m.Dispatch(ctx, mux.NewEvent(h, body))
			})
		}
	}
	return d
}

// unknownMethod answers an RPC that a newer EMQX may have added to the service
// with an empty message: no broker was told that we want it. Other services
// are refused as usual.
func unknownMethod(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if !strings.HasPrefix(method, "/emqx.exhook.") {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	var body rawcodec.Message
	if err := stream.RecvMsg(&body); err != nil {
		return err
	}
	return stream.SendMsg(rawcodec.Message{})
}
