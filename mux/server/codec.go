package server

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // a broker that compresses is understood
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// raw is a message's bytes, as they are on the wire.
type raw []byte

// codec passes raw messages through and leaves all others, those of the health
// and reflection services, to the proto codec.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(raw); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*raw); ok {
		*b = data.Materialize() // a copy: the event may outlive the call in a lane
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
