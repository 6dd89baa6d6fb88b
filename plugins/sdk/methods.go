package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// method answers one hook from bytes to bytes, for app protocol 2: it decodes
// the request, runs the plugin's method and appends the encoded response to
// out. It hands out back unless there is an error, whose text is for the host.
type method func(ctx context.Context, request, out []byte) ([]byte, error)

// methodTable has the method of each pluginv1.Hook; those that are no hook are
// nil. It is made once, so that an event costs an index and no type assertion.
type methodTable [pluginv1.Hook_HOOK_MESSAGE_ACKED + 1]method

func newMethodTable(h *handler) *methodTable {
	return &methodTable{
		pluginv1.Hook_HOOK_PROVIDER_LOADED:      loadedMethod(h),
		pluginv1.Hook_HOOK_PROVIDER_UNLOADED:    notifyMethod(h, "OnProviderUnloaded", ProviderUnloadedHook.OnProviderUnloaded),
		pluginv1.Hook_HOOK_CLIENT_CONNECT:       notifyMethod(h, "OnClientConnect", ClientConnectHook.OnClientConnect),
		pluginv1.Hook_HOOK_CLIENT_CONNACK:       notifyMethod(h, "OnClientConnack", ClientConnackHook.OnClientConnack),
		pluginv1.Hook_HOOK_CLIENT_CONNECTED:     notifyMethod(h, "OnClientConnected", ClientConnectedHook.OnClientConnected),
		pluginv1.Hook_HOOK_CLIENT_DISCONNECTED:  notifyMethod(h, "OnClientDisconnected", ClientDisconnectedHook.OnClientDisconnected),
		pluginv1.Hook_HOOK_CLIENT_AUTHENTICATE:  decideMethod(h, "OnClientAuthenticate", ClientAuthenticateHook.OnClientAuthenticate),
		pluginv1.Hook_HOOK_CLIENT_AUTHORIZE:     decideMethod(h, "OnClientAuthorize", ClientAuthorizeHook.OnClientAuthorize),
		pluginv1.Hook_HOOK_CLIENT_SUBSCRIBE:     notifyMethod(h, "OnClientSubscribe", ClientSubscribeHook.OnClientSubscribe),
		pluginv1.Hook_HOOK_CLIENT_UNSUBSCRIBE:   notifyMethod(h, "OnClientUnsubscribe", ClientUnsubscribeHook.OnClientUnsubscribe),
		pluginv1.Hook_HOOK_SESSION_CREATED:      notifyMethod(h, "OnSessionCreated", SessionCreatedHook.OnSessionCreated),
		pluginv1.Hook_HOOK_SESSION_SUBSCRIBED:   notifyMethod(h, "OnSessionSubscribed", SessionSubscribedHook.OnSessionSubscribed),
		pluginv1.Hook_HOOK_SESSION_UNSUBSCRIBED: notifyMethod(h, "OnSessionUnsubscribed", SessionUnsubscribedHook.OnSessionUnsubscribed),
		pluginv1.Hook_HOOK_SESSION_RESUMED:      notifyMethod(h, "OnSessionResumed", SessionResumedHook.OnSessionResumed),
		pluginv1.Hook_HOOK_SESSION_DISCARDED:    notifyMethod(h, "OnSessionDiscarded", SessionDiscardedHook.OnSessionDiscarded),
		pluginv1.Hook_HOOK_SESSION_TAKENOVER:    notifyMethod(h, "OnSessionTakenover", SessionTakenoverHook.OnSessionTakenover),
		pluginv1.Hook_HOOK_SESSION_TERMINATED:   notifyMethod(h, "OnSessionTerminated", SessionTerminatedHook.OnSessionTerminated),
		pluginv1.Hook_HOOK_MESSAGE_INGRESS:      transformMethod(h, "OnMessageIngress", MessageIngressHook.OnMessageIngress),
		pluginv1.Hook_HOOK_MESSAGE_PUBLISH:      transformMethod(h, "OnMessagePublish", MessagePublishHook.OnMessagePublish),
		pluginv1.Hook_HOOK_MESSAGE_DELIVERED:    notifyMethod(h, "OnMessageDelivered", MessageDeliveredHook.OnMessageDelivered),
		pluginv1.Hook_HOOK_MESSAGE_DROPPED:      notifyMethod(h, "OnMessageDropped", MessageDroppedHook.OnMessageDropped),
		pluginv1.Hook_HOOK_MESSAGE_ACKED:        notifyMethod(h, "OnMessageAcked", MessageAckedHook.OnMessageAcked),
	}
}

