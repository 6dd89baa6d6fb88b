// Package server is hookmux's face to brokers: one gRPC server with the three
// versions of the ExHook service, which hands every request's bytes to a Mux.
//
// It never answers an event with a gRPC error and never refuses a stream: EMQX
// hangs on both until its timeout. So what Limits bounds is answered, too: an event
// that is too large is thrown away while it comes in, and refused; one of too many as the providers'
// failure policies for overload say.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync/atomic"
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
	mux    *mux.Mux
	limits atomic.Pointer[Limits]
	calls  atomic.Int64 // under way
	log    *slog.Logger
}

// Options are how to serve. The zero value serves in the clear, with next to no limits.
type Options struct {
	Limits Limits
	// TLS is for who connects; nil: none.
	TLS *tls.Config
	Log *slog.Logger // default: slog.Default()
}

// Limits is what brokers may ask at most; 0 is as much as there can be.
type Limits struct {
	Message     int // bytes of an event
	Calls       int // events under way at a time, that have been read
	Connections int // from one host at a time; counts for those that come later
}

// streamWorkers is how many calls at a time find a goroutine waiting.
const streamWorkers = 64

// maxHeaders is how large the headers of a call may be; EMQX's have some 300 bytes.
const maxHeaders = 32 << 10

// firstWords is how long a connection may take for the TLS handshake and HTTP/2's preface.
const firstWords = 15 * time.Second

// maxStreams is how many calls one connection may have open, read or not. EMQX takes
// no notice of it, so it is more than a broker ever has: each of its clients waits for
// the answer to one.
const maxStreams = 1_000_000

// New makes a server that asks m about every event.
func New(m *mux.Mux, opts Options) *Server {
	s := &Server{mux: m, health: health.NewServer(), log: opts.Log}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.SetLimits(opts.Limits)
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawcodec.New()),
		// EMQX pings every 60 s, also without streams; other clients more often.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		// A broker that vanished without a word is noticed within a minute.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 45 * time.Second, Timeout: 15 * time.Second}),
		// See receive: only a compressed request is read by gRPC.
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(firstWords),
		grpc.UnknownServiceHandler(unknownMethod),
		// Goroutines that have grown their stack for one call serve the next: an
		// eighth of the CPU of an event. More calls at a time get one of their own.
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows, so that grpc-go does not measure the bandwidth with a ping
		// for every few requests. Left to itself it would go up to 16 MB.
		grpc.InitialWindowSize(1 << 20), grpc.InitialConnWindowSize(4 << 20),
	}
	if opts.TLS != nil {
		options = append(options, grpc.Creds(newTLSCredentials(opts.TLS, s.log)))
	}
	s.grpc = grpc.NewServer(options...)
	for api := mux.V1; api <= mux.V3; api++ {
		s.grpc.RegisterService(serviceDesc(api), s)
		s.health.SetServingStatus(api.Service(), healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s
}

// maxMessage is MQTT's largest packet and some more.
const maxMessage = 272 << 20

// SetLimits puts other limits in place.
func (s *Server) SetLimits(l Limits) {
	for _, f := range []struct {
		limit *int
		most  int
	}{{&l.Message, maxMessage}, {&l.Calls, math.MaxInt32}, {&l.Connections, math.MaxInt32}} {
		if *f.limit <= 0 {
			*f.limit = f.most
		}
	}
	s.limits.Store(&l)
}

// Serve takes connections from l until Stop. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(newPerHost(l, s)) }

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
	add := func(h mux.Hook, answer func(s *Server, ctx context.Context, body []byte) []byte) {
		d.Methods = append(d.Methods, grpc.MethodDesc{
			MethodName: api.Method(h),
			Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				s := srv.(*Server)
				body, err := receive(ctx, s.limits.Load().Message, dec)
				var large *tooLarge
				switch {
				case errors.As(err, &large) && h == mux.ProviderLoaded:
					body = noMessage // no EMQX's, but a load that fails is one that lets everybody in
				case errors.As(err, &large):
					return rawcodec.Message(s.mux.TooLarge(ctx, h, large)), nil
				case err != nil:
					return nil, err
				}
				return rawcodec.Message(answer(s, ctx, body)), nil
			},
		})
	}
	add(mux.ProviderLoaded, func(s *Server, ctx context.Context, body []byte) []byte { return s.mux.Load(ctx, api, body) })
	add(mux.ProviderUnloaded, func(s *Server, ctx context.Context, body []byte) []byte {
		s.mux.Unload(ctx, body)
		return nil
	})
	for _, h := range mux.Hooks() {
		if api.Has(h) {
			add(h, func(s *Server, ctx context.Context, body []byte) []byte {
				return s.dispatch(ctx, mux.NewEvent(h, body))
			})
		}
	}
	return d
}

func (s *Server) dispatch(ctx context.Context, ev mux.Event) []byte {
	defer s.calls.Add(-1)
	if s.calls.Add(1) > int64(s.limits.Load().Calls) {
		return s.mux.DispatchUnasked(ctx, ev)
	}
	return s.mux.Dispatch(ctx, ev)
}

// noMessage stands for a request that was not kept.
var noMessage = []byte{0xff}

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
