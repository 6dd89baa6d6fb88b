package host

import (
	"testing"

	"github.com/hookmux/hookmux/proto/batch"
)

// A batch of 64 events in the making, and freed as gRPC does once it is sent.
func BenchmarkBatch(b *testing.B) {
	for name, size := range map[string]int{"small": 512, "large": 2 * keptApart} {
		b.Run(name, func(b *testing.B) {
			e := batch.Event{ID: 1 << 20, Hook: 19, TimeoutUs: 2e6, Key: []byte("device-0123456789"), Request: make([]byte, size)}
			b.ReportAllocs()
			for b.Loop() {
				var o outgoing
				for range 64 {
					o.add(&e)
				}
				m := o.message()
				m.Free()
			}
		})
	}
}
