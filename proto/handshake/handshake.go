// Package handshake holds what hookmux and a plugin must agree on before the
// first call: the go-plugin cookie, the app protocol versions and the
// environment variables that hookmux sets for a plugin.
//
// It has no dependencies, so that both sides can import it.
package handshake

// The magic cookie of go-plugin. It is no secret: it lets a plugin notice that
// it was started by hand and say how it is meant to be run.
const (
	CookieKey   = "HOOKMUX_PLUGIN"
	CookieValue = "9f6cf0b2-exhook"
)

// App protocol versions, the second field of the handshake line.
const (
	// Unary is the plain emqx.exhook.v3.HookProvider service.
	Unary = 1
	// Stream is hookmux.plugin.v1: batches on two streams.
	Stream = 2
)

// PluginName is the key of the one plugin in go-plugin's plugin set.
const PluginName = "hookprovider"

// Environment variables that hookmux sets for a plugin.
const (
	// EnvName is the provider's name in hookmux.yaml.
	EnvName = "HOOKMUX_NAME"
	// EnvConfig is the provider's `config` as JSON; "{}" when there is none.
	EnvConfig = "HOOKMUX_CONFIG"
	// EnvID marks every process that descends from one plugin start, so that
	// hookmux finds and ends also those that left the process group.
	EnvID = "HOOKMUX_ID"
)
