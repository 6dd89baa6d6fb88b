package devbroker

// hook is one hookpoint, the index into hookTable.
type hook int

const (
	clientConnect hook = iota
	clientConnack
	clientConnected
	clientDisconnected
	clientAuthenticate
	clientAuthorize
	clientSubscribe
	clientUnsubscribe
	sessionCreated
	sessionSubscribed
	sessionUnsubscribed
	sessionResumed
	sessionDiscarded
	sessionTakenover
	sessionTerminated
	messagePublish
	messageDelivered
	messageDropped
	messageAcked
)

// hookTable names each hook in LoadedResponse and its RPC. v1 called two of
// them otherwise.
var hookTable = [...]struct{ name, rpc, v1name, v1rpc string }{
	clientConnect:       {name: "client.connect", rpc: "OnClientConnect"},
	clientConnack:       {name: "client.connack", rpc: "OnClientConnack"},
	clientConnected:     {name: "client.connected", rpc: "OnClientConnected"},
	clientDisconnected:  {name: "client.disconnected", rpc: "OnClientDisconnected"},
	clientAuthenticate:  {name: "client.authenticate", rpc: "OnClientAuthenticate"},
	clientAuthorize:     {"client.authorize", "OnClientAuthorize", "client.check_acl", "OnClientCheckAcl"},
	clientSubscribe:     {name: "client.subscribe", rpc: "OnClientSubscribe"},
	clientUnsubscribe:   {name: "client.unsubscribe", rpc: "OnClientUnsubscribe"},
	sessionCreated:      {name: "session.created", rpc: "OnSessionCreated"},
	sessionSubscribed:   {name: "session.subscribed", rpc: "OnSessionSubscribed"},
	sessionUnsubscribed: {name: "session.unsubscribed", rpc: "OnSessionUnsubscribed"},
	sessionResumed:      {name: "session.resumed", rpc: "OnSessionResumed"},
	sessionDiscarded:    {name: "session.discarded", rpc: "OnSessionDiscarded"},
	sessionTakenover:    {"session.takenover", "OnSessionTakenover", "session.takeovered", "OnSessionTakeovered"},
	sessionTerminated:   {name: "session.terminated", rpc: "OnSessionTerminated"},
	messagePublish:      {name: "message.publish", rpc: "OnMessagePublish"},
	messageDelivered:    {name: "message.delivered", rpc: "OnMessageDelivered"},
	messageDropped:      {name: "message.dropped", rpc: "OnMessageDropped"},
	messageAcked:        {name: "message.acked", rpc: "OnMessageAcked"},
}

// hookName is the name of h in this dialect's LoadedResponse.
func (d dialect) hookName(h hook) string {
	if e := hookTable[h]; d.version == "v1" && e.v1name != "" {
		return e.v1name
	}
	return hookTable[h].name
}

// method is the full gRPC method of h.
func (d dialect) method(h hook) string {
	if e := hookTable[h]; d.version == "v1" && e.v1rpc != "" {
		return d.service() + e.v1rpc
	}
	return d.service() + hookTable[h].rpc
}

func (d dialect) service() string { return "/emqx.exhook." + d.version + ".HookProvider/" }

// hookByName finds a hook by its name in this dialect.
func (d dialect) hookByName(name string) (hook, bool) {
	for h := range hookTable {
		if d.hookName(hook(h)) == name {
			return hook(h), true
		}
	}
	return 0, false
}
