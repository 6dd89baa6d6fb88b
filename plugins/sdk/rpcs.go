package sdk

import (
	"context"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// The service's methods, in the order of the .proto. Each looks for the
// plugin's own method; without one, and if the hook does not come in batches, a
// notification is acknowledged and a valued hook answered IGNORE, so that a call too
// many does no harm.

// OnProviderLoaded answers which hooks the plugin wants.
func (h *handler) OnProviderLoaded(ctx context.Context, r *ProviderLoadedRequest) (*exhookv3.LoadedResponse, error) {
	if p, ok := h.plugin.(ProviderLoadedHook); ok {
		if _, err := notify(ctx, h, "OnProviderLoaded", r, p.OnProviderLoaded); err != nil {
			return nil, err
		}
	}
	return h.loaded(), nil
}

func (h *handler) OnProviderUnloaded(ctx context.Context, r *ProviderUnloadedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ProviderUnloadedHook); ok {
		return notify(ctx, h, "OnProviderUnloaded", r, p.OnProviderUnloaded)
	}
	return &exhookv3.EmptySuccess{}, nil
}

func (h *handler) OnClientConnect(ctx context.Context, r *ClientConnectRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientConnectHook); ok {
		return notify(ctx, h, "OnClientConnect", r, p.OnClientConnect)
	}
	return h.acknowledged(ctx, ClientConnect, r)
}

func (h *handler) OnClientConnack(ctx context.Context, r *ClientConnackRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientConnackHook); ok {
		return notify(ctx, h, "OnClientConnack", r, p.OnClientConnack)
	}
	return h.acknowledged(ctx, ClientConnack, r)
}

func (h *handler) OnClientConnected(ctx context.Context, r *ClientConnectedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientConnectedHook); ok {
		return notify(ctx, h, "OnClientConnected", r, p.OnClientConnected)
	}
	return h.acknowledged(ctx, ClientConnected, r)
}

func (h *handler) OnClientDisconnected(ctx context.Context, r *ClientDisconnectedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientDisconnectedHook); ok {
		return notify(ctx, h, "OnClientDisconnected", r, p.OnClientDisconnected)
	}
	return h.acknowledged(ctx, ClientDisconnected, r)
}

func (h *handler) OnClientAuthenticate(ctx context.Context, r *ClientAuthenticateRequest) (*exhookv3.ValuedResponse, error) {
	if p, ok := h.plugin.(ClientAuthenticateHook); ok {
		return decide(ctx, h, "OnClientAuthenticate", r, p.OnClientAuthenticate)
	}
	return h.unanswered(ctx, ClientAuthenticate, r)
}

func (h *handler) OnClientAuthorize(ctx context.Context, r *ClientAuthorizeRequest) (*exhookv3.ValuedResponse, error) {
	if p, ok := h.plugin.(ClientAuthorizeHook); ok {
		return decide(ctx, h, "OnClientAuthorize", r, p.OnClientAuthorize)
	}
	return h.unanswered(ctx, ClientAuthorize, r)
}

func (h *handler) OnClientSubscribe(ctx context.Context, r *ClientSubscribeRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientSubscribeHook); ok {
		return notify(ctx, h, "OnClientSubscribe", r, p.OnClientSubscribe)
	}
	return h.acknowledged(ctx, ClientSubscribe, r)
}

func (h *handler) OnClientUnsubscribe(ctx context.Context, r *ClientUnsubscribeRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(ClientUnsubscribeHook); ok {
		return notify(ctx, h, "OnClientUnsubscribe", r, p.OnClientUnsubscribe)
	}
	return h.acknowledged(ctx, ClientUnsubscribe, r)
}

func (h *handler) OnSessionCreated(ctx context.Context, r *SessionCreatedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionCreatedHook); ok {
		return notify(ctx, h, "OnSessionCreated", r, p.OnSessionCreated)
	}
	return h.acknowledged(ctx, SessionCreated, r)
}

func (h *handler) OnSessionSubscribed(ctx context.Context, r *SessionSubscribedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionSubscribedHook); ok {
		return notify(ctx, h, "OnSessionSubscribed", r, p.OnSessionSubscribed)
	}
	return h.acknowledged(ctx, SessionSubscribed, r)
}

func (h *handler) OnSessionUnsubscribed(ctx context.Context, r *SessionUnsubscribedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionUnsubscribedHook); ok {
		return notify(ctx, h, "OnSessionUnsubscribed", r, p.OnSessionUnsubscribed)
	}
	return h.acknowledged(ctx, SessionUnsubscribed, r)
}

func (h *handler) OnSessionResumed(ctx context.Context, r *SessionResumedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionResumedHook); ok {
		return notify(ctx, h, "OnSessionResumed", r, p.OnSessionResumed)
	}
	return h.acknowledged(ctx, SessionResumed, r)
}

func (h *handler) OnSessionDiscarded(ctx context.Context, r *SessionDiscardedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionDiscardedHook); ok {
		return notify(ctx, h, "OnSessionDiscarded", r, p.OnSessionDiscarded)
	}
	return h.acknowledged(ctx, SessionDiscarded, r)
}

func (h *handler) OnSessionTakenover(ctx context.Context, r *SessionTakenoverRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionTakenoverHook); ok {
		return notify(ctx, h, "OnSessionTakenover", r, p.OnSessionTakenover)
	}
	return h.acknowledged(ctx, SessionTakenover, r)
}

func (h *handler) OnSessionTerminated(ctx context.Context, r *SessionTerminatedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(SessionTerminatedHook); ok {
		return notify(ctx, h, "OnSessionTerminated", r, p.OnSessionTerminated)
	}
	return h.acknowledged(ctx, SessionTerminated, r)
}

func (h *handler) OnMessageIngress(ctx context.Context, r *MessageIngressRequest) (*exhookv3.ValuedResponse, error) {
	if p, ok := h.plugin.(MessageIngressHook); ok {
		return transform(ctx, h, "OnMessageIngress", r, p.OnMessageIngress)
	}
	return h.unanswered(ctx, MessageIngress, r)
}

func (h *handler) OnMessagePublish(ctx context.Context, r *MessagePublishRequest) (*exhookv3.ValuedResponse, error) {
	if p, ok := h.plugin.(MessagePublishHook); ok {
		return transform(ctx, h, "OnMessagePublish", r, p.OnMessagePublish)
	}
	return h.unanswered(ctx, MessagePublish, r)
}

func (h *handler) OnMessageDelivered(ctx context.Context, r *MessageDeliveredRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(MessageDeliveredHook); ok {
		return notify(ctx, h, "OnMessageDelivered", r, p.OnMessageDelivered)
	}
	return h.acknowledged(ctx, MessageDelivered, r)
}

func (h *handler) OnMessageDropped(ctx context.Context, r *MessageDroppedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(MessageDroppedHook); ok {
		return notify(ctx, h, "OnMessageDropped", r, p.OnMessageDropped)
	}
	return h.acknowledged(ctx, MessageDropped, r)
}

func (h *handler) OnMessageAcked(ctx context.Context, r *MessageAckedRequest) (*exhookv3.EmptySuccess, error) {
	if p, ok := h.plugin.(MessageAckedHook); ok {
		return notify(ctx, h, "OnMessageAcked", r, p.OnMessageAcked)
	}
	return h.acknowledged(ctx, MessageAcked, r)
}
