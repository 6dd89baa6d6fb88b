package host

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
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

var rawCall = grpc.ForceCodecV2(rawcodec.New())

// Decide implements mux.Conn.
func (c *conn) Decide(ctx context.Context, h mux.Hook, req []byte) ([]byte, error) {
	return c.invoke(ctx, h, req)
}

// Notify implements mux.Conn.
func (c *conn) Notify(ctx context.Context, h mux.Hook, req []byte) error {
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
	switch s := status.Convert(err); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.Code() == codes.DeadlineExceeded: // the provider says so, or its clock is a hair ahead
		return nil, fmt.Errorf("%w: %s", context.DeadlineExceeded, s.Message())
	case s.Code() == codes.Unavailable, s.Code() == codes.Canceled:
		c.broken.Store(true)
		return nil, fmt.Errorf("%w: %s", mux.ErrDown, s.Message())
	default:
		return nil, fmt.Errorf("%w: %w", mux.ErrAnswered, err)
	}
}

// invoke makes a unary call with encoded messages.
func invoke(ctx context.Context, cc *grpc.ClientConn, method string, req []byte) ([]byte, error) {
	var resp rawcodec.Message
	err := cc.Invoke(ctx, method, rawcodec.Message(req), &resp, rawCall)
	return resp, err
}

// load tells the provider that hookmux is here, and learns which hooks it wants.
func load(ctx context.Context, c mux.Conn, version string) (wants []mux.HookSpec, ignored []string, err error) {
	resp, err := c.Decide(ctx, mux.ProviderLoaded, mux.OwnLoadRequest(version, time.Now()))
	if err != nil {
		return nil, nil, fmt.Errorf("it did not answer OnProviderLoaded: %w", err)
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
