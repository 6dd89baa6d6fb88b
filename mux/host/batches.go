package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// stream is one stream of batches. What is written while a batch is being sent
// makes the next one.
type stream struct {
	cs    grpc.ClientStream
	wake  chan struct{} // buffered: there is something to send
	ready chan struct{} // buffered: the batch may go before its time, see gather
	pause pause
	// stuck is called when the plugin has not read for stuckAfter.
	stuck      func()
	stuckAfter time.Duration

	unanswered atomic.Int64 // events that were sent, and ids that were not replied to

	mu     sync.Mutex
	next   outgoing      // what is to be sent next
	room   chan struct{} // closed when next is taken; nil: nobody waits for that
	closed bool
}

// pause is how long the first event of a batch waits for more.
type pause struct {
	most   time.Duration
	events int // so many are enough, and so many bytes
	bytes  int
	// onlyBehind: an event waits only while others that were sent have no reply.
	onlyBehind bool
}

// Nobody waits for a notification, so the batches may take a moment to grow: that
// saves both sides most of their system calls and goroutine switches, and half of the CPU
// of a notification. The moment is a twentieth of what people notice.
//
// The pause of a batch with a durable event in it ends as that of decisions does.
//
// Decisions are sent at once when the plugin has nothing to do. While it is busy,
// they wait for its next replies, as Nagle's algorithm has it: so that one caller
// waits for nothing and many share the way. A plugin whose replies do not come within
// the pause is not waited for the next inVain times.
var (
	notificationPause = pause{most: 5 * time.Millisecond, events: 128, bytes: 256 << 10}
	decisionPause     = pause{most: time.Millisecond, events: 64, bytes: 256 << 10, onlyBehind: true}
)

// inVain is how many batches of decisions go out at once after a pause that no
// reply has ended.
const inVain = 64

func openStream(ctx context.Context, cc *grpc.ClientConn, method string, p pause) (*stream, error) {
	desc := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	cs, err := cc.NewStream(ctx, &desc, method, rawCall, limitAnswer)
	if err != nil {
		return nil, err
	}
	return &stream{cs: cs, wake: make(chan struct{}, 1), ready: make(chan struct{}, 1), pause: p, stuckAfter: stuckAfter}, nil
}

// event queues an event. When there is no room, awaitRoom tells when there may be.
func (s *stream) event(e *batch.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return mux.ErrNotSent
	case s.next.bytes() > maxUnsent:
		return mux.ErrNoRoom
	}
	s.next.add(e)
	s.queued()
	if s.mayGo() {
		s.sendSoon()
	}
	return nil
}

// awaitRoom is closed when what waits to be sent has been taken, or nothing will be
// any more.
func (s *stream) awaitRoom() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.next.bytes() <= maxUnsent {
		return thereIsRoom
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

var thereIsRoom = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// madeRoom tells who waits for it, with s.mu held.
func (s *stream) madeRoom() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// cancel tells the plugin that nobody waits for an event any more.
func (s *stream) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.next.bytes() > maxUnsent {
		return
	}
	s.next.cancel(id)
	s.queued()
}

// queued has the writer know, with s.mu held.
func (s *stream) queued() {
	if s.next.entries == 1 {
		s.wake <- struct{}{} // has room: write empties it before it takes a batch
	}
	if s.enough() {
		s.sendSoon()
	}
}

// enough says whether the batch need not wait for more, with s.mu held.
func (s *stream) enough() bool {
	return s.next.entries >= s.pause.events || s.next.bytes() >= s.pause.bytes
}

// mayGo says that the batch has a durable event in it, for which its client's next one
// may wait, and that the plugin has nothing else to do; with s.mu held.
func (s *stream) mayGo() bool { return s.next.durable && s.unanswered.Load() <= 0 }

// sendSoon ends the pause of the batch in the making.
func (s *stream) sendSoon() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.wake)
		s.madeRoom()
	}
}

// Bounds on a plugin that does not read its stream: what is kept for it, and
// how long it is waited for.
const (
	maxUnsent  = 8 << 20
	stuckAfter = 15 * time.Second
)

var errStreamEnded = errors.New("the plugin ended its stream")

