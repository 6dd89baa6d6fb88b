package devbroker

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config says how to listen, whom to ask and which EMQX to be. The zero value
// of every field but ExHook is EMQX's own default.
type Config struct {
	// Listen is the MQTT address; empty is 127.0.0.1:1883. Port 0 picks a free one.
	Listen string
	// ExHook is the HookProvider, "http://host:port" or "host:port". EMQX
	// knows no unix sockets; TLS is not imitated.
	ExHook string

	// Version is the protocol: "v1", "v2" or "v3". Empty follows Release.
	Version string
	// Release is the EMQX release imitated, e.g. "5.10.3"; its small dialect
	// differences (5.0 – 5.3, 5.4 – 5.8, 5.9 and later) follow from it. Empty is the
	// release of Version that was recorded: 4.4.19 (not recorded), 5.8.8, 5.10.3.
	Release string

	// RequestTimeout bounds every call; 5 s.
	RequestTimeout time.Duration
	// FailedAction is what a valued hook does without an answer: "deny" (default) or
	// "ignore". As in EMQX it does not protect message.publish.
	FailedAction string
	// PoolSize is the number of connections, chosen by hash of the client id; 8.
	PoolSize int
	// AutoReconnect is how long to wait before another OnProviderLoaded; 60 s.
	// Negative never retries.
	AutoReconnect time.Duration
	// StatusCheck is how often a 5.9 or later looks whether the provider is
	// connected; 5 s. Only when it saw it down is the provider loaded again.
	StatusCheck time.Duration
	// AuthzCache is how long one connection reuses an answer of
	// client.authorize; 1 min. Negative turns the cache off.
	AuthzCache time.Duration

	// Node and ClusterName go into every request; "emqx@127.0.0.1" and "emqxcl".
	Node        string
	ClusterName string

	// Logger hears about failed calls and loads; nil is silence. At debug
	// level mochi-mqtt's own log comes too.
	Logger *slog.Logger
}

// withDefaults returns c completed and checked, and the dialect it asks for.
func (c Config) withDefaults() (Config, dialect, error) {
	setDefault(&c.Listen, "127.0.0.1:1883")
	setDefault(&c.RequestTimeout, 5*time.Second)
	setDefault(&c.FailedAction, "deny")
	setDefault(&c.PoolSize, 8)
	setDefault(&c.AutoReconnect, 60*time.Second)
	setDefault(&c.StatusCheck, 5*time.Second)
	setDefault(&c.AuthzCache, time.Minute)
	setDefault(&c.Node, "emqx@127.0.0.1")
	setDefault(&c.ClusterName, "emqxcl")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Release == "" {
		setDefault(&c.Version, "v3")
		release, ok := map[string]string{"v1": "4.4.19", "v2": "5.8.8", "v3": "5.10.3"}[c.Version]
		if !ok {
			return c, dialect{}, fmt.Errorf("devbroker: version %q: want v1, v2 or v3", c.Version)
		}
		c.Release = release
	}
	d, err := dialectOf(c.Release)
	if err != nil {
		return c, d, err
	}
	setDefault(&c.Version, d.version)
	switch {
	case c.Version != d.version:
		return c, d, fmt.Errorf("devbroker: EMQX %s speaks %s, not %s", c.Release, d.version, c.Version)
	case c.FailedAction != "deny" && c.FailedAction != "ignore":
		return c, d, fmt.Errorf("devbroker: failed action %q: want deny or ignore", c.FailedAction)
	case c.RequestTimeout < 0 || c.PoolSize < 0 || c.StatusCheck < 0:
		return c, d, fmt.Errorf("devbroker: request timeout, pool size and status check must be positive")
	}
	if c.ExHook, err = exhookAddr(c.ExHook); err != nil {
		return c, d, err
	}
	return c, d, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// exhookAddr reduces EMQX's URL to host:port.
func exhookAddr(s string) (string, error) {
	addr := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", fmt.Errorf("devbroker: exhook address %q: want http://host:port: %w", s, err)
	}
	return addr, nil
}

// dialect is what differs between EMQX releases. The recordings show 5.0.26,
// 5.8.8 and 5.10.3; the borders between them are the contract's.
type dialect struct {
	release  string
	version  string // v1, v2, v3
	sysdescr string

	// userProps: MQTT user properties travel in user_props (v3); before that
	// as one property whose value is an Erlang term.
	userProps bool
	// subopts: from 5.4 a TopicFilter has subopts, a shared filter keeps
	// its $share prefix and clients have a peerport.
	subopts bool
	// undecidedAllows: from 5.9 an IGNORE on client.authenticate lets the
	// client in; before, it turns into the incoming result, which is false.
	undecidedAllows bool
	// rechecks: from 5.9 a provider that was seen down is loaded again, and
	// calls fail at once while it is down; before, they wait for the
	// connection up to their timeout.
	rechecks bool
}

func dialectOf(release string) (dialect, error) {
	d := dialect{release: release, sysdescr: "EMQX"}
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err1 := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	v := x*100 + y
	switch {
	case err1 != nil || err2 != nil || v < 403 || v > 602:
		return d, fmt.Errorf("devbroker: EMQX release %q: want one of 4.3 to 6.2, such as 5.10.3", release)
	case v < 500:
		d.version = "v1"
	case v < 509:
		d.version = "v2"
	default:
		d.version = "v3"
		d.sysdescr = "EMQX Enterprise"
		d.userProps, d.undecidedAllows, d.rechecks = true, true, true
	}
	d.subopts = v >= 504
	return d, nil
}