// of finds the method of a hook number, nil for one from the future.
func (t *methodTable) of(hook uint64) method {
	if hook < uint64(len(t)) {
		return t[hook]
	}
	return nil
}

// request is a pointer to a generated request type.
type request[T any] interface {
	*T
	proto.Message
}

// notifyMethod is for methods that have nothing to say but an error.
func notifyMethod[H, T any, P request[T]](h *handler, name string, call func(H, context.Context, P) error) method {
	plugin, ok := h.plugin.(H)
	if !ok {
		return func(_ context.Context, _, out []byte) ([]byte, error) { return out, nil }
	}
	return func(ctx context.Context, request, out []byte) (_ []byte, err error) {
		r := P(new(T))
		if err := unmarshal(request, r); err != nil {
			return out, undecodable(name, err)
		}
		defer recovered(name, &err)
		if err := call(plugin, ctx, r); err != nil {
			return out, plain(name, err)
		}
		return out, nil
	}
}

// loadedMethod answers which hooks the plugin wants.
func loadedMethod(h *handler) method {
	tell := notifyMethod(h, "OnProviderLoaded", ProviderLoadedHook.OnProviderLoaded)
	return func(ctx context.Context, request, out []byte) ([]byte, error) {
		if _, err := tell(ctx, request, nil); err != nil {
			return out, err
		}
		return proto.MarshalOptions{}.MarshalAppend(out, h.loaded())
	}
}

// decideMethod is for methods that answer Access.
func decideMethod[H, T any, P interface {
	request[T]
	GetResult() bool
}](h *handler, name string, call func(H, context.Context, P) (Access, error)) method {
	plugin, ok := h.plugin.(H)
	if !ok {
		return ignoring
	}
	return func(ctx context.Context, request, out []byte) (_ []byte, err error) {
		r := P(new(T))
		if err := unmarshal(request, r); err != nil {
			return out, undecodable(name, err)
		}
		result := r.GetResult()
		defer recovered(name, &err)
		a, err := call(plugin, ctx, r)
		if err != nil {
			return out, plain(name, err)
		}
		if encoded, ok := accessAnswers[accessAnswer{a, result}]; ok {
			return append(out, encoded...), nil
		}
		return appendResponse(out, name)(a.wire(result)) // which is an error
	}
}

// accessAnswer is what the encoding of an Access depends on.
type accessAnswer struct {
	access Access
	result bool // the decision so far
}

// accessAnswers are all that there are, encoded: they are a few bytes each, but
// as messages three allocations and a walk through their descriptor.
//
//nolint:gochecknoglobals // a constant table
var accessAnswers = func() map[accessAnswer][]byte {
	answers := make(map[accessAnswer][]byte)
	for _, a := range []Access{Allow, Deny, NoOpinion, Allow.Final(), Deny.Final(), NoOpinion.Final()} {
		for _, result := range []bool{false, true} {
			res, err := a.wire(result)
			if err != nil {
				panic(err)
			}
			encoded, err := proto.Marshal(res)
			if err != nil {
				panic(err)
			}
			answers[accessAnswer{a, result}] = encoded
		}
	}
	return answers
}()

