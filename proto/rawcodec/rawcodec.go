// Package rawcodec is a gRPC codec that passes encoded messages through as
// bytes, for both sides of hookmux.
package rawcodec

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // a peer that compresses is understood
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Message is a message's bytes, as they are on the wire.
type Message []byte

// Codec passes a Message, a pointer to one, or a mem.BufferSlice to be sent,
// which gRPC frees when it is, through and leaves all other
// messages, those of the health and reflection services, to the proto codec.
type Codec struct{ encoding.CodecV2 }

// New makes a Codec. It goes by the name of "proto", which is what it carries.
func New() Codec { return Codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch b := v.(type) {
	case Message:
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	case mem.BufferSlice:
		return b, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*Message); ok {
		*b = data.Materialize() // a copy: an event may outlive its call in a lane
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
