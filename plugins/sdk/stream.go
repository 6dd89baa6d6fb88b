package sdk

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// How much of each stream may be under way. Reading pauses at either limit, so
// they bound the plugin's memory, whatever the host sends.
const (
	maxDecisions     = 1024
	maxNotifications = 4096
	maxStreamBytes   = 32 << 20
)

// streams is app protocol 2: hookmux.plugin.v1, a stream for decisions and one
// for notifications.
type streams struct {
	plugin.NetRPCUnsupportedPlugin

	calls     *calls
	methods   *methodTable
	batches   *batcher
	batchRows batchTable
	ended     context.Context //nolint:containedctx // when nothing more will be answered
}

// GRPCServer registers the service; go-plugin calls it in the plugin.
func (s *streams) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(s.service(), s)
	return nil
}

// GRPCClient is the host's side of the interface; the SDK has none.
func (s *streams) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// service is the generated one with handlers that take bytes.
func (s *streams) service() *grpc.ServiceDesc {
	handlers := map[string]grpc.StreamHandler{
		"Decide": func(_ any, stream grpc.ServerStream) error {
			return s.serve(stream, maxDecisions, newDecisions)
		},
		"Notify": func(_ any, stream grpc.ServerStream) error {
			return s.serve(stream, maxNotifications, newNotifications)
		},
	}
	desc := pluginv1.Plugin_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Streams = nil
	for _, d := range pluginv1.Plugin_ServiceDesc.Streams {
		d.Handler = handlers[d.StreamName]
		desc.Streams = append(desc.Streams, d)
	}
	return &desc
}

// handling is what becomes of a stream's events. Its methods are called by the
// stream's reader.
type handling interface {
	// handle sees to it that the event is answered. It does not wait for that.
	handle(e *event, key []byte)
	// handled is called after the last event of a batch.
	handled()
	// cancel ends the context of an event that is under way.
	cancel(id uint64)
	// close lets go of the goroutines, once there are no more events.
	close()
}

// stream is one of the two streams. Its handler is the writer, since returning
// from it is the only way to end a read that waits.
type stream struct {
	grpc.ServerStream
	*streams

	ctx      context.Context //nolint:containedctx // ends with the stream
	window   *window
	replies  *replies
	handling handling
	// waitsForEach is for events that begin at once, so that also those of one
	// batch can be too many; others are taken a batch at a time.
	waitsForEach bool

	mu   sync.Mutex
	read error // why reading has ended: io.EOF, or what the stream ends with
}

// serve answers one stream's events until the host ends it, or the plugin stops.
func (s *streams) serve(grpcStream grpc.ServerStream, maxEvents int, newHandling func(*stream) handling) error {
	ctx, cancel := context.WithCancel(grpcStream.Context())
	defer cancel()
	st := &stream{ServerStream: grpcStream, streams: s, ctx: ctx, window: newWindow(maxEvents, maxStreamBytes)}
	st.replies = newReplies(func(events, bytes int) {
		st.window.leave(events, bytes)
		s.calls.leaveN(events)
	})
	st.handling = newHandling(st)
	defer context.AfterFunc(ctx, st.replies.wakeWriter)()
	defer context.AfterFunc(s.ended, st.replies.wakeWriter)()
	go func() {
		defer st.handling.close()
		st.readEnded(st.readAll())
	}()
	defer st.replies.close()
	return st.writeAll()
}

// readAll reads until there is nothing more to read.
func (s *stream) readAll() error {
	for {
		if err := s.window.wait(s.ctx); err != nil {
			return err
		}
		var b rawcodec.Message
		if err := s.RecvMsg(&b); err != nil {
			return err
		}
		if err := s.readBatch(b, time.Now()); err != nil {
			return err
		}
	}
}

var errStopping = errors.New("the plugin is stopping")

func (s *stream) readBatch(b []byte, now time.Time) error {
	var stopped error
	err := batch.ReadEvents(b, func(in *batch.Event) {
		if stopped != nil {
			return
		}
		if s.waitsForEach {
			if s.window.full() {
				s.handling.handled() // what it waits for may be in this batch
			}
			if stopped = s.window.wait(s.ctx); stopped != nil {
				return
			}
		}
		if !s.calls.enterN(1) {
			stopped = errStopping
			return
		}
		s.window.enter(len(in.Request))
		e := &event{id: in.ID, hook: in.Hook, request: in.Request, eventID: in.EventID, method: s.methods.of(in.Hook), stream: s.ctx}
		switch {
		case !s.waitsForEach:
			e.timeoutUs = in.TimeoutUs
		case in.TimeoutUs > 0:
			e.deadline = deadline(now, in.TimeoutUs)
		}
		if e.method == nil {
			s.replies.add(e, nil, status.Errorf(codes.Unimplemented, "hook %d is not known to this plugin", in.Hook))
			s.replies.wakeWriter()
			return
		}
		if row := s.batchRows[in.Hook]; row != nil {
			s.batched(row, e, now, in.TimeoutUs)
			return
		}
		s.handling.handle(e, in.Key)
	}, func(id uint64) {
		s.batches.cancel(s.ctx, id)
		s.handling.cancel(id)
	})
	s.handling.handled()
	s.batches.arrived()
	if err != nil {
		return status.Error(codes.InvalidArgument, "the batch is malformed")
	}
	return stopped
}

// deadline keeps to what a time.Duration can hold; more than a day is as good
// as no limit.
func deadline(now time.Time, timeoutUs uint64) time.Time {
	const most = 24 * time.Hour
	return now.Add(time.Duration(min(timeoutUs, uint64(most/time.Microsecond))) * time.Microsecond)
}

func (s *stream) readEnded(err error) {
	s.mu.Lock()
	s.read = err
	s.mu.Unlock()
	s.replies.wakeWriter()
}

// writeAll sends the replies until the stream has ended; what it returns is the
// stream's status.
func (s *stream) writeAll() error {
	for {
		<-s.replies.wake
		runtime.Gosched()             // who is about to reply gets into this batch
		ended := s.ended.Err() != nil // before the last replies are taken
		if b, events, bytes := s.replies.take(); events > 0 {
			if err := s.SendMsg(rawcodec.Message(b)); err != nil {
				s.replies.leave(events, bytes)
				return err
			}
			s.replies.leave(events, bytes)
		}
		s.mu.Lock()
		read := s.read
		s.mu.Unlock()
		switch {
		case ended:
			return nil
		case s.ctx.Err() != nil:
			return status.FromContextError(s.ctx.Err()).Err()
		case read == nil, errors.Is(read, errStopping): // goes on until the replies are out
		case errors.Is(read, io.EOF):
			if s.window.empty() {
				return nil
			}
		default:
			return read
		}
	}
}
