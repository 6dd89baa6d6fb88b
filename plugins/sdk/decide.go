package sdk

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// decisions handles the events of the stream Decide, so that none waits for a slow
// one: one goroutine runs the events of a batch one after another as long as that is
// quick, which costs one wake a batch, and one reply. When a method takes its time, the
// events behind it get a goroutine of their own each, and so does each of the next
// events of its hook from the start. The goroutines are kept: their stacks have grown
// to what the plugin's methods need.
type decisions struct {
	stream *stream
	batch  []*event // the reader's: to be run one after another
	alone  [pluginv1.Hook_HOOK_MESSAGE_ACKED + 1]atomic.Int32

	mu     sync.Mutex
	all    []*decider
	idle   []*decider
	closed bool
}

const (
	// longestRun is how many quick events one goroutine runs at most before their
	// replies are sent.
	longestRun = 32
	// takeOverAfter is how long a run may take. It bounds what an event can wait for
	// those before it.
	takeOverAfter = time.Millisecond
	// aloneFor is how many events of a hook are run alone after one that was slow.
	aloneFor = 1000
)

// decider is a goroutine that handles one run of events after another.
type decider struct {
	next chan struct{} // capacity 1: there is a run
	late *time.Timer   // has others take the run over

	mu  sync.Mutex
	run []*event // the first is the current one
}

func newDecisions(s *stream) handling {
	s.waitsForEach = true
	return &decisions{stream: s}
}

func (d *decisions) handle(e *event, _ []byte) {
	if n := &d.alone[e.hook]; n.Load() > 0 {
		n.Add(-1)
		d.start(e)
		return
	}
	if d.batch = append(d.batch, e); len(d.batch) == longestRun {
		d.handled()
	}
}

func (d *decisions) handled() {
	if len(d.batch) > 0 {
		d.start(d.batch...)
		clear(d.batch)
		d.batch = d.batch[:0]
	}
}

// start has a goroutine run the events.
func (d *decisions) start(run ...*event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.startLocked(run...)
}

func (d *decisions) startLocked(run ...*event) {
	var w *decider
	if n := len(d.idle); n > 0 {
		w, d.idle = d.idle[n-1], d.idle[:n-1]
	} else {
		w = &decider{next: make(chan struct{}, 1)}
		w.late = time.AfterFunc(math.MaxInt64, func() { d.takeOver(w) })
		d.all = append(d.all, w)
		go d.work(w)
	}
	w.mu.Lock()
	w.run = append(w.run[:0], run...)
	w.mu.Unlock()
	w.next <- struct{}{}
}

func (d *decisions) work(w *decider) {
	var answer []byte // its memory is used again
	for range w.next {
		w.mu.Lock()
		e, several := w.run[0], len(w.run) > 1
		w.mu.Unlock()
		if several {
			w.late.Reset(takeOverAfter)
		}
		for ; e != nil; e = w.done() {
			var err error
			answer, err = e.method(e, e.request, answer[:0])
			e.end()
			d.stream.replies.add(e, answer, err)
			if cap(answer) > keptAnswer {
				answer = nil
			}
		}
		if several {
			w.late.Stop()
		}
		d.stream.replies.wakeWriter()
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return
		}
		d.idle = append(d.idle, w)
		d.mu.Unlock()
	}
}

// done ends the current event; the next one is nil after the last.
func (w *decider) done() *event {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run[0] = nil
	w.run = w.run[1:]
	if len(w.run) == 0 {
		return nil
	}
	return w.run[0]
}

// takeOver runs what is behind a slow event, and sends the replies to what was
// before it.
func (d *decisions) takeOver(w *decider) {
	d.mu.Lock() // all along, so that cancel finds each event in its old or its new place
	defer d.mu.Unlock()
	w.mu.Lock()
	if len(w.run) == 0 {
		w.mu.Unlock()
		return
	}
	d.alone[w.run[0].hook].Store(aloneFor)
	rest := slices.Clone(w.run[1:])
	w.run = w.run[:1]
	w.mu.Unlock()
	for _, e := range rest {
		d.startLocked(e)
	}
	d.stream.replies.wakeWriter()
}

// keptAnswer is how large an answer's memory may be to be used again.
const keptAnswer = 16 << 10

func (d *decisions) cancel(id uint64) {
	for _, e := range d.batch {
		if e.id == id {
			e.end()
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.all {
		w.mu.Lock()
		for _, e := range w.run {
			if e.id == id {
				e.end()
			}
		}
		w.mu.Unlock()
	}
}

func (d *decisions) close() {
	d.handled()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, w := range d.idle {
		close(w.next)
	}
	d.idle = nil
}
