package host

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/internal/rawcodec"
)

// conn speaks the ExHook service, one call an event, to a plugin or a remote.
type conn struct {
	cc   *grpc.ClientConn
	api  mux.API
	gone <-chan struct{} // closed when the process or connection has ended
}

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
	resp, err := invoke(ctx, c.cc, c.api.FullMethod(h), req)
	if err == nil {
		return resp, nil
	}
	switch s := status.Convert(err); s.Code() {
	case codes.DeadlineExceeded:
		if ctx.Err() == nil {
			// The two clocks differ by a hair, or the provider says so itself.
			return nil, fmt.Errorf("%w: %s", context.DeadlineExceeded, s.Message())
		}
		return nil, ctx.Err()
	case codes.Canceled:
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %s", mux.ErrDown, s.Message())
	case codes.Unavailable:
		return nil, fmt.Errorf("%w: %s", mux.ErrDown, s.Message())
	default:
		return nil, fmt.Errorf("%s: %s", s.Code(), s.Message())
	}
}

// invoke makes a unary call with encoded messages.
func invoke(ctx context.Context, cc *grpc.ClientConn, method string, req []byte) ([]byte, error) {
	var resp rawcodec.Message
	err := cc.Invoke(ctx, method, rawcodec.Message(req), &resp, rawCall)
	return resp, err
}

// load tells the provider that hookmux is here, and learns which hooks it wants.
func (c *conn) load(ctx context.Context, version string) ([]mux.HookSpec, []string, error) {
	resp, err := invoke(ctx, c.cc, c.api.FullMethod(mux.ProviderLoaded), mux.OwnLoadRequest(version, time.Now()))
	if err != nil {
		return nil, nil, err
	}
	return mux.ParseLoaded(resp)
}

// unload tells the provider that hookmux will ask nothing more.
func (c *conn) unload(ctx context.Context, version string) {
	_, _ = invoke(ctx, c.cc, c.api.FullMethod(mux.ProviderUnloaded), mux.OwnUnloadRequest(version))
}

// showBrokers tells the provider of the brokers that loaded hookmux before it
// was up.
func (c *conn) showBrokers(ctx context.Context, m *mux.Mux) {
	for _, req := range m.Brokers() {
		_, _ = invoke(ctx, c.cc, c.api.FullMethod(mux.ProviderLoaded), req)
	}
}
