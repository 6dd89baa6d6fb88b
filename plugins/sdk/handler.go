package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// NewHandler makes a plugin answer ExHook calls in this process, as Serve does
// in one of its own: for unit tests, and for programs that embed a plugin. It
// checks the plugin as Serve does and returns the same errors.
//
// Start and Stop are not called: that is up to the caller. The handler may be
// called from many goroutines at once. Its errors are gRPC statuses:
// DeadlineExceeded and Canceled for the context's errors, Unknown for other
// errors of the plugin, Internal for a panic or an invalid answer.
func NewHandler(plugin any) (exhookv3.HookProviderServer, error) {
	return newHandler(plugin)
}

// handler answers every RPC of the service for one plugin.
type handler struct {
	exhookv3.UnimplementedHookProviderServer

	plugin  any
	hooks   []hookRow
	topics  Topics
	pure    []Hook
	batches *batcher
	calls   calls
}

func newHandler(plugin any) (*handler, error) {
	hooks, err := check(plugin)
	if err != nil {
		return nil, err
	}
	h := &handler{plugin: plugin, hooks: hooks, batches: newBatcher(plugin)}
	if p, ok := plugin.(TopicsProvider); ok {
		h.topics = p.Topics()
	}
	if err := h.topics.check(hooks); err != nil {
		return nil, err
	}
	if p, ok := plugin.(PureProvider); ok {
		h.pure = p.Pure()
	}
	if err := checkPure(h.pure, plugin); err != nil {
		return nil, err
	}
	return h, nil
}

// checkPure holds that pure is said of hooks that the plugin answers.
func checkPure(pure []Hook, plugin any) error {
	var valued []string
	for _, r := range rows {
		if r.kind == access || r.kind == answer {
			valued = append(valued, string(r.name))
		}
	}
	for _, hook := range pure {
		row, ok := rowOf(hook)
		switch {
		case !ok:
			return fmt.Errorf("method Pure: there is no hook %q%s", hook, didYouMean(string(hook), valued))
		case row.kind != access && row.kind != answer:
			return fmt.Errorf("method Pure: %s has no answer, only %s have", hook, strings.Join(valued, ", "))
		case !row.has(plugin):
			return fmt.Errorf("method Pure: the plugin has no method %s", row.signature())
		}
	}
	return nil
}

// loaded is what the plugin wants to be called for.
func (h *handler) loaded() *exhookv3.LoadedResponse {
	specs := make([]*exhookv3.HookSpec, 0, len(h.hooks))
	for _, r := range h.hooks {
		specs = append(specs, &exhookv3.HookSpec{Name: string(r.name), Topics: h.topics[r.name], Pure: slices.Contains(h.pure, r.name)})
	}
	return &exhookv3.LoadedResponse{Hooks: specs}
}

// invoke runs one method of the plugin: it turns a panic into an error for
// this call, since the process answers for many clients, and errors into
// statuses.
func invoke[Req, Res any](ctx context.Context, h *handler, method string, r Req, run func(context.Context, Req) (Res, error)) (res Res, err error) {
	if !h.calls.enter() {
		return res, status.Error(codes.Unavailable, "the plugin is stopping")
	}
	defer h.calls.leave()
	defer recovered(method, &err)
	res, err = run(ctx, r)
	if err != nil {
		return res, toStatus(err)
	}
	return res, nil
}

// recovered is deferred around a method of the plugin.
func recovered(method string, err *error) {
	if v := recover(); v != nil {
		slog.Error("panic in the plugin", "method", method, "panic", short(fmt.Sprint(v)), "stack", stack())
		*err = status.Errorf(codes.Internal, "%s panicked: %s", method, short(fmt.Sprint(v)))
	}
}

// notify runs a method that has nothing to say but an error.
func notify[Req any](ctx context.Context, h *handler, method string, r Req, run func(context.Context, Req) error) (*exhookv3.EmptySuccess, error) {
	_, err := invoke(ctx, h, method, r, func(ctx context.Context, r Req) (struct{}, error) {
		return struct{}{}, run(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	return &exhookv3.EmptySuccess{}, nil
}

// decide runs a method that answers Access.
func decide[Req interface{ GetResult() bool }](ctx context.Context, h *handler, method string, r Req, run func(context.Context, Req) (Access, error)) (*exhookv3.ValuedResponse, error) {
	result := r.GetResult()
	a, err := invoke(ctx, h, method, r, run)
	if err != nil {
		return nil, err
	}
	return valid(method)(a.wire(result))
}

// transform runs a method that answers Answer.
func transform[Req interface{ GetMessage() *Message }](ctx context.Context, h *handler, method string, r Req, run func(context.Context, Req) (Answer, error)) (*exhookv3.ValuedResponse, error) {
	m := r.GetMessage()
	a, err := invoke(ctx, h, method, r, run)
	if err != nil {
		return nil, err
	}
	return valid(method)(a.wire(m))
}

// valid makes an invalid answer a status that names the method.
func valid(method string) func(*exhookv3.ValuedResponse, error) (*exhookv3.ValuedResponse, error) {
	return func(res *exhookv3.ValuedResponse, err error) (*exhookv3.ValuedResponse, error) {
		if err != nil {
			return nil, status.Errorf(codes.Internal, "%s: %s", method, short(err.Error()))
		}
		return res, nil
	}
}

// toStatus never passes a plugin's own status on: a backend's Unavailable
// would look as if the plugin itself were gone.
func toStatus(err error) error {
	switch {
	case errors.As(err, new(*unavailableError)):
		return status.Error(codes.Unavailable, short(err.Error()))
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return status.Error(codes.DeadlineExceeded, short(err.Error()))
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, short(err.Error()))
	}
	return status.Error(codes.Unknown, short(err.Error()))
}

// Unavailable says that what a method needs for an event is away, such as its database: no fault of
// the event. Delivered durably, the event is tried again as long as it takes, and not made a
// dead letter; everywhere else it is an error like any other.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &unavailableError{err}
}

type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// short makes a text one line of at most 300 bytes: it travels in a header.
func short(s string) string {
	const limit = 300
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// stack is where a panic came from, called by the function that recovers. It is
// short, since hookmux cuts a log line at 8 KiB, and a line that is cut is no
// JSON any more.
func stack() string {
	const most = 24
	pcs := make([]uintptr, most)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			fmt.Fprintf(&b, "%s %s:%d\n", f.Function, f.File, f.Line)
		}
		if !more || b.Len() > 4000 {
			return b.String()
		}
	}
}
