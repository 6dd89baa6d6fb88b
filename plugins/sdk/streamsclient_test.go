package sdk_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// streamsClient is hookmux's side of app protocol 2, as plain as can be. As a
// grpc.ClientConnInterface it sends unary calls over the streams.
type streamsClient struct {
	conn           *grpc.ClientConn
	decide, notify *clientStream
}

// clientStream is one of the streams.
type clientStream struct {
	stream grpc.ClientStream
	ids    atomic.Uint64
	end    context.CancelFunc
	sendMu sync.Mutex
	outbox []byte        // what batching is to send next
	wake   chan struct{} // not nil: batching
	sent   int           // batches

	mu      sync.Mutex
	waiting map[uint64]chan<- batch.Reply
	batches int           // received
	ended   chan struct{} // closed when the stream has ended with err
	err     error
}

// openStreams opens both; they end with the test.
func openStreams(t testing.TB, conn *grpc.ClientConn) *streamsClient {
	t.Helper()
	return &streamsClient{conn, openStream(t, conn, "Decide", true), openStream(t, conn, "Notify", true)}
}

func openStream(t testing.TB, conn *grpc.ClientConn, name string, reading bool) *clientStream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, "/hookmux.plugin.v1.Plugin/"+name, grpc.ForceCodecV2(rawcodec.New()))
	if err != nil {
		t.Fatal(err)
	}
	s := &clientStream{stream: stream, end: cancel, waiting: make(map[uint64]chan<- batch.Reply), ended: make(chan struct{})}
	if reading {
		go s.read()
	}
	t.Cleanup(func() {
		cancel()
		if reading {
			<-s.ended
		}
	})
	return s
}

func (s *clientStream) read() {
	defer close(s.ended)
	for {
		var b rawcodec.Message
		if s.err = s.stream.RecvMsg(&b); s.err != nil {
			return
		}
		s.mu.Lock()
		s.batches++
		s.mu.Unlock()
		if s.err = batch.ReadReplies(b, s.reply); s.err != nil {
			return
		}
	}
}

func (s *clientStream) reply(r *batch.Reply) {
	s.mu.Lock()
	c := s.waiting[r.ID]
	delete(s.waiting, r.ID)
	s.mu.Unlock()
	if c != nil {
		c <- batch.Reply{ID: r.ID, Answer: slices.Clone(r.Answer), Error: r.Error, Unavailable: r.Unavailable}
	}
}

// expect makes an id whose reply goes to c.
func (s *clientStream) expect(c chan<- batch.Reply) uint64 {
	id := s.ids.Add(1)
	s.mu.Lock()
	s.waiting[id] = c
	s.mu.Unlock()
	return id
}

func (s *clientStream) send(b []byte) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.stream.SendMsg(rawcodec.Message(b))
}

// post sends an event at once or, when batching, with others.
func (s *clientStream) post(e *batch.Event) error {
	if s.wake == nil {
		return s.send(batch.AppendEvent(nil, e))
	}
	s.sendMu.Lock()
	first := len(s.outbox) == 0
	s.outbox = batch.AppendEvent(s.outbox, e)
	s.sendMu.Unlock()
	if first {
		s.wake <- struct{}{}
	}
	return nil
}

// batching makes post collect events while others are being sent, as hookmux
// does.
func (s *clientStream) batching(t testing.TB) {
	s.wake = make(chan struct{}, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-s.wake:
			case <-s.stream.Context().Done():
				return
			}
			s.sendMu.Lock()
			b := s.outbox
			s.outbox = nil
			s.sent++
			s.sendMu.Unlock()
			_ = s.stream.SendMsg(rawcodec.Message(b))
		}
	}()
	t.Cleanup(func() { s.end(); <-stopped })
}

func (s *clientStream) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches
}

// call sends one event and waits for its reply.
func (s *clientStream) call(ctx context.Context, hook pluginv1.Hook, key, request []byte) ([]byte, error) {
	c := make(chan batch.Reply, 1)
	e := batch.Event{ID: s.expect(c), Hook: uint64(hook), Key: key, Request: request}
	if deadline, ok := ctx.Deadline(); ok {
		e.TimeoutUs = uint64(max(1, time.Until(deadline).Microseconds()))
	}
	if err := s.post(&e); err != nil {
		return nil, err
	}
	for done := ctx.Done(); ; {
		select {
		case r := <-c:
			if r.Error != "" {
				return nil, status.Error(codes.Unknown, r.Error)
			}
			return r.Answer, nil
		case <-s.ended:
			return nil, status.Error(codes.Unavailable, fmt.Sprint("the stream has ended: ", s.err))
		case <-done:
			if ctx.Err() == context.DeadlineExceeded {
				return nil, status.FromContextError(ctx.Err()).Err()
			}
			done = nil
			if err := s.send(batch.AppendCanceled(nil, e.ID)); err != nil {
				return nil, err
			}
		}
	}
}

// hookOf finds the number of a method such as OnClientConnect.
func hookOf(method string) pluginv1.Hook {
	for n, name := range pluginv1.Hook_name {
		if strings.EqualFold("On"+strings.ReplaceAll(strings.TrimPrefix(name, "HOOK_"), "_", ""), method) {
			return pluginv1.Hook(n)
		}
	}
	panic("no hook for " + method)
}

var decided = []pluginv1.Hook{
	pluginv1.Hook_HOOK_PROVIDER_LOADED, pluginv1.Hook_HOOK_PROVIDER_UNLOADED, pluginv1.Hook_HOOK_CLIENT_AUTHENTICATE,
	pluginv1.Hook_HOOK_CLIENT_AUTHORIZE, pluginv1.Hook_HOOK_MESSAGE_PUBLISH, pluginv1.Hook_HOOK_MESSAGE_INGRESS,
}

// Invoke implements grpc.ClientConnInterface; of the options only that requests
// can be bytes is understood.
func (c *streamsClient) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	request, raw := args.([]byte)
	if m, ok := args.(proto.Message); ok {
		request, _ = proto.Marshal(m)
	} else if !raw {
		return fmt.Errorf("a request of type %T", args)
	}
	hook, s := hookOf(method[strings.LastIndexByte(method, '/')+1:]), c.notify
	if slices.Contains(decided, hook) {
		s = c.decide
	}
	answer, err := s.call(ctx, hook, nil, request)
	if err != nil {
		return err
	}
	if m, ok := reply.(proto.Message); ok {
		return proto.Unmarshal(answer, m)
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface.
func (c *streamsClient) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, io.ErrUnexpectedEOF
}
