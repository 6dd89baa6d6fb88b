package host

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// conn speaks the ExHook service, one call an event, to a remote or to a plugin
// of app protocol 1.
type conn struct {
	cc   *grpc.ClientConn
	api  mux.API
	gone <-chan struct{} // closed when the process or connection has ended

	broken atomic.Bool // a call has failed for want of a connection
}

// noticeGone is how long calls after a broken one wait for news of the process
// or connection, instead of being lost one after another.
const noticeGone = time.Second

// eventIDMetadata is where a provider finds the id of a durable event.
const eventIDMetadata = "hookmux-event-id"

var rawCall = grpc.ForceCodecV2(rawcodec.New())

// maxAnswer is what a provider may send at a time: MQTT's largest packet and
// some more.
const maxAnswer = 272 << 20

var limitAnswer = grpc.MaxCallRecvMsgSize(maxAnswer)

// Decide implements mux.Conn.
func (c *conn) Decide(ctx context.Context, h mux.Hook, req []byte) ([]byte, error) {
	return c.invoke(ctx, h, req)
}

// Notify implements mux.Conn.
func (c *conn) Notify(ctx context.Context, h mux.Hook, req []byte) error {
	if id := mux.EventID(ctx); id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, eventIDMetadata, id)
	}
	_, err := c.invoke(ctx, h, req)
	return err
}

func (c *conn) invoke(ctx context.Context, h mux.Hook, req []byte) ([]byte, error) {
	select {
	case <-c.gone:
		return nil, mux.ErrNotSent
	default:
	}
	if c.broken.Load() && c.cc.GetState() != connectivity.Ready {
		news := time.NewTimer(noticeGone)
		defer news.Stop()
		select {
		case <-c.gone:
			return nil, mux.ErrNotSent
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-news.C:
		}
	}
	resp, err := invoke(ctx, c.cc, c.api.FullMethod(h), req)
	if err == nil {
		c.broken.Store(false)
		return resp, nil
	}
	s := status.Convert(err)
	switch d, limited := ctx.Deadline(); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.Code() == codes.DeadlineExceeded && limited && time.Until(d) < hair:
		return nil, context.DeadlineExceeded
	case (s.Code() == codes.Unavailable || s.Code() == codes.Canceled) && c.isBroken():
		c.broken.Store(true)
		return nil, fmt.Errorf("%w: %s", mux.ErrDown, short(s.Message()))
	default: // the provider's own words, if it was one of these codes
		return nil, &answeredError{code: s.Code(), text: short(s.Message())}
	}
}

// hair is by how much the provider's clock may be ahead.
const hair = 20 * time.Millisecond

// isBroken says whether a call failed for want of a connection, which gRPC may
// take a moment to note.
func (c *conn) isBroken() bool {
	for range 5 {
		select {
		case <-c.gone:
			return true
		case <-time.After(time.Millisecond):
		}
		if c.cc.GetState() != connectivity.Ready {
			return true
		}
	}
	return false
}

// answeredError is an error of the provider's own making.
type answeredError struct {
	code codes.Code
	text string
}

func (e *answeredError) Error() string {
	return fmt.Sprintf("%v: %s: %s", mux.ErrAnswered, e.code, e.text)
}

func (e *answeredError) Unwrap() []error {
	if e.code == codes.Unavailable {
		return []error{mux.ErrAnswered, mux.ErrUnavailable}
	}
	return []error{mux.ErrAnswered}
}

// GRPCStatus lets status.Code find the code.
func (e *answeredError) GRPCStatus() *status.Status { return status.New(e.code, e.text) }

// short keeps what a provider says out of all proportion out of our log.
func short(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("… (%d more bytes)", len(text)-most)
}

// invoke makes a unary call with encoded messages.
func invoke(ctx context.Context, cc *grpc.ClientConn, method string, req []byte) ([]byte, error) {
	var resp rawcodec.Message
	err := cc.Invoke(ctx, method, rawcodec.Message(req), &resp, rawCall, limitAnswer)
	return resp, err
}

// load tells the provider that hookmux is here, and learns which hooks it wants.
func load(ctx context.Context, c mux.Conn, version string) ([]mux.HookSpec, error) {
	resp, err := c.Decide(ctx, mux.ProviderLoaded, mux.OwnLoadRequest(version, time.Now()))
	if err != nil {
		return nil, fmt.Errorf("it did not answer OnProviderLoaded: %w", err)
	}
	return mux.ParseLoaded(resp)
}

// unload tells the provider that hookmux will ask nothing more.
func unload(ctx context.Context, c mux.Conn, version string) {
	_, _ = c.Decide(ctx, mux.ProviderUnloaded, mux.OwnUnloadRequest(version))
}

// showBrokers tells the provider of the brokers that loaded hookmux before it
// was up.
func showBrokers(ctx context.Context, c mux.Conn, m *mux.Mux) {
	for _, req := range m.Brokers() {
		_, _ = c.Decide(ctx, mux.ProviderLoaded, req)
	}
}
