package mux

import "google.golang.org/protobuf/encoding/protowire"

// Hook is one hookpoint of EMQX. Its value is an index into the hook table.
type Hook uint8

// The hooks, in the contract's order. ProviderLoaded and ProviderUnloaded are
// no hookpoints, but reach a provider in the same way.
const (
	ProviderLoaded Hook = iota
	ProviderUnloaded
	ClientConnect
	ClientConnack
	ClientConnected
	ClientDisconnected
	ClientAuthenticate
	ClientAuthorize
	ClientSubscribe
	ClientUnsubscribe
	SessionCreated
	SessionSubscribed
	SessionUnsubscribed
	SessionResumed
	SessionDiscarded
	SessionTakenover
	SessionTerminated
	MessageIngress
	MessagePublish
	MessageDelivered
	MessageDropped
	MessageAcked

	NumHooks = int(MessageAcked) + 1
)

// kind says what answer a hook takes.
type kind uint8

const (
	lifecycle    kind = iota // ProviderLoaded, ProviderUnloaded
	notification             // answered EmptySuccess
	access                   // answered by a bool
	message                  // answered by a message
)

// path is where a string field lies: field inner of the message in field outer.
type path struct{ outer, inner protowire.Number }

// hookInfo is a row of the hook table: all that differs between hooks.
type hookInfo struct {
	name, method     string
	v1Name, v1Method string // where v1 has other names
	kind             kind
	client           path             // the client id that orders notifications
	conn             bool             // client lies in a ConnInfo, not in a ClientInfo
	message          protowire.Number // the Message field, 0 for none
	props, userProps protowire.Number // the properties and user properties, 0 for none
	result           protowire.Number // the bool field `result`, 0 for none
	since            [2]int           // first EMQX version (major, minor) that knows the hook in v3; v1 and v2 lack it
}

// Field numbers inside the contract's shared messages.
const (
	clientidField = 2 // of ConnInfo and ClientInfo

	infoPassword = 4 // of ClientInfo
	infoCN       = 11
	infoDN       = 12

	msgQoS     = 3 // of Message
	msgFrom    = 4
	msgTopic   = 5
	msgPayload = 6
	msgHeaders = 8
)

var (
	clientIn1 = path{1, clientidField}
	fromIn1   = path{1, msgFrom}
)

// hooks is the one hook table. To add a hook, add a constant and a row.
var hooks = [NumHooks]hookInfo{
	ProviderLoaded:      {name: "provider.loaded", method: "OnProviderLoaded"},
	ProviderUnloaded:    {name: "provider.unloaded", method: "OnProviderUnloaded"},
	ClientConnect:       {name: "client.connect", method: "OnClientConnect", kind: notification, client: clientIn1, conn: true, props: 2, userProps: 4},
	ClientConnack:       {name: "client.connack", method: "OnClientConnack", kind: notification, client: clientIn1, conn: true, props: 3, userProps: 5},
	ClientConnected:     {name: "client.connected", method: "OnClientConnected", kind: notification, client: clientIn1},
	ClientDisconnected:  {name: "client.disconnected", method: "OnClientDisconnected", kind: notification, client: clientIn1},
	ClientAuthenticate:  {name: "client.authenticate", method: "OnClientAuthenticate", kind: access, client: clientIn1, result: 2},
	ClientAuthorize:     {name: "client.authorize", method: "OnClientAuthorize", v1Name: "client.check_acl", v1Method: "OnClientCheckAcl", kind: access, client: clientIn1, result: 4},
	ClientSubscribe:     {name: "client.subscribe", method: "OnClientSubscribe", kind: notification, client: clientIn1, props: 2, userProps: 5},
	ClientUnsubscribe:   {name: "client.unsubscribe", method: "OnClientUnsubscribe", kind: notification, client: clientIn1, props: 2, userProps: 5},
	SessionCreated:      {name: "session.created", method: "OnSessionCreated", kind: notification, client: clientIn1},
	SessionSubscribed:   {name: "session.subscribed", method: "OnSessionSubscribed", kind: notification, client: clientIn1},
	SessionUnsubscribed: {name: "session.unsubscribed", method: "OnSessionUnsubscribed", kind: notification, client: clientIn1},
	SessionResumed:      {name: "session.resumed", method: "OnSessionResumed", kind: notification, client: clientIn1},
	SessionDiscarded:    {name: "session.discarded", method: "OnSessionDiscarded", kind: notification, client: clientIn1},
	SessionTakenover:    {name: "session.takenover", method: "OnSessionTakenover", v1Name: "session.takeovered", v1Method: "OnSessionTakeovered", kind: notification, client: clientIn1},
	SessionTerminated:   {name: "session.terminated", method: "OnSessionTerminated", kind: notification, client: clientIn1},
	MessageIngress:      {name: "message.ingress", method: "OnMessageIngress", kind: message, client: clientIn1, message: 2, props: 4, userProps: 5, since: [2]int{6, 3}},
	MessagePublish:      {name: "message.publish", method: "OnMessagePublish", kind: message, client: fromIn1, message: 1, props: 3, userProps: 4},
	MessageDelivered:    {name: "message.delivered", method: "OnMessageDelivered", kind: notification, client: clientIn1, message: 2},
	MessageDropped:      {name: "message.dropped", method: "OnMessageDropped", kind: notification, client: fromIn1, message: 1},
	MessageAcked:        {name: "message.acked", method: "OnMessageAcked", kind: notification, client: clientIn1, message: 2},
}

