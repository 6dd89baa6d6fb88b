package config

import "strconv"

// Limits is what brokers may ask of hookmux at most.
type Limits struct {
	// Message is how large an event may be, in bytes.
	Message int64
	// Calls is how many events may be under way at a time.
	Calls int
	// Connections is how many a host may have open at a time.
	Connections int
}

// The defaults of Limits. EMQX's own limit for a packet is 1 MiB, and its pool has 8
// connections for each node.
const (
	DefaultMessageLimit    = 16 << 20
	DefaultCallLimit       = 10_000
	DefaultConnectionLimit = 256
)

func limitKeys(l *Limits) []key {
	return []key{
		{name: "message", def: sizeString(DefaultMessageLimit), doc: "how large an event may be: a larger one is refused, or not passed on if it is a notification. Keep it above max_packet_size in EMQX",
			value: size(&l.Message, 64<<10, 256<<20)},
		{name: "calls", def: strconv.Itoa(DefaultCallLimit), doc: "how many events may be under way at a time: about one more, nobody is asked, and each provider's on_failure for overload decides",
			value: count(&l.Calls, 1, 1_000_000)},
		{name: "connections", def: strconv.Itoa(DefaultConnectionLimit), doc: "how many connections one host may have open: one more is closed at once. EMQX has pool_size of them for each node and ExHook server",
			value: count(&l.Connections, 1, 1_000_000)},
	}
}
