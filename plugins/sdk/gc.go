package sdk

import "os"

// minimumHeap is how much the heap grows before it is collected, at the least.
const minimumHeap = 32 << 20

// ballast is memory that is never touched, and so never resident, but counts as
// live heap: by default the heap may double before it is collected, which a
// plugin with hardly any live memory does at every 4 MB, all the time. Unlike
// a larger GOGC it adds its size once, also when the plugin's own heap is
// large.
//
//nolint:unused // it only has to be reachable
var ballast []byte

// delayCollection is called under hookmux, where a plugin is under the load of
// all brokers. Who sets GOGC or GOMEMLIMIT has reasons of their own.
func delayCollection() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		ballast = make([]byte, minimumHeap)
	}
}
