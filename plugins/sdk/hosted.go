package sdk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/emptypb"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// parent is who started us, noted as early as the program runs: after the
// parent's end the id is another one.
//
//nolint:gochecknoglobals // a fact about the process
var parent = os.Getppid()

// parentPoll is how often we look whether the parent still is there.
const parentPoll = 500 * time.Millisecond

// serveHosted serves go-plugin's host until it says Shutdown, ctx ends or the
// parent process is gone. told is called at the first of these.
func serveHosted(ctx context.Context, told context.CancelFunc, h *handler) error {
	if errStdout != nil {
		return fmt.Errorf("setting stdout aside for the handshake: %w", errStdout)
	}
	s := newHosted(ctx, told, h)
	defer s.end()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(done) })

	delayCollection()
	os.Stdout = handshakeOut
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			MagicCookieKey:   handshake.CookieKey,
			MagicCookieValue: handshake.CookieValue,
		},
		VersionedPlugins: s.protocols(),
		GRPCServer:       s.newServer,
		// The host's log is ours, so only what would otherwise be lost: why
		// the socket could not be opened.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
	s.restore.Do(restoreStdio)
	close(done)
	watching.Wait()
	if !s.stopping.Load() {
		return errors.New("serving ended by itself; is the socket's folder (TMPDIR) there and writable?")
	}
	return nil
}

// protocols are the app protocol versions we speak; go-plugin picks the
// highest that the host knows too.
func (s *hosted) protocols() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{
		handshake.Unary:  {handshake.PluginName: unary{handler: s.h}},
		handshake.Stream: {handshake.PluginName: &streams{calls: &s.h.calls, methods: newMethodTable(s.h), batches: s.h.batches, batchRows: newBatchTable(s.h.batches), ended: s.ended}},
	}
}

// speaksStream reports whether app protocol 2 is the one, as go-plugin finds out
// after it has asked for the server.
func speaksStream() bool {
	return slices.Contains(strings.Split(os.Getenv("PLUGIN_PROTOCOL_VERSIONS"), ","), strconv.Itoa(handshake.Stream))
}

// unary is app protocol 1: the plain ExHook service.
type unary struct {
	plugin.NetRPCUnsupportedPlugin

	handler *handler
}

// GRPCServer registers the service; go-plugin calls it in the plugin.
func (u unary) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	exhookv3.RegisterHookProviderServer(s, u.handler)
	return nil
}

// GRPCClient is the host's side of the interface; the SDK has none.
func (u unary) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// hosted is the state of serving a go-plugin host.
type hosted struct {
	h        *handler
	ctx      context.Context //nolint:containedctx // ends when the plugin is told to stop
	told     context.CancelFunc
	ended    context.Context //nolint:containedctx // ends when what was under way is answered, or out of time
	end      context.CancelFunc
	server   atomic.Pointer[grpc.Server]
	answered answered
	stopping atomic.Bool
	restore  sync.Once
}

func newHosted(ctx context.Context, told context.CancelFunc, h *handler) *hosted {
	s := &hosted{h: h, ctx: ctx, told: told}
	s.ended, s.end = context.WithCancel(context.Background())
	return s
}

// newServer is called once by go-plugin, which adds its own services.
func (s *hosted) newServer(opts []grpc.ServerOption) *grpc.Server {
	opts = append(opts, serverOptions()...)
	opts = append(opts, grpc.ForceServerCodecV2(rawcodec.New()))
	// Fixed windows, so that grpc-go does not measure the bandwidth of a unix
	// socket with pings; a full stream holds at most its window in memory.
	opts = append(opts, grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.ReadBufferSize(128<<10), grpc.WriteBufferSize(128<<10))
	opts = append(opts, grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream))
	if !speaksStream() { // its streams count for themselves
		opts = append(opts, grpc.StatsHandler(&s.answered))
	}
	server := grpc.NewServer(opts...)
	s.server.Store(server)
	return server
}

// serverOptions are the same hosted and standalone: what the caller may send
// is its own affair, and a PING of an idle broker is no abuse.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// unary sees every call: the first comes after go-plugin has replaced os.Stdout
// and os.Stderr. Shutdown is answered here, since go-plugin's own would cut the
// calls under way.
func (s *hosted) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.restore.Do(restoreStdio)
	if info.FullMethod == "/plugin.GRPCController/Shutdown" {
		s.prepareStop()
		return &emptypb.Empty{}, nil // as empty as go-plugin's, which is internal
	}
	return next(ctx, req)
}

// stream ends go-plugin's own streams when the plugin stops; they would
// otherwise last as long as the connection.
func (s *hosted) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	s.restore.Do(restoreStdio)
	if strings.HasPrefix(info.FullMethod, "/hookmux.plugin.") {
		return next(srv, stream) // ours end when all is answered
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return next(srv, endingStream{stream, ctx})
}

type endingStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // the way to replace a stream's context
}

// Context ends before the stream's own when the plugin stops.
func (s endingStream) Context() context.Context { return s.ctx }

// RecvMsg ends with the context too: go-plugin's broker waits for a message
// that never comes. m may then still be written to; nobody reads it any more.
func (s endingStream) RecvMsg(m any) error {
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// prepareStop lets the calls under way end and takes no new ones.
func (s *hosted) prepareStop() {
	s.stopping.Store(true)
	s.told()
	ctx, cancel := context.WithTimeout(context.Background(), hostedDrain)
	defer cancel()
	s.h.calls.drain(ctx)
	s.answered.calls.drain(ctx)
	s.end()
}

// watch stops the server when the plugin is told to stop (ctx) and when the
// parent is gone: nobody is left then to ask for anything, or to stop us.
func (s *hosted) watch(done <-chan struct{}) {
	ticks := time.NewTicker(parentPoll)
	defer ticks.Stop()
	for os.Getppid() == parent && s.ctx.Err() == nil {
		select {
		case <-done:
			return
		case <-s.ctx.Done():
		case <-ticks.C:
		}
	}
	s.prepareStop()
	for {
		if server := s.server.Load(); server != nil {
			stopServer(server)
			return
		}
		select { // told to stop before go-plugin has made the server
		case <-done:
			return
		case <-ticks.C:
		}
	}
}

// stopServer sends the answers that are ready, but does not wait for a handler
// that hangs; GracefulStop would, even after Stop.
func stopServer(server *grpc.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.GracefulStop()
	}()
	select {
	case <-done:
	case <-time.After(lastAnswers):
		server.Stop()
	}
}

// restoreStdio undoes go-plugin's replacement of os.Stdout and os.Stderr by
// pipes, which would block the plugin if the host did not read them.
func restoreStdio() {
	if ownStdout != nil {
		os.Stdout, os.Stderr = ownStdout, ownStderr
	}
}
