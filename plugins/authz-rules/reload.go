package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// A file that is being written changes several times, and the half of it may be rules, too:
	// it counts when two readings, so far apart, are the same.
	settled = 250 * time.Millisecond
	// What no event tells of is found so: a link into another folder, a network drive.
	lookAgain = 10 * time.Second
	// A file that is wrong is complained about again.
	remind = 10 * time.Minute
)

// watcher puts changes of a rules file in place. It watches the folder, since editors and
// Kubernetes replace files and do not write into them.
type watcher struct {
	path    string
	applied []byte // the text of the rules in force
	seen    []byte // the text at the last reading
	failed  string // the problem of the file as it is now, "" if there is none
	said    time.Time
	events  *fsnotify.Watcher
}

func newWatcher(path string, text []byte) (*watcher, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the rules: %w", err)
	}
	if err := events.Add(filepath.Dir(path)); err != nil {
		_ = events.Close()
		return nil, fmt.Errorf("watch the rules: %w", err)
	}
	return &watcher{path: path, applied: text, seen: text, events: events}, nil
}

// run hands new rules to apply until ctx ends. Rules that are wrong change nothing.
func (w *watcher) run(ctx context.Context, apply func(*ruleSet)) {
	defer func() { _ = w.events.Close() }()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	var soon <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.events.Events:
			soon = time.After(settled)
			continue
		case err := <-w.events.Errors:
			slog.Warn("watching the rules has trouble; they are looked at every 10 s", "error", err)
			continue
		case <-soon:
			soon = nil
		case <-again.C:
		}
		if w.look(apply, time.Now()) {
			soon = time.After(settled)
		}
	}
}

// look reads the file, and puts it in force if it is another one, and still what it was when it
// was last read. Otherwise it is to be read again, soon.
func (w *watcher) look(apply func(*ruleSet), now time.Time) (again bool) {
	text, err := readRules(w.path)
	if err == nil && !bytes.Equal(text, w.seen) {
		w.seen = text
		return true
	}
	if err == nil && bytes.Equal(text, w.applied) {
		if w.failed != "" {
			slog.Info("the rules are again those that are in force", "file", w.path)
			w.failed = ""
		}
		return false
	}
	var rules *ruleSet
	if err == nil {
		rules, err = parseRules(w.path, text)
	}
	if err != nil {
		if err.Error() != w.failed || now.Sub(w.said) >= remind {
			w.failed, w.said = err.Error(), now
			slog.Error("the rules are wrong; the old ones stay in force", "file", w.path, "error", err.Error())
		}
		return false
	}
	apply(rules)
	w.applied, w.failed = text, ""
	slog.Info("new rules are in force", "file", w.path, "rules", len(rules.rules))
	return false
}
