package sdk

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// notifyWorkers is how many notifications are handled beside each other, and
// notifyShards in how many groups the keys fall.
const (
	notifyWorkers = 16
	notifyShards  = 64
)

// replyWithin is how long a reply may wait for those of the notifications behind
// it. Of a quick method the replies to a whole batch are one batch; what a slow one
// holds up, they need not wait for.
const replyWithin = time.Millisecond

// moreWorkersAfter is how long shards that are ready wait for the workers that
// run before one more is set to work. Quick methods are all run by one, which
// costs one wake a batch; slow ones get all workers within a few milliseconds.
const moreWorkersAfter = time.Millisecond

// notifications handles the events of the stream Notify: those with the same
// key in the same shard, and each shard by one worker at a time.
type notifications struct {
	stream  *stream
	seed    maphash.Seed
	next    uint64   // the shard for an event without a key
	touched []*shard // to be made ready after this batch
	shards  [notifyShards]shard

	mu       sync.Mutex
	idle     *sync.Cond // workers without work wait here
	ready    []*shard   // with events, and no worker
	workers  int
	waiting  int         // of the workers
	watch    *time.Timer // sets one more to work
	watching bool
	closed   bool
}

// shard is the queue of a group of keys.
type shard struct {
	mu        sync.Mutex
	queue     []*event
	run       []*event // those a worker has taken, also when they are done
	scheduled bool     // is ready, or has a worker
}

func newNotifications(s *stream) handling {
	s.window.hysteresis = true
	n := &notifications{stream: s, seed: maphash.MakeSeed()}
	n.idle = sync.NewCond(&n.mu)
	n.watch = time.AfterFunc(math.MaxInt64, n.oneMore)
	return n
}

func (n *notifications) handle(e *event, key []byte) {
	i := n.next % notifyShards
	if len(key) > 0 {
		i = maphash.Bytes(n.seed, key) % notifyShards
	} else {
		n.next++
	}
	s := &n.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, e)
	if !s.scheduled {
		s.scheduled = true
		n.touched = append(n.touched, s)
	}
}

func (n *notifications) handled() {
	if len(n.touched) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = append(n.ready, n.touched...)
	n.touched = n.touched[:0]
	if n.waiting == n.workers { // nobody works
		n.wakeOne()
	}
	n.watchReady()
}

// wakeOne sets a worker to work, with n.mu held.
func (n *notifications) wakeOne() {
	switch {
	case n.waiting > 0:
		n.idle.Signal()
	case n.workers < notifyWorkers:
		n.workers++
		go n.work()
	}
}

// watchReady sees to it that ready shards do not wait for a slow method, with
// n.mu held.
func (n *notifications) watchReady() {
	if len(n.ready) > 0 && !n.watching {
		n.watching = true
		n.watch.Reset(moreWorkersAfter)
	}
}

func (n *notifications) oneMore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watching = false
	if len(n.ready) > 0 {
		n.wakeOne()
		n.watchReady()
	}
}

func (n *notifications) work() {
	var busy atomic.Bool // has shards to run
	var late *time.Timer
	late = time.AfterFunc(math.MaxInt64, func() {
		n.stream.replies.wakeWriter()
		if busy.Load() {
			late.Reset(replyWithin)
		}
	})
	defer late.Stop()
	for {
		n.mu.Lock()
		if len(n.ready) == 0 {
			n.mu.Unlock()
			busy.Store(false)
			late.Stop()
			n.stream.replies.wakeWriter()
			n.mu.Lock()
		}
		for len(n.ready) == 0 {
			if n.closed {
				n.mu.Unlock()
				return
			}
			n.waiting++
			n.idle.Wait()
			n.waiting--
		}
		s := n.ready[0]
		n.ready = n.ready[1:]
		n.mu.Unlock()
		if !busy.Swap(true) {
			late.Reset(replyWithin)
		}
		for run := s.take(); len(run) > 0; run = s.take() {
			for _, e := range run {
				n.run(e)
			}
		}
	}
}

// take is the shard's next run; none: it has no worker any more.
func (s *shard) take() []*event {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.run)
	s.run, s.queue = s.queue, s.run[:0]
	s.scheduled = len(s.run) > 0
	return s.run
}

func (n *notifications) run(e *event) {
	var answer []byte
	var err error
	if n.stream.ctx.Err() == nil {
		e.mu.Lock()
		if e.timeoutUs > 0 { // what it waited behind others is not its time
			e.deadline = deadline(time.Now(), e.timeoutUs)
		}
		e.mu.Unlock()
		answer, err = e.method(e, e.request, nil)
	}
	e.end()
	n.stream.replies.add(e, answer, err)
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
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.idle.Broadcast()
}
