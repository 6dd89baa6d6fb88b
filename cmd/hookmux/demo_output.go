package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-isatty"
)

// page is the reader's terminal, or whatever stdout is.
type page struct {
	w      io.Writer
	colour bool
}

func newPage(w io.Writer) *page {
	f, ok := w.(*os.File)
	return &page{w: w, colour: ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func (p *page) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *page) bold(s string) string  { return p.paint("1", s) }
func (p *page) dim(s string) string   { return p.paint("2", s) }
func (p *page) green(s string) string { return p.paint("32", s) }
func (p *page) red(s string) string   { return p.paint("31", s) }

// journal is where the log goes: to its file, to the terminal if asked, and into
// memory while the story looks for what it claims. It gets one line per Write.
type journal struct {
	file, also io.Writer

	mu    sync.Mutex
	lines []string
	deaf  bool
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.deaf {
		j.lines = append(j.lines, string(line))
	}
	if j.also != nil {
		_, _ = j.also.Write(line)
	}
	return j.file.Write(line)
}

// forget ends the memory; who plays with the demo for a day needs none.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines, j.deaf = nil, true
}

// mark is where the log is now.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines)
}

// find waits for a line after mark that has all the parts.
func (j *journal) find(ctx context.Context, mark int, parts ...string) (string, error) {
	var found string
	err := until(ctx, "a line in the log with "+strings.Join(parts, " "), func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
	lines:
		for _, line := range j.lines[mark:] {
			for _, p := range parts {
				if !strings.Contains(line, p) {
					continue lines
				}
			}
			found = line
			return true
		}
		return false
	})
	return found, err
}
