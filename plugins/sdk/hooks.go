package sdk

import "context"

// One interface per hook. A plugin implements those it wants, in any mix; the
// names are here for the documentation and for compile-time checks such as
//
//	var _ sdk.ClientAuthenticateHook = (*plugin)(nil)
//
// Every method may be called from many goroutines at once. An error fails that
// one call: hookmux then follows its failure policy for this plugin.
type (
	// ClientAuthenticateHook decides whether a client may log in.
	ClientAuthenticateHook interface {
		OnClientAuthenticate(ctx context.Context, r *ClientAuthenticateRequest) (Access, error)
	}
	// ClientAuthorizeHook decides whether a client may publish to a topic or
	// subscribe to a filter (r.Type tells which).
	ClientAuthorizeHook interface {
		OnClientAuthorize(ctx context.Context, r *ClientAuthorizeRequest) (Access, error)
	}
	// MessageIngressHook decides about a message as its client sent it; it
	// needs EMQX 6.3.
	MessageIngressHook interface {
		OnMessageIngress(ctx context.Context, r *MessageIngressRequest) (Answer, error)
	}
	// MessagePublishHook decides about a message before it is routed.
	MessagePublishHook interface {
		OnMessagePublish(ctx context.Context, r *MessagePublishRequest) (Answer, error)
	}

	// ClientConnectHook hears of a CONNECT packet; nothing is decided yet.
	ClientConnectHook interface {
		OnClientConnect(ctx context.Context, r *ClientConnectRequest) error
	}
	// ClientConnackHook hears of a CONNACK about to be sent.
	ClientConnackHook interface {
		OnClientConnack(ctx context.Context, r *ClientConnackRequest) error
	}
	// ClientConnectedHook hears of a client that was let in.
	ClientConnectedHook interface {
		OnClientConnected(ctx context.Context, r *ClientConnectedRequest) error
	}
	// ClientDisconnectedHook hears of a client that is gone.
	ClientDisconnectedHook interface {
		OnClientDisconnected(ctx context.Context, r *ClientDisconnectedRequest) error
	}
	// ClientSubscribeHook hears of a SUBSCRIBE packet, without the filters
	// that were refused.
	ClientSubscribeHook interface {
		OnClientSubscribe(ctx context.Context, r *ClientSubscribeRequest) error
	}
	// ClientUnsubscribeHook hears of an UNSUBSCRIBE packet.
	ClientUnsubscribeHook interface {
		OnClientUnsubscribe(ctx context.Context, r *ClientUnsubscribeRequest) error
	}
	// SessionCreatedHook hears of a new session.
	SessionCreatedHook interface {
		OnSessionCreated(ctx context.Context, r *SessionCreatedRequest) error
	}
	// SessionSubscribedHook hears of a subscription taken up.
	SessionSubscribedHook interface {
		OnSessionSubscribed(ctx context.Context, r *SessionSubscribedRequest) error
	}
	// SessionUnsubscribedHook hears of a subscription given up.
	SessionUnsubscribedHook interface {
		OnSessionUnsubscribed(ctx context.Context, r *SessionUnsubscribedRequest) error
	}
	// SessionResumedHook hears of a client back in its old session.
	SessionResumedHook interface {
		OnSessionResumed(ctx context.Context, r *SessionResumedRequest) error
	}
	// SessionDiscardedHook hears of a session thrown away for a clean start.
	SessionDiscardedHook interface {
		OnSessionDiscarded(ctx context.Context, r *SessionDiscardedRequest) error
	}
	// SessionTakenoverHook hears of a session moved to another connection.
	SessionTakenoverHook interface {
		OnSessionTakenover(ctx context.Context, r *SessionTakenoverRequest) error
	}
	// SessionTerminatedHook hears of a session's end.
	SessionTerminatedHook interface {
		OnSessionTerminated(ctx context.Context, r *SessionTerminatedRequest) error
	}
	// MessageDeliveredHook hears of a message sent to one subscriber.
	MessageDeliveredHook interface {
		OnMessageDelivered(ctx context.Context, r *MessageDeliveredRequest) error
	}
	// MessageDroppedHook hears of a message that reached nobody.
	MessageDroppedHook interface {
		OnMessageDropped(ctx context.Context, r *MessageDroppedRequest) error
	}
	// MessageAckedHook hears of a message that a subscriber acknowledged.
	MessageAckedHook interface {
		OnMessageAcked(ctx context.Context, r *MessageAckedRequest) error
	}
)

// Optional methods that are not hooks.
type (
	// Starter prepares the plugin: Serve calls Start once, before the first
	// event, and exits with its error. Check the config here. ctx ends when
	// the plugin is asked to stop, so background work can be tied to it.
	Starter interface {
		Start(ctx context.Context) error
	}
	// Stopper ends the plugin: Serve calls Stop once, after the last event.
	// ctx leaves it 1.5 s under hookmux, 5 s standalone; then the process
	// exits anyway.
	Stopper interface {
		Stop(ctx context.Context) error
	}
	// TopicsProvider limits message hooks to some topics; see Topics. It is
	// called once, before Start.
	TopicsProvider interface {
		Topics() Topics
	}
	// PureProvider declares hooks that are pure: the same request always gets the
	// same answer, and asking has no side effect. hookmux may then ask ahead of the
	// plugin's turn, also for nothing, so that a chain of pure plugins costs the time of
	// one. Only hooks with an answer can be. It is called once, before Start.
	PureProvider interface {
		Pure() []Hook
	}
	// ProviderLoadedHook is told which broker node has loaded the plugin,
	// before that node's first event. It does not count as a hook.
	ProviderLoadedHook interface {
		OnProviderLoaded(ctx context.Context, r *ProviderLoadedRequest) error
	}
	// ProviderUnloadedHook is told which broker node has let go of the plugin.
	// It does not count as a hook.
	ProviderUnloadedHook interface {
		OnProviderUnloaded(ctx context.Context, r *ProviderUnloadedRequest) error
	}
)

