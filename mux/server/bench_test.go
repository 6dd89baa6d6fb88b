package server

import (
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/hookmux/hookmux/proto/rawcodec"
)

// What the codec does with one request and one answer of usual size, as gRPC calls it.
func BenchmarkCodec(b *testing.B) {
	codec := rawcodec.New()
	body := make([]byte, 512)
	b.Run("request", func(b *testing.B) {
		data := mem.BufferSlice{mem.SliceBuffer(body)}
		b.ReportAllocs()
		for b.Loop() {
			var m rawcodec.Message
			if err := codec.Unmarshal(data, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("answer", func(b *testing.B) {
		var m any = rawcodec.Message(body)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := codec.Marshal(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
