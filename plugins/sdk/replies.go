package sdk

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hookmux/hookmux/proto/batch"
)

// replies collects a stream's replies until its writer sends them, all that
// are there in one batch. While the writer is busy or waits for its turn, more
// come together: the batches grow with the load, without a timer.
type replies struct {
	leave func(events, bytes int) // called for what was sent, or never will be

	mu     sync.Mutex
	ready  answeredBatch
	closed bool
	wake   chan struct{} // capacity 1
}

// answeredBatch is a batch of Replies in the making.
type answeredBatch struct {
	replies []byte // encoded Reply fields
	done    []byte // ids, encoded one after another: a packed field's content
	events  int
	bytes   int // of the requests
}

func newReplies(leave func(events, bytes int)) *replies {
	return &replies{leave: leave, wake: make(chan struct{}, 1)}
}

// add puts an event's reply into the next batch. The writer is to be woken.
func (r *replies) add(e *event, answer []byte, err error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		r.leave(1, len(e.request))
		return
	}
	switch {
	case err != nil:
		s := status.Convert(err)
		r.ready.replies = batch.AppendReply(r.ready.replies, &batch.Reply{ID: e.id, Error: s.Message(), Unavailable: s.Code() == codes.Unavailable})
	case len(answer) == 0:
		r.ready.done = protowire.AppendVarint(r.ready.done, e.id)
	default:
		r.ready.replies = batch.AppendReply(r.ready.replies, &batch.Reply{ID: e.id, Answer: answer})
	}
	r.ready.events++
	r.ready.bytes += len(e.request)
	r.mu.Unlock()
}

// wakeWriter makes the writer send what is there.
func (r *replies) wakeWriter() {
	select {
	case r.wake <- struct{}{}:
	default: // it has yet to wake up
	}
}

// take is the batch so far, for the writer.
func (r *replies) take() (b []byte, events, bytes int) {
	r.mu.Lock()
	ready := r.ready
	r.ready = answeredBatch{}
	r.mu.Unlock()
	b = ready.replies
	if len(ready.done) > 0 {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, ready.done)
	}
	return b, ready.events, ready.bytes
}

// close is called when nothing is sent any more.
func (r *replies) close() {
	r.mu.Lock()
	r.closed = true
	events, bytes := r.ready.events, r.ready.bytes
	r.ready = answeredBatch{}
	r.mu.Unlock()
	r.leave(events, bytes)
}