// transformMethod is for methods that answer Answer.
func transformMethod[H, T any, P interface {
	request[T]
	GetMessage() *Message
}](h *handler, name string, call func(H, context.Context, P) (Answer, error)) method {
	plugin, ok := h.plugin.(H)
	if !ok {
		return ignoring
	}
	return func(ctx context.Context, request, out []byte) (_ []byte, err error) {
		r := P(new(T))
		if err := unmarshal(request, r); err != nil {
			return out, undecodable(name, err)
		}
		m := r.GetMessage()
		defer recovered(name, &err)
		a, err := call(plugin, ctx, r)
		if err != nil {
			return out, plain(name, err)
		}
		res, err := a.wire(m)
		if err != nil || res.GetMessage() == nil {
			return appendResponse(out, name)(res, err)
		}
		return appendMessageAnswer(out, res), nil
	}
}

// appendMessageAnswer encodes what hookmux takes from an answer to a message
// hook, and nothing else: of an ordinary message that is less than half.
func appendMessageAnswer(out []byte, res *exhookv3.ValuedResponse) []byte {
	const allowPublish = "allow_publish"
	m := res.GetMessage()
	allow, said := m.GetHeaders()[allowPublish]
	size, header := 0, 0
	if m.GetQos() != 0 {
		size += protowire.SizeTag(3) + protowire.SizeVarint(uint64(m.GetQos()))
	}
	size += protowire.SizeTag(5) + protowire.SizeBytes(len(m.GetTopic()))
	if len(m.GetPayload()) > 0 {
		size += protowire.SizeTag(6) + protowire.SizeBytes(len(m.GetPayload()))
	}
	if said {
		header = protowire.SizeTag(1) + protowire.SizeBytes(len(allowPublish)) + protowire.SizeTag(2) + protowire.SizeBytes(len(allow))
		size += protowire.SizeTag(8) + protowire.SizeBytes(header)
	}

	out = slices.Grow(out, size+16)
	if res.GetType() != exhookv3.ValuedResponse_CONTINUE {
		out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), uint64(res.GetType()))
	}
	out = protowire.AppendVarint(protowire.AppendTag(out, 4, protowire.BytesType), uint64(size))
	if m.GetQos() != 0 {
		out = protowire.AppendVarint(protowire.AppendTag(out, 3, protowire.VarintType), uint64(m.GetQos()))
	}
	out = protowire.AppendString(protowire.AppendTag(out, 5, protowire.BytesType), m.GetTopic())
	if len(m.GetPayload()) > 0 {
		out = protowire.AppendBytes(protowire.AppendTag(out, 6, protowire.BytesType), m.GetPayload())
	}
	if said {
		out = protowire.AppendVarint(protowire.AppendTag(out, 8, protowire.BytesType), uint64(header))
		out = protowire.AppendString(protowire.AppendTag(out, 1, protowire.BytesType), allowPublish)
		out = protowire.AppendString(protowire.AppendTag(out, 2, protowire.BytesType), allow)
	}
	return out
}

// ignoring answers a valued hook that the plugin does not have.
func ignoring(_ context.Context, _, out []byte) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(out, ignored())
}

// appendResponse encodes an answer, or makes an invalid one an error that names
// the method.
func appendResponse(out []byte, name string) func(*exhookv3.ValuedResponse, error) ([]byte, error) {
	return func(res *exhookv3.ValuedResponse, err error) ([]byte, error) {
		if err == nil {
			out, err = proto.MarshalOptions{}.MarshalAppend(out, res)
		}
		if err != nil {
			return out, fmt.Errorf("%s: %s", name, short(err.Error()))
		}
		return out, nil
	}
}

func undecodable(name string, err error) error {
	return fmt.Errorf("%s: decoding the request: %s", name, short(err.Error()))
}

// plain makes a plugin's error a text for the host. It is never empty: an empty
// one would be an answer on the wire.
func plain(name string, err error) error {
	text := short(err.Error())
	if text == "" {
		text = name + " failed without saying why"
	}
	return errors.New(text)
}
