package app

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
)

// ownMemory is what hookmux needs besides its lanes, at the most.
const ownMemory = 48 << 20

// TuneGC sets up the garbage collector of a process that is nothing but a
// hookmux. release undoes it.
//
// Up to cfg.GCHeadroom of garbage may pile up: hookmux's own live memory is a few
// megabytes, for which Go would collect after every few megabytes more, many
// times a second under load. The headroom is memory that is never touched, and so
// takes none itself, but which the collector takes for live.
//
// Full lanes get no such freedom: memory as a whole is kept to what they are
// allowed and a little more, by collecting more often. Who sets GOGC or GOMEMLIMIT
// has reasons of their own, and is left alone.
func TuneGC(cfg *config.Config) (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit := ownMemory + cfg.GCHeadroom
	for _, p := range cfg.Providers {
		lane := p.Lane.Bytes
		if lane == 0 {
			lane = mux.DefaultLaneBytes
		}
		limit += lane
	}
	headroom := make([]byte, cfg.GCHeadroom)
	before := debug.SetMemoryLimit(limit)
	return func() {
		debug.SetMemoryLimit(before)
		runtime.KeepAlive(headroom)
	}
}
