package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
	"github.com/hookmux/hookmux/proto/handshake"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// client speaks one app protocol to the plugin.
type client struct {
	cc             *grpc.ClientConn
	decide, notify *stream // of protocol 2
}

func newClient(p *process, protocol int) (*client, error) {
	c := &client{cc: p.cc}
	if protocol == handshake.Unary {
		return c, nil
	}
	var err error
	if c.decide, err = openStream(p.cc, pluginv1.Plugin_Decide_FullMethodName); err != nil {
		return nil, fmt.Errorf("open the stream Decide: %w", err)
	}
	if c.notify, err = openStream(p.cc, pluginv1.Plugin_Notify_FullMethodName); err != nil {
		return nil, fmt.Errorf("open the stream Notify: %w", err)
	}
	return c, nil
}

func (c *client) close() {
	for _, s := range []*stream{c.decide, c.notify} {
		if s != nil {
			s.cancel()
			<-s.ended
		}
	}
}

// pluginError is the plugin's own error for an event: an answer, of a kind.
type pluginError struct{ text string }

func (e *pluginError) Error() string { return "it answered with an error: " + e.text }

// call sends one event as hookmux does: those that somebody waits for on Decide.
func (c *client) call(ctx context.Context, h mux.Hook, key, request []byte) ([]byte, error) {
	if c.decide == nil {
		return c.unary(ctx, h, request)
	}
	s := c.decide
	if !h.Valued() && h != mux.ProviderLoaded && h != mux.ProviderUnloaded {
		s = c.notify
	}
	return s.call(ctx, h, key, request)
}

func (c *client) unary(ctx context.Context, h mux.Hook, request []byte) ([]byte, error) {
	var answer rawcodec.Message
	err := c.cc.Invoke(ctx, mux.V3.FullMethod(h), rawcodec.Message(request), &answer)
	switch code := status.Code(err); {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, noAnswer(ctx)
	case code == codes.Unavailable && c.isUp(): // what it needs is away
		return nil, &pluginError{fmt.Sprintf("%s: %s", code, status.Convert(err).Message())}
	case code == codes.Unavailable, code == codes.Canceled, code == codes.DeadlineExceeded:
		return nil, fmt.Errorf("no answer: %w", err)
	case code == codes.ResourceExhausted:
		return nil, fmt.Errorf("a limit of its gRPC server: %w", err)
	default:
		return nil, &pluginError{fmt.Sprintf("%s: %s", code, status.Convert(err).Message())}
	}
}

// isUp says whether the connection is there, which gRPC may take a moment to note.
func (c *client) isUp() bool {
	time.Sleep(5 * time.Millisecond)
	return c.cc.GetState() == connectivity.Ready
}

func noAnswer(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return ctx.Err()
}

// stream is one stream of protocol 2, as plain as can be.
type stream struct {
	cs     grpc.ClientStream
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // why, after ended; nil: the plugin ended it with status OK

	sending sync.Mutex
	mu      sync.Mutex
	next    uint64
	batches int // received
	open    map[uint64]func(reply)
	strange []uint64 // ids of replies to nothing
}

type reply struct {
	batch.Reply
	batch int // in which it came
}

func openStream(cc *grpc.ClientConn, method string) (*stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	cs, err := cc.NewStream(ctx, desc, method)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{cs: cs, cancel: cancel, ended: make(chan struct{}), open: make(map[uint64]func(reply))}
	go s.read()
	return s, nil
}

func (s *stream) read() {
	defer close(s.ended)
	for {
		var b rawcodec.Message
		if err := s.cs.RecvMsg(&b); err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return
		}
		s.mu.Lock()
		s.batches++
		n := s.batches
		s.mu.Unlock()
		err := batch.ReadReplies(b, func(r *batch.Reply) {
			s.mu.Lock()
			took, ok := s.open[r.ID]
			delete(s.open, r.ID)
			if !ok {
				s.strange = append(s.strange, r.ID)
			}
			s.mu.Unlock()
			if ok {
				took(reply{batch.Reply{ID: r.ID, Answer: slices.Clone(r.Answer), Error: r.Error, Unavailable: r.Unavailable}, n})
			}
		})
		if err != nil {
			s.err = fmt.Errorf("it sent a %w", err)
			s.cancel()
			return
		}
	}
}

// add appends an event to a batch; took gets its reply, from the stream's reader.
func (s *stream) add(b []byte, e batch.Event, took func(reply)) (_ []byte, id uint64) {
	s.mu.Lock()
	s.next++
	e.ID = s.next
	s.open[e.ID] = took
	s.mu.Unlock()
	return batch.AppendEvent(b, &e), e.ID
}

func (s *stream) send(b []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.cs.SendMsg(rawcodec.Message(b)); err != nil {
		return s.why()
	}
	return nil
}

// why says why the stream has ended, which it has, or is about to.
func (s *stream) why() error {
	select {
	case <-s.ended:
	case <-time.After(time.Second):
		return errors.New("the stream takes nothing more")
	}
	if s.err == nil {
		return errors.New("the plugin ended the stream")
	}
	return fmt.Errorf("the stream has ended: %w", s.err)
}

// call sends one event and waits for its reply.
func (s *stream) call(ctx context.Context, h mux.Hook, key, request []byte) ([]byte, error) {
	got := make(chan reply, 1)
	e := batch.Event{Hook: wireHook(h), Key: key, Request: request}
	if d, ok := ctx.Deadline(); ok {
		e.TimeoutUs = uint64(max(1, time.Until(d).Microseconds()))
	}
	b, id := s.add(nil, e, func(r reply) { got <- r })
	if err := s.send(b); err != nil {
		return nil, err
	}
	select {
	case r := <-got:
		if r.Error != "" {
			return nil, &pluginError{r.Error}
		}
		return r.Answer, nil
	case <-s.ended:
		return nil, s.why()
	case <-ctx.Done():
		_ = s.send(batch.AppendCanceled(nil, id))
		return nil, noAnswer(ctx)
	}
}

// unanswered is how many events have no reply.
func (s *stream) unanswered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// unasked are ids of replies to events that there were not, or that had one before.
func (s *stream) unasked() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

func wireHook(h mux.Hook) uint64 { return uint64(h) + 1 }
