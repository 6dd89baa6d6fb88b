package sdk

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// decisions handles the events of the stream Decide, so that none waits for a slow
// one. As long as they are quick, the reader runs the events of a batch itself, one
// after another: no goroutine has to be woken, and their replies are one batch. When a
// method takes its time, another goroutine goes on reading, the events behind it get a
// goroutine of their own each, and so does each of the next events of its hook from
// the start. The goroutines are kept: their stacks have grown to what the plugin's
// methods need.
type decisions struct {
	stream *stream
	batch  []*event // the reader's: to be run one after another
	reader *decider
	alone  [pluginv1.Hook_HOOK_MESSAGE_ACKED + 1]patience

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
	// After an event that was slow, so many of its hook are run alone, and twice as
	// many after the next one: a busy machine makes one slow now and then, a method
	// that asks a database all of them.
	fewestAlone = 32
	mostAlone   = 4096
)

// patience is how a hook's events are run.
type patience struct {
	alone atomic.Int32 // so many get a goroutine of their own
	next  atomic.Int32 // what alone becomes after the next slow one
}

// slow is called when an event takes its time.
func (p *patience) slow() {
	n := max(p.next.Load(), fewestAlone)
	p.alone.Store(n)
	p.next.Store(min(2*n, mostAlone))
}

// decider is a goroutine that handles one run of events after another.
type decider struct {
	next   chan struct{} // capacity 1: there is a run
	late   *time.Timer   // has others take the run over
	answer []byte        // memory to be used again

	mu    sync.Mutex
	run   []*event // the first is the current one
	reads bool     // is the reader
}

func newDecisions(s *stream) handling {
	s.waitsForEach = true
	d := &decisions{stream: s}
	d.reader = d.newDecider(true)
	return d
}

func (d *decisions) newDecider(reads bool) *decider {
	w := &decider{next: make(chan struct{}, 1), reads: reads}
	w.late = time.AfterFunc(math.MaxInt64, func() { d.takeOver(w) })
	d.all = append(d.all, w)
	return w
}

func (d *decisions) handle(e *event, _ []byte) {
	if p := &d.alone[e.hook]; p.alone.Load() > 0 {
		p.alone.Add(-1)
		d.start(e)
		return
	}
	if d.batch = append(d.batch, e); len(d.batch) == longestRun {
		d.flush()
	}
}

// flush leaves the batch so far to a goroutine of its own.
func (d *decisions) flush() {
	if len(d.batch) > 0 {
		d.start(d.batch...)
		clear(d.batch)
		d.batch = d.batch[:0]
	}
}

func (d *decisions) handled() (readOn bool) {
	if len(d.batch) == 0 {
		return true
	}
	w, hook := d.reader, d.batch[0].hook
	w.set(d.batch)
	clear(d.batch)
	d.batch = d.batch[:0]
	w.late.Reset(takeOverAfter)
	d.runAll(w)
	w.late.Stop()
	d.stream.reply()
	w.mu.Lock()
	readOn = w.reads
	w.mu.Unlock()
	if readOn {
		d.alone[hook].next.Store(fewestAlone)
	} else {
		d.mu.Lock()
		d.all = slices.DeleteFunc(d.all, func(other *decider) bool { return other == w })
		d.mu.Unlock()
	}
	return readOn
}

func (w *decider) set(run []*event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run = append(w.run[:0], run...)
}

// start has a goroutine run the events.
func (d *decisions) start(run ...*event) {
	var w *decider
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		w, d.idle = d.idle[n-1], d.idle[:n-1]
	} else {
		w = d.newDecider(false)
		go d.work(w)
	}
	d.mu.Unlock()
	w.set(run)
	w.next <- struct{}{}
}

func (d *decisions) work(w *decider) {
	for range w.next {
		w.late.Reset(takeOverAfter)
		d.runAll(w)
		w.late.Stop()
		runtime.Gosched() // who is about to reply gets into this batch
		d.stream.reply()
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return
		}
		d.idle = append(d.idle, w)
		d.mu.Unlock()
	}
}

// runAll handles the decider's run.
func (d *decisions) runAll(w *decider) {
	for e := w.current(); e != nil; e = w.done() {
		answer, err := e.method(e, e.request, w.answer[:0])
		e.end()
		d.stream.replies.add(e, answer, err)
		if cap(answer) <= keptAnswer {
			w.answer = answer
		}
	}
}

func (w *decider) current() *event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.run[0]
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

// takeOver has others read, if w was the reader, and run what is behind a slow
// event; and sends the replies to what was before it.
func (d *decisions) takeOver(w *decider) {
	w.mu.Lock()
	if len(w.run) == 0 {
		w.mu.Unlock()
		return
	}
	d.alone[w.run[0].hook].slow()
	rest := slices.Clone(w.run[1:])
	w.run = w.run[:1]
	read := w.reads
	w.reads = false
	w.mu.Unlock()
	for _, e := range rest {
		d.start(e)
	}
	if read {
		d.mu.Lock()
		d.reader = d.newDecider(true)
		d.mu.Unlock()
		go d.stream.readAll()
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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, w := range d.idle {
		close(w.next)
	}
	d.idle = nil
}
