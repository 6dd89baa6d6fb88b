package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// serveStandalone serves EMQX itself, in all three versions of ExHook, until
// ctx ends.
func serveStandalone(ctx context.Context, address string, h *handler) error {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--standalone %s: %w", address, err)
	}
	server := newStandaloneServer(h)
	stopped := context.AfterFunc(ctx, func() {
		drained, cancel := context.WithTimeout(context.Background(), standaloneDrain)
		defer cancel()
		h.calls.drain(drained)
		stopServer(server)
	})
	defer stopped()
	slog.Info("serving EMQX", "address", lis.Addr().String(), "hooks", h.hookNames())
	return server.Serve(lis)
}

func newStandaloneServer(h *handler) *grpc.Server {
	codec := tolerantCodec{encoding.GetCodecV2("proto")}
	server := grpc.NewServer(append(serverOptions(), grpc.ForceServerCodecV2(codec))...)
	for _, v := range []int{1, 2, 3} {
		server.RegisterService(standaloneService(h, v), h)
	}
	return server
}

// standaloneService is the service of one ExHook version. The versions are the
// same on the wire but for some names, and for BrokerInfo.uptime, which of v1
// ends up in the unknown fields.
func standaloneService(h *handler, version int) *grpc.ServiceDesc {
	desc := exhookv3.HookProvider_ServiceDesc
	desc.ServiceName = "emqx.exhook.v" + strconv.Itoa(version) + ".HookProvider"
	desc.Methods = nil
	for _, m := range exhookv3.HookProvider_ServiceDesc.Methods {
		method, answerCall := m.MethodName, m.Handler
		if version < 3 && method == "OnMessageIngress" {
			continue
		}
		if old, ok := v1Methods[method]; ok && version == 1 {
			m.MethodName = old
		}
		m.Handler = func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			c := &standaloneCall{h: h, version: version, method: method}
			return c.answer(ctx, decode, func(ctx context.Context, decode func(any) error) (any, error) {
				return answerCall(srv, ctx, decode, nil)
			}), nil
		}
		desc.Methods = append(desc.Methods, m)
	}
	return &desc
}

// The names that v1 has others for.
//
//nolint:gochecknoglobals // constant tables
var (
	v1Methods = map[string]string{
		"OnClientAuthorize":  "OnClientCheckAcl",
		"OnSessionTakenover": "OnSessionTakeovered",
	}
	v1Hooks = map[string]string{
		"client.authorize":  "client.check_acl",
		"session.takenover": "session.takeovered",
	}
)

// standaloneCall is one call of EMQX. It never ends in a gRPC error and never
// later than EMQX waits: EMQX would hang on the one, and on both it lets a
// message through that the plugin might have refused.
type standaloneCall struct {
	h       *handler
	version int
	method  string

	req     any      // once decoded
	refused *Message // the answer to a message hook that has none
}

type outcome struct {
	res any
	err error
}

func (c *standaloneCall) answer(ctx context.Context, decode func(any) error, call func(context.Context, func(any) error) (any, error)) any {
	forPlugin, giveUp, cancel := deadlines(ctx)
	defer cancel()
	// The request's bytes are gone once this function has returned, so a
	// late plugin is not left behind before they are decoded.
	decoded := make(chan struct{})
	done := make(chan outcome, 1)
	go func() {
		res, err := call(forPlugin, func(req any) error {
			defer close(decoded)
			try := attempt{message: req}
			if err := errors.Join(decode(&try), try.err); err != nil {
				return fmt.Errorf("decoding the request: %w", err)
			}
			c.req, c.refused = req, refusedOf(req)
			return nil
		})
		done <- outcome{res, err}
	}()
	<-decoded
	var o outcome
	select {
	case o = <-done:
	case <-giveUp.Done():
		o.err = context.Cause(giveUp)
	}
	if o.err != nil {
		slog.Error("no answer from the plugin", "method", c.method, "exhook", c.version, "error", o.err)
		return c.failClosed()
	}
	if loaded, ok := o.res.(*exhookv3.LoadedResponse); ok {
		c.adapt(loaded)
	}
	return o.res
}

