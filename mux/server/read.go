package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/proto/rawcodec"
)

// transportStream is what lies below gRPC's own reading of a request, which answers
// one that is too large with an error before anybody else is asked. A test holds that
// grpc-go's stream has these methods.
type transportStream interface {
	RecvCompress() string
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// tooLarge is a request that was thrown away while it came in.
type tooLarge struct {
	size  int64
	limit int
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("the event has %d bytes, more than the %d of limits.message", e.size, e.limit)
}

// receive reads a request. One that is larger than limit is not kept, which is the
// error *tooLarge. dec is gRPC's way to read it, which a compressed one takes, and which
// keeps it until it is whole: no broker compresses.
func receive(ctx context.Context, limit int, dec func(any) error) (body []byte, err error) {
	stream, ok := grpc.ServerTransportStreamFromContext(ctx).(transportStream)
	if ok {
		encoding := stream.RecvCompress()
		ok = encoding == "" || encoding == "identity"
	}
	if !ok {
		var m rawcodec.Message
		err := dec(&m)
		if err == nil && len(m) > limit {
			return nil, &tooLarge{int64(len(m)), limit}
		}
		return m, err
	}
	header := make([]byte, 5) // compressed or not, and the length
	if err := stream.ReadMessageHeader(header); err != nil {
		return nil, broken(err)
	}
	if header[0] != 0 {
		return nil, status.Error(codes.Internal, "the message is compressed, and grpc-encoding does not say how")
	}
	size := int64(binary.BigEndian.Uint32(header[1:]))
	var large error
	if size > int64(limit) {
		large = &tooLarge{size, limit}
	}
	for large != nil && size > 0 {
		part := min(size, discard)
		data, err := stream.Read(int(part))
		if err != nil {
			return nil, broken(err)
		}
		data.Free()
		size -= part
	}
	if large == nil {
		data, err := stream.Read(int(size))
		if err != nil {
			return nil, broken(err)
		}
		body = data.Materialize() // a copy: an event may outlive its call in a lane
		data.Free()
	}
	// What follows has to be the end. An answer before it would have gRPC reset the
	// stream behind the answer, and older EMQX then lose the answer.
	switch err := stream.ReadMessageHeader(header); {
	case errors.Is(err, io.EOF):
		return body, large
	case err != nil:
		return nil, broken(err)
	}
	return nil, status.Error(codes.Internal, "there is more than one message")
}

// discard is how much is read at a time of what is thrown away.
const discard = 64 << 10

// broken is for a request that ends before it is whole: who made the call has gone.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return status.Error(codes.Internal, "the request ends before it is whole")
	}
	return err
}