// write sends batches until the stream ends, and says why it did.
func (s *stream) write() error {
	over := time.NewTimer(0) // of a pause
	over.Stop()
	stuck := time.AfterFunc(math.MaxInt64, s.stuck)
	defer stuck.Stop()
	vain := 0
	for range s.wake {
		switch {
		case s.pause.onlyBehind && (vain > 0 || s.unanswered.Load() <= 0):
			vain = max(vain-1, 0)
		case !s.gather(over) && s.pause.onlyBehind:
			vain = inVain
		}
		runtime.Gosched() // who is about to write gets into this batch
		s.mu.Lock()
		b := s.next
		s.next = outgoing{}
		s.madeRoom()
		s.mu.Unlock()
		s.unanswered.Add(int64(b.events))
		stuck.Reset(s.stuckAfter)
		err := s.cs.SendMsg(b.message())
		stuck.Stop()
		if err != nil {
			return errStreamEnded // read knows why
		}
	}
	return errStreamEnded
}

// gather waits for the batch to grow, and reports whether something else than the
// end of the pause has ended it.
func (s *stream) gather(over *time.Timer) bool {
	s.mu.Lock()
	select {
	case <-s.ready: // was about the batch before, or is about replies before this one
	default:
	}
	enough := s.enough() || s.mayGo()
	s.mu.Unlock()
	if enough {
		return true
	}
	over.Reset(s.pause.most)
	select {
	case <-s.ready:
		over.Stop()
		return true
	case <-over.C:
		return false
	}
}

// read takes replies until the stream ends, and says why it did.
func (s *stream) read(take func(*batch.Reply)) error {
	for {
		var b rawcodec.Message
		if err := s.cs.RecvMsg(&b); err != nil {
			return fmt.Errorf("%w: %w", errStreamEnded, err)
		}
		replies := int64(0)
		err := batch.ReadReplies(b, func(r *batch.Reply) {
			replies++
			take(r)
		})
		if err != nil {
			return fmt.Errorf("the plugin sent a %w", err)
		}
		s.unanswered.Add(-replies)
		s.mu.Lock()
		soon := s.pause.onlyBehind || s.next.durable
		s.mu.Unlock()
		if soon {
			s.sendSoon()
		}
	}
}

// outgoing is a batch of Events in the making. Large requests are not copied into
// it: gRPC takes them from where they are.
type outgoing struct {
	buf     *[]byte // all but the large requests
	large   []largeRequest
	size    int // of the large requests
	events  int
	entries int // events and canceled ids
	durable bool
}

type largeRequest struct {
	at   int // where in buf
	body []byte
}

// keptApart is how large a request must be to be cheaper by reference.
const keptApart = 16 << 10

func (o *outgoing) add(e *batch.Event) {
	o.start()
	o.events++
	o.durable = o.durable || e.EventID != ""
	if len(e.Request) < keptApart {
		*o.buf = batch.AppendEvent(*o.buf, e)
		return
	}
	*o.buf = batch.AppendEventHead(*o.buf, e)
	o.large = append(o.large, largeRequest{len(*o.buf), e.Request})
	o.size += len(e.Request)
}

func (o *outgoing) cancel(id uint64) {
	o.start()
	*o.buf = batch.AppendCanceled(*o.buf, id)
}

func (o *outgoing) start() {
	o.entries++
	if o.buf == nil {
		o.buf = buffers.Get(0)
	}
}

func (o *outgoing) bytes() int {
	if o.buf == nil {
		return 0
	}
	return len(*o.buf) + o.size
}

// message is the batch as gRPC sends it, and frees it.
func (o *outgoing) message() mem.BufferSlice {
	if len(o.large) == 0 {
		return mem.BufferSlice{mem.NewBuffer(o.buf, &buffers)}
	}
	var m mem.BufferSlice
	from := 0
	for _, l := range o.large {
		m = append(m, mem.SliceBuffer((*o.buf)[from:l.at]), mem.SliceBuffer(l.body))
		from = l.at
	}
	return append(m, mem.SliceBuffer((*o.buf)[from:]))
}

// bufferPool keeps the memory of batches that were sent.
type bufferPool struct{ pool sync.Pool }

var buffers bufferPool

const (
	newBuffer  = 8 << 10
	keptBuffer = 256 << 10
)

// Get implements mem.BufferPool. What it gives is empty, to be appended to.
func (p *bufferPool) Get(int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, newBuffer)
	return &b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		p.pool.Put(b)
	}
}
