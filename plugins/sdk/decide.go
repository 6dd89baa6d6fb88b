package sdk

import (
	"sync"
	"sync/atomic"
)

// decisions handles the events of the stream Decide, each in a goroutine of its
// own, so that no decision waits for another. The goroutines are kept: their
// stacks have grown to what the plugin's methods need.
type decisions struct {
	stream *stream
	all    []*decider // the reader's

	mu     sync.Mutex
	idle   []*decider
	closed bool
}

// decider is a goroutine that handles one event after another.
type decider struct {
	next    chan *event // capacity 1
	current atomic.Pointer[event]
}

func newDecisions(s *stream) handling {
	s.waitsForEach = true
	return &decisions{stream: s}
}

func (d *decisions) handle(e *event, _ []byte) {
	d.mu.Lock()
	var w *decider
	if n := len(d.idle); n > 0 {
		w, d.idle = d.idle[n-1], d.idle[:n-1]
	}
	d.mu.Unlock()
	if w == nil {
		w = &decider{next: make(chan *event, 1)}
		d.all = append(d.all, w)
		go d.work(w)
	}
	w.current.Store(e)
	w.next <- e
}

func (d *decisions) handled() {}

func (d *decisions) work(w *decider) {
	var answer []byte // its memory is used again
	for e := range w.next {
		var err error
		answer, err = e.method(e, e.request, answer[:0])
		e.end()
		w.current.Store(nil)
		d.stream.replies.add(e, answer, err)
		d.stream.replies.wakeWriter()
		if cap(answer) > keptAnswer {
			answer = nil
		}
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return
		}
		d.idle = append(d.idle, w)
		d.mu.Unlock()
	}
}

// keptAnswer is how large an answer's memory may be to be used again.
const keptAnswer = 16 << 10

func (d *decisions) cancel(id uint64) {
	for _, w := range d.all {
		if e := w.current.Load(); e != nil && e.id == id {
			e.end()
			return
		}
	}
}

func (d *decisions) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, w := range d.idle {
		close(w.next)
	}
	d.idle = nil
}
