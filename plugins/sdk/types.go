package sdk

import exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"

// The requests, one per hook. They are the wire's own types: a getter of a nil
// part (r.GetClientinfo().GetUsername()) is safe and gives the zero value.
type (
	ProviderLoadedRequest      = exhookv3.ProviderLoadedRequest
	ProviderUnloadedRequest    = exhookv3.ProviderUnloadedRequest
	ClientConnectRequest       = exhookv3.ClientConnectRequest
	ClientConnackRequest       = exhookv3.ClientConnackRequest
	ClientConnectedRequest     = exhookv3.ClientConnectedRequest
	ClientDisconnectedRequest  = exhookv3.ClientDisconnectedRequest
	ClientAuthenticateRequest  = exhookv3.ClientAuthenticateRequest
	ClientAuthorizeRequest     = exhookv3.ClientAuthorizeRequest
	ClientSubscribeRequest     = exhookv3.ClientSubscribeRequest
	ClientUnsubscribeRequest   = exhookv3.ClientUnsubscribeRequest
	SessionCreatedRequest      = exhookv3.SessionCreatedRequest
	SessionSubscribedRequest   = exhookv3.SessionSubscribedRequest
	SessionUnsubscribedRequest = exhookv3.SessionUnsubscribedRequest
	SessionResumedRequest      = exhookv3.SessionResumedRequest
	SessionDiscardedRequest    = exhookv3.SessionDiscardedRequest
	SessionTakenoverRequest    = exhookv3.SessionTakenoverRequest
	SessionTerminatedRequest   = exhookv3.SessionTerminatedRequest
	MessageIngressRequest      = exhookv3.MessageIngressRequest
	MessagePublishRequest      = exhookv3.MessagePublishRequest
	MessageDeliveredRequest    = exhookv3.MessageDeliveredRequest
	MessageDroppedRequest      = exhookv3.MessageDroppedRequest
	MessageAckedRequest        = exhookv3.MessageAckedRequest
)

// What the requests are made of.
type (
	// ClientInfo describes a client. Its Password is empty unless the plugin
	// answers client.authenticate or hookmux.yaml grants it.
	ClientInfo = exhookv3.ClientInfo
	// ConnInfo describes a connection before its login; Keepalive is in seconds.
	ConnInfo = exhookv3.ConnInfo
	// Message is an MQTT message; Timestamp is Unix time in milliseconds.
	Message = exhookv3.Message
	// Property is an MQTT 5 property or user property.
	Property = exhookv3.Property
	// TopicFilter is one filter of a SUBSCRIBE or UNSUBSCRIBE packet.
	TopicFilter = exhookv3.TopicFilter
	// SubOpts are a subscription's options.
	SubOpts = exhookv3.SubOpts
	// RequestMeta names the broker node that a request comes from.
	RequestMeta = exhookv3.RequestMeta
	// BrokerInfo describes a broker node; Uptime is in milliseconds.
	BrokerInfo = exhookv3.BrokerInfo
)

// What a ClientAuthorizeRequest's Type asks for.
const (
	Publish   = exhookv3.ClientAuthorizeRequest_PUBLISH
	Subscribe = exhookv3.ClientAuthorizeRequest_SUBSCRIBE
)
