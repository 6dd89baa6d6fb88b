package sdk

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// notifyWorkers is how many notifications are handled beside each other.
const notifyWorkers = 16

// replyWithin is how long a reply may wait for those of the notifications behind
// it. Of a quick method's whole run the replies are one batch; what a slow one
// holds up, they need not wait for.
const replyWithin = time.Millisecond

// notifications handles the events of the stream Notify: those with the same
// key by the same worker, one after another.
type notifications struct {
	stream  *stream
	seed    maphash.Seed
	next    uint64 // the shard for an event without a key
	shards  [notifyWorkers]shard
	touched uint32 // shards to be woken after this batch
}

// shard is a worker and its queue.
type shard struct {
	mu      sync.Mutex
	started bool
	closed  bool
	queue   []*event
	run     []*event      // those the worker has taken, also when they are done
	busy    atomic.Bool   // has a run of several events
	wake    chan struct{} // capacity 1
}

func newNotifications(s *stream) handling {
	s.window.hysteresis = true
	n := &notifications{stream: s, seed: maphash.MakeSeed()}
	for i := range n.shards {
		n.shards[i].wake = make(chan struct{}, 1)
	}
	return n
}

func (n *notifications) handle(e *event, key []byte) {
	i := n.next % notifyWorkers
	if len(key) > 0 {
		i = maphash.Bytes(n.seed, key) % notifyWorkers
	} else {
		n.next++
	}
	s := &n.shards[i]
	s.mu.Lock()
	s.queue = append(s.queue, e)
	s.mu.Unlock()
	n.touched |= 1 << i
}

func (n *notifications) handled() {
	for i := range n.shards {
		if n.touched&(1<<i) == 0 {
			continue
		}
		s := &n.shards[i]
		if !s.started {
			s.started = true
			go n.work(s)
		}
		select {
		case s.wake <- struct{}{}:
		default: // it has yet to wake up
		}
	}
	n.touched = 0
}

func (n *notifications) work(s *shard) {
	var late *time.Timer
	late = time.AfterFunc(math.MaxInt64, func() {
		n.stream.replies.wakeWriter()
		if s.busy.Load() {
			late.Reset(replyWithin)
		}
	})
	defer late.Stop()
	var run []*event
	for {
		s.mu.Lock()
		clear(run)
		run, s.queue = s.queue, run[:0]
		s.run = run
		closed := s.closed
		s.mu.Unlock()
		if len(run) == 0 {
			if closed {
				return
			}
			<-s.wake
			continue
		}
		if len(run) > 1 {
			s.busy.Store(true)
			late.Reset(replyWithin)
		}
		for _, e := range run {
			var answer []byte
			var err error
			if n.stream.ctx.Err() == nil {
				answer, err = e.method(e, e.request, nil)
			}
			e.end()
			n.stream.replies.add(e, answer, err)
		}
		if len(run) > 1 {
			s.busy.Store(false)
			late.Stop()
		}
		n.stream.replies.wakeWriter()
	}
}

// cancel looks through everything that is queued: it is rare.
func (n *notifications) cancel(id uint64) {
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		for _, events := range [][]*event{s.run, s.queue} {
			for _, e := range events {
				if e.id == id {
					e.end()
				}
			}
		}
		s.mu.Unlock()
	}
}

func (n *notifications) close() {
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
