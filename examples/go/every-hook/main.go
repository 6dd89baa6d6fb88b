// Every-hook prints every event, and leaves every decision to others: delete what
// you do not need.
package main

import (
	"context"
	"fmt"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct{}

func (plugin) OnClientAuthenticate(_ context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	fmt.Println("client.authenticate", r.GetClientinfo().GetClientid())
	return sdk.NoOpinion, nil
}

func (plugin) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	fmt.Println("client.authorize", r.GetClientinfo().GetClientid(), r.GetType(), r.GetTopic())
	return sdk.NoOpinion, nil
}

func (plugin) OnMessageIngress(_ context.Context, r *sdk.MessageIngressRequest) (sdk.Answer, error) {
	fmt.Println("message.ingress", r.GetMessage().GetTopic())
	return sdk.Pass, nil
}

func (plugin) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	fmt.Println("message.publish", r.GetMessage().GetTopic())
	return sdk.Pass, nil
}

func (plugin) OnClientConnect(_ context.Context, r *sdk.ClientConnectRequest) error {
	return note("client.connect", r.GetConninfo().GetClientid())
}

func (plugin) OnClientConnack(_ context.Context, r *sdk.ClientConnackRequest) error {
	return note("client.connack", r.GetConninfo().GetClientid())
}

func (plugin) OnClientConnected(_ context.Context, r *sdk.ClientConnectedRequest) error {
	return note("client.connected", r.GetClientinfo().GetClientid())
}

func (plugin) OnClientDisconnected(_ context.Context, r *sdk.ClientDisconnectedRequest) error {
	return note("client.disconnected", r.GetClientinfo().GetClientid())
}

func (plugin) OnClientSubscribe(_ context.Context, r *sdk.ClientSubscribeRequest) error {
	return note("client.subscribe", r.GetClientinfo().GetClientid())
}

func (plugin) OnClientUnsubscribe(_ context.Context, r *sdk.ClientUnsubscribeRequest) error {
	return note("client.unsubscribe", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionCreated(_ context.Context, r *sdk.SessionCreatedRequest) error {
	return note("session.created", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionSubscribed(_ context.Context, r *sdk.SessionSubscribedRequest) error {
	return note("session.subscribed", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionUnsubscribed(_ context.Context, r *sdk.SessionUnsubscribedRequest) error {
	return note("session.unsubscribed", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionResumed(_ context.Context, r *sdk.SessionResumedRequest) error {
	return note("session.resumed", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionDiscarded(_ context.Context, r *sdk.SessionDiscardedRequest) error {
	return note("session.discarded", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionTakenover(_ context.Context, r *sdk.SessionTakenoverRequest) error {
	return note("session.takenover", r.GetClientinfo().GetClientid())
}

func (plugin) OnSessionTerminated(_ context.Context, r *sdk.SessionTerminatedRequest) error {
	return note("session.terminated", r.GetClientinfo().GetClientid())
}

func (plugin) OnMessageDelivered(_ context.Context, r *sdk.MessageDeliveredRequest) error {
	return note("message.delivered", r.GetMessage().GetTopic())
}

func (plugin) OnMessageDropped(_ context.Context, r *sdk.MessageDroppedRequest) error {
	return note("message.dropped", r.GetMessage().GetTopic())
}

func (plugin) OnMessageAcked(_ context.Context, r *sdk.MessageAckedRequest) error {
	return note("message.acked", r.GetMessage().GetTopic())
}

func note(hook, about string) error {
	fmt.Println(hook, about)
	return nil
}

func main() { sdk.Serve(plugin{}) }
