package batch_test

import (
	"testing"

	"github.com/hookmux/hookmux/proto/batch"
)

// perBatch is how many events or replies share a batch under load, roughly.
const perBatch = 64

// The readers' callbacks, which the compiler does not see through, as in real use.
//
//nolint:gochecknoglobals // see above
var (
	onEvent = func(*batch.Event) {}
	onID    = func(uint64) {}
	onReply = func(*batch.Reply) {}
)

func benchEvent() batch.Event {
	return batch.Event{ID: 1 << 20, Hook: 19, TimeoutUs: 2e6, Key: []byte("device-0123456789"), Request: make([]byte, 512)}
}

// An op is a batch.
func BenchmarkAppendEvents(b *testing.B) {
	e := benchEvent()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for range perBatch {
			buf = batch.AppendEvent(buf, &e)
		}
	}
}

func BenchmarkReadEvents(b *testing.B) {
	e := benchEvent()
	var buf []byte
	for range perBatch {
		buf = batch.AppendEvent(buf, &e)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.ReadEvents(buf, onEvent, onID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadReplies(b *testing.B) {
	for name, add := range map[string]func([]byte, uint64) []byte{
		"answers": func(buf []byte, id uint64) []byte {
			return batch.AppendReply(buf, &batch.Reply{ID: id, Answer: []byte{0x08, 0x02, 0x18, 0x01}})
		},
		"done": batch.AppendDone,
	} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			for id := range uint64(perBatch) {
				buf = add(buf, id+1)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := batch.ReadReplies(buf, onReply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
