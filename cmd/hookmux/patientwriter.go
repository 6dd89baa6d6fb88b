package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// patientWriter writes behind: whoever logs never waits for who reads the log.
// A reader that stands still, of a pipe or a terminal, would else stop every
// answer to EMQX. What does not fit into its queue is left out and counted.
type patientWriter struct {
	w     io.Writer
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	leftOut int
}

const (
	patientLines = 4096        // what may wait to be written
	patientEnd   = time.Second // how long Close waits for it
)

func newPatientWriter(w io.Writer) *patientWriter {
	p := &patientWriter{w: w, lines: make(chan []byte, patientLines), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for line := range p.lines {
			_, _ = p.w.Write(line)
			if n := p.takeLeftOut(); n > 0 {
				fmt.Fprintf(p.w, "hookmux: %d log lines left out, because nobody took them\n", n)
			}
		}
	}()
	return p
}

func (p *patientWriter) takeLeftOut() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, p.leftOut = p.leftOut, 0
	return n
}

// Write queues a line. It never fails and never blocks.
func (p *patientWriter) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return len(line), nil
	}
	select {
	case p.lines <- append([]byte(nil), line...): // slog uses its memory again
	default:
		p.leftOut++
	}
	return len(line), nil
}

// Close writes what waits, unless nobody takes it within a moment.
func (p *patientWriter) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.lines)
	}
	p.mu.Unlock()
	select {
	case <-p.done:
	case <-time.After(patientEnd):
	}
}
