package spool

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// natsLog takes what the server logs; it implements server.Logger.
type natsLog struct {
	log *slog.Logger

	mu    sync.Mutex
	lines []string // warnings and errors since the start, the latest
	broke bool
}

const keptLines = 50

func (l *natsLog) note(format string, v []any) string {
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == keptLines {
		l.lines = l.lines[1:]
	}
	l.lines = append(l.lines, text)
	// What a stream could not write once, the server never tries again.
	if strings.Contains(text, "Critical write error") || strings.Contains(text, "will be DISABLED") {
		l.broke = true
	}
	return "store: " + text
}

// reset begins anew with a new server.
func (l *natsLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.broke = nil, false
}

// broken says that the server has to be started anew.
func (l *natsLog) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broke
}

// last is what was said last.
func (l *natsLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return "it does not say why"
	}
	return l.lines[len(l.lines)-1]
}

// said is what was said about something.
func (l *natsLog) said(about string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, about) {
			return line
		}
	}
	return "nothing"
}

// Noticef takes what only those who look for a fault want to know.
func (l *natsLog) Noticef(format string, v ...any) {
	l.log.Debug("store: " + strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// Warnf takes a warning.
func (l *natsLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Maximum payloads") {
		return // the large ones are few
	}
	text := l.note(format, v)
	if strings.Contains(text, "corrupt") {
		l.log.Error("the store may have lost events: it is damaged", "error", text)
		return
	}
	l.log.Warn(text)
}

// Errorf takes an error.
func (l *natsLog) Errorf(format string, v ...any) { l.log.Error(l.note(format, v)) }

// Fatalf takes why the server cannot start.
func (l *natsLog) Fatalf(format string, v ...any) { l.log.Error(l.note(format, v)) }

// Debugf takes nothing.
func (l *natsLog) Debugf(string, ...any) {}

// Tracef takes nothing.
func (l *natsLog) Tracef(string, ...any) {}