// Hook names a hook as EMQX does.
type Hook string

// The hooks: those with a decision, those that tell of a client and its session, and
// the message hooks, which are the keys of Topics.
const (
	ClientAuthenticate Hook = "client.authenticate"
	ClientAuthorize    Hook = "client.authorize"

	ClientConnect       Hook = "client.connect"
	ClientConnack       Hook = "client.connack"
	ClientConnected     Hook = "client.connected"
	ClientDisconnected  Hook = "client.disconnected"
	ClientSubscribe     Hook = "client.subscribe"
	ClientUnsubscribe   Hook = "client.unsubscribe"
	SessionCreated      Hook = "session.created"
	SessionSubscribed   Hook = "session.subscribed"
	SessionUnsubscribed Hook = "session.unsubscribed"
	SessionResumed      Hook = "session.resumed"
	SessionDiscarded    Hook = "session.discarded"
	SessionTakenover    Hook = "session.takenover"
	SessionTerminated   Hook = "session.terminated"

	MessageIngress   Hook = "message.ingress"
	MessagePublish   Hook = "message.publish"
	MessageDelivered Hook = "message.delivered"
	MessageDropped   Hook = "message.dropped"
	MessageAcked     Hook = "message.acked"
)

// answers says what a method returns besides its error.
type answers string

const (
	nothing answers = "error"
	access  answers = "(sdk.Access, error)"
	answer  answers = "(sdk.Answer, error)"
	value   answers = "its value"
)

// hookRow is one method that a plugin may have: a hook or an optional method.
type hookRow struct {
	method string
	// name is empty for what is no hook of the broker.
	name Hook
	kind answers
	// has reports whether the plugin has the method with the right signature.
	has func(plugin any) bool
}

// signature is what the author should have written.
func (r hookRow) signature() string {
	switch r.method {
	case "Start", "Stop":
		return r.method + "(ctx context.Context) error"
	case "Topics":
		return "Topics() sdk.Topics"
	case "Pure":
		return "Pure() []sdk.Hook"
	case "BatchHooks":
		return "BatchHooks() []sdk.Hook"
	case "OnBatch":
		return "OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error"
	}
	return r.method + "(ctx context.Context, r *sdk." + r.method[len("On"):] + "Request) " + string(r.kind)
}

func has[T any](plugin any) bool {
	_, ok := plugin.(T)
	return ok
}

// rows is every method the SDK knows, in the order of the LoadedResponse.
//
//nolint:gochecknoglobals // a constant table
var rows = []hookRow{
	{"OnClientConnect", ClientConnect, nothing, has[ClientConnectHook]},
	{"OnClientConnack", ClientConnack, nothing, has[ClientConnackHook]},
	{"OnClientConnected", ClientConnected, nothing, has[ClientConnectedHook]},
	{"OnClientDisconnected", ClientDisconnected, nothing, has[ClientDisconnectedHook]},
	{"OnClientAuthenticate", ClientAuthenticate, access, has[ClientAuthenticateHook]},
	{"OnClientAuthorize", ClientAuthorize, access, has[ClientAuthorizeHook]},
	{"OnClientSubscribe", ClientSubscribe, nothing, has[ClientSubscribeHook]},
	{"OnClientUnsubscribe", ClientUnsubscribe, nothing, has[ClientUnsubscribeHook]},
	{"OnSessionCreated", SessionCreated, nothing, has[SessionCreatedHook]},
	{"OnSessionSubscribed", SessionSubscribed, nothing, has[SessionSubscribedHook]},
	{"OnSessionUnsubscribed", SessionUnsubscribed, nothing, has[SessionUnsubscribedHook]},
	{"OnSessionResumed", SessionResumed, nothing, has[SessionResumedHook]},
	{"OnSessionDiscarded", SessionDiscarded, nothing, has[SessionDiscardedHook]},
	{"OnSessionTakenover", SessionTakenover, nothing, has[SessionTakenoverHook]},
	{"OnSessionTerminated", SessionTerminated, nothing, has[SessionTerminatedHook]},
	{"OnMessageIngress", MessageIngress, answer, has[MessageIngressHook]},
	{"OnMessagePublish", MessagePublish, answer, has[MessagePublishHook]},
	{"OnMessageDelivered", MessageDelivered, nothing, has[MessageDeliveredHook]},
	{"OnMessageDropped", MessageDropped, nothing, has[MessageDroppedHook]},
	{"OnMessageAcked", MessageAcked, nothing, has[MessageAckedHook]},
	{"OnProviderLoaded", "", nothing, has[ProviderLoadedHook]},
	{"OnProviderUnloaded", "", nothing, has[ProviderUnloadedHook]},
	{"Start", "", nothing, has[Starter]},
	{"Stop", "", nothing, has[Stopper]},
	{"Topics", "", value, has[TopicsProvider]},
	{"Pure", "", value, has[PureProvider]},
	{"BatchHooks", "", value, has[interface{ BatchHooks() []Hook }]},
	{"OnBatch", "", nothing, has[interface {
		OnBatch(ctx context.Context, batch []*BatchEvent) error
	}]},
}