var hookByName = func() map[string]Hook {
	m := make(map[string]Hook, NumHooks+2)
	for i := range hooks {
		if hooks[i].kind == lifecycle {
			continue
		}
		m[hooks[i].name] = Hook(i)
		if hooks[i].v1Name != "" {
			m[hooks[i].v1Name] = Hook(i)
		}
	}
	return m
}()

// HookByName finds a hook by its name in any API version, such as
// "message.publish" or v1's "client.check_acl".
func HookByName(name string) (Hook, bool) {
	h, ok := hookByName[name]
	return h, ok
}

// Hooks lists all hookpoints in the contract's order.
func Hooks() []Hook {
	var all []Hook
	for i := range hooks {
		if hooks[i].kind != lifecycle {
			all = append(all, Hook(i))
		}
	}
	return all
}

// String is the hook's name, such as "message.publish".
func (h Hook) String() string { return hooks[h].name }

// Valued says whether the hook's answer matters to the broker.
func (h Hook) Valued() bool { return hooks[h].kind >= access }

// Access says whether the hook is answered by a bool: allowed or not.
func (h Hook) Access() bool { return hooks[h].kind == access }

// HasTopics says whether topic filters apply to the hook.
func (h Hook) HasTopics() bool { return hooks[h].message != 0 }

// API is a version of the ExHook service.
type API uint8

// The versions of the ExHook service that EMQX has spoken.
const (
	V1 API = 1 + iota // EMQX 4.3, 4.4
	V2                // EMQX 5.0 to 5.8
	V3                // EMQX 5.9 and later
)

// Service is the full gRPC service name.
func (a API) Service() string {
	return [...]string{V1: "emqx.exhook.v1.HookProvider", V2: "emqx.exhook.v2.HookProvider", V3: "emqx.exhook.v3.HookProvider"}[a]
}

// Has says whether the service has an RPC for the hook.
func (a API) Has(h Hook) bool { return a == V3 || hooks[h].since == [2]int{} }

// Method is the RPC's name in this version, such as "OnClientCheckAcl".
func (a API) Method(h Hook) string {
	if a == V1 && hooks[h].v1Method != "" {
		return hooks[h].v1Method
	}
	return hooks[h].method
}

// HookName is the hook's name in this version, such as "client.check_acl".
func (a API) HookName(h Hook) string {
	if a == V1 && hooks[h].v1Name != "" {
		return hooks[h].v1Name
	}
	return hooks[h].name
}

// FullMethod is the gRPC path of the hook's RPC.
func (a API) FullMethod(h Hook) string { return fullMethods[a][h] }

var fullMethods = func() (m [V3 + 1][NumHooks]string) {
	for a := V1; a <= V3; a++ {
		for h := range hooks {
			m[a][h] = "/" + a.Service() + "/" + a.Method(Hook(h))
		}
	}
	return m
}()