// tolerantCodec reports what it cannot decode to the caller of decode instead
// of grpc-go, which would end the call with an error at once.
type tolerantCodec struct{ encoding.CodecV2 }

// attempt is a message to decode, and what came of it.
type attempt struct {
	message any
	err     error
}

// Unmarshal is called by grpc-go with what was given to decode.
func (c tolerantCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if try, ok := v.(*attempt); ok {
		try.err = c.CodecV2.Unmarshal(data, try.message)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// deadlines leave the plugin nine tenths of EMQX's time, at most 250 ms less
// than all of it, and give up on it half-way between that and EMQX's own end.
func deadlines(ctx context.Context) (forPlugin, giveUp context.Context, cancel func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, ctx, func() {}
	}
	reserve := min(time.Until(deadline)/10, 250*time.Millisecond)
	giveUp, cancelGiveUp := context.WithDeadlineCause(ctx, deadline.Add(-reserve/2), errTooSlow)
	forPlugin, cancelPlugin := context.WithDeadline(giveUp, deadline.Add(-reserve))
	return forPlugin, giveUp, func() { cancelPlugin(); cancelGiveUp() }
}

var errTooSlow = fmt.Errorf("not done in the time EMQX waits: %w", context.DeadlineExceeded)

// refusedOf is made before the plugin gets the request, which a plugin that is
// late may still be changing.
func refusedOf(req any) *Message {
	switch r := req.(type) {
	case *MessagePublishRequest:
		return refused(r.GetMessage())
	case *MessageIngressRequest:
		return refused(r.GetMessage())
	}
	return nil
}

// failClosed is the answer when the plugin has none: no, and finally.
func (c *standaloneCall) failClosed() proto.Message {
	row, _ := rowOfMethod(c.method)
	stop := exhookv3.ValuedResponse_STOP_AND_RETURN
	switch {
	case c.method == "OnProviderLoaded":
		// While EMQX has not loaded a provider it lets everybody in, so the
		// plugin's own trouble with the notice must not fail the load.
		loaded := c.h.loaded()
		c.adapt(loaded)
		return loaded
	case row.kind == access:
		return &exhookv3.ValuedResponse{Type: stop, Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: false}}
	case row.kind == answer:
		m := c.refused
		if m == nil { // not even decoded; EMQX knows which message it asked for
			m = refused(nil)
		}
		return &exhookv3.ValuedResponse{Type: stop, Value: &exhookv3.ValuedResponse_Message{Message: m}}
	}
	return &exhookv3.EmptySuccess{}
}

// adapt names the hooks as this broker does: an unknown name would fail the
// whole load.
func (c *standaloneCall) adapt(loaded *exhookv3.LoadedResponse) {
	var broker string
	if r, ok := c.req.(*ProviderLoadedRequest); ok {
		broker = r.GetBroker().GetVersion()
	}
	var known []*exhookv3.HookSpec
	for _, spec := range loaded.GetHooks() {
		if spec.Name == string(MessageIngress) && (c.version < 3 || !hasIngress(broker)) {
			slog.Warn("this broker has no message.ingress, which EMQX 6.3 brought", "broker", broker)
			continue
		}
		if old, ok := v1Hooks[spec.Name]; ok && c.version == 1 {
			spec.Name = old
		}
		spec.Pure = false // hookmux's business
		known = append(known, spec)
	}
	loaded.Hooks = known
	slog.Info("loaded by a broker", "broker", broker, "exhook", c.version)
}

// hasIngress reports whether a broker's version is 6.3 or later.
func hasIngress(version string) bool {
	majorText, rest, _ := strings.Cut(version, ".")
	minorText, _, _ := strings.Cut(rest, ".")
	major, err1 := strconv.Atoi(majorText)
	minor, err2 := strconv.Atoi(minorText)
	return err1 == nil && err2 == nil && (major > 6 || major == 6 && minor >= 3)
}
