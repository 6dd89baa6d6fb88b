package sdk

import (
	"context"
	"strings"

	"google.golang.org/grpc/stats"
)

// answered counts the calls whose answer is not yet on its way. That is a
// moment longer than the method runs, and it matters: the host closes the
// connection as soon as Shutdown is answered, so the answers before it must be
// queued before it.
type answered struct{ calls calls }

type countedKey struct{}

// TagRPC is called when a call begins; go-plugin's own calls are not counted,
// since some last as long as the connection.
func (a *answered) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if strings.HasPrefix(info.FullMethodName, "/emqx.exhook.") && a.calls.enter() {
		return context.WithValue(ctx, countedKey{}, true)
	}
	return ctx
}

// HandleRPC is called when a call has ended, among other things.
func (a *answered) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ended := s.(*stats.End); ended && ctx.Value(countedKey{}) != nil {
		a.calls.leave()
	}
}

// TagConn is part of stats.Handler.
func (a *answered) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn is part of stats.Handler.
func (a *answered) HandleConn(context.Context, stats.ConnStats) {}
