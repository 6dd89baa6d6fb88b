package app

import "runtime"

// gcHeadroom makes the collector see bytes more of live memory than there are.
// hookmux's own is a few megabytes, for which Go would collect after every few
// megabytes more, many times a second under load. The bytes are never touched,
// and so take no memory themselves; what they allow is as many bytes of garbage.
// The caller keeps what it returns for as long as it should work.
func gcHeadroom(bytes int64) (release func()) {
	ballast := make([]byte, bytes)
	return func() { runtime.KeepAlive(ballast) }
}
