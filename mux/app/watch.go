package app

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/hookmux/hookmux/mux/config"
)

const (
	// watchRest is how long the files must be left alone before they are looked at:
	// who writes one may not be done.
	watchRest = 200 * time.Millisecond
	// watchRetry is how soon a folder that is not there is looked for again.
	watchRetry = time.Second
)

// setWatch begins or ends the watch as the config says, and has it look at what
// the config refers to now. It is for who has a.turn, or Start.
func (a *App) setWatch(cfg *config.Config) {
	switch {
	case !cfg.Watch || a.opts.ConfigPath == "" || a.opts.Load == nil:
		if a.endWatch != nil {
			a.endWatch()
			a.endWatch = nil
		}
	case a.endWatch == nil:
		w, err := fsnotify.NewWatcher()
		if err != nil {
			a.log.Warn("the config is not watched", "error", err)
			return
		}
		var ctx context.Context
		ctx, a.endWatch = context.WithCancel(a.life)
		a.running.Go(func() { a.watch(ctx, w) })
	default:
		select {
		case a.rewatch <- struct{}{}:
		default: // it will look in any case
		}
	}
}

// watch reloads the config after it, or a file that it refers to, has changed. It
// watches the folders, because editors and Kubernetes do not write files but put
// others in their place.
func (a *App) watch(ctx context.Context, w *fsnotify.Watcher) {
	defer func() { _ = w.Close() }()
	seen := make(map[string]content)
	a.changed(seen)
	look := time.NewTimer(0) // what happened before the folders were watched
	defer look.Stop()
	for {
		var again <-chan time.Time
		if !a.watchFolders(w) {
			again = time.After(watchRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.Events:
			look.Reset(watchRest)
		case err := <-w.Errors: // some were lost, perhaps
			a.log.Warn("the watch of the config may have missed something: it is looked at", "error", err)
			look.Reset(watchRest)
		case <-again:
			look.Reset(watchRest)
		case <-a.rewatch:
			a.changed(seen)
		case <-look.C:
			if a.changed(seen) {
				_, _ = a.Reload(ctx) // which logs what came of it
			}
		}
	}
}

// watched are the config and what it refers to.
func (a *App) watched() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{a.opts.ConfigPath}, a.cfg.Files...)
}

// watchFolders watches the folders of all files, and of what they are links to. It
// says whether all are there.
func (a *App) watchFolders(w *fsnotify.Watcher) (all bool) {
	all = true
	for _, path := range a.watched() {
		all = w.Add(filepath.Dir(path)) == nil && all
		if to, err := filepath.EvalSymlinks(path); err == nil {
			_ = w.Add(filepath.Dir(to))
		}
	}
	return all
}

// content is a hash of what a file holds.
type content [sha256.Size]byte

// changed takes into seen what the files hold, and says whether any that was seen
// before holds something else now. One that is missing is not seen: whoever removed
// it may be about to put another in its place.
func (a *App) changed(seen map[string]content) (changed bool) {
	for _, path := range a.watched() {
		now, err := contentOf(path)
		if err != nil {
			continue
		}
		if before, ok := seen[path]; ok && before != now {
			changed = true
		}
		seen[path] = now
	}
	return changed
}

func contentOf(path string) (c content, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, 4<<20)); err != nil { // more is no config
		return c, err
	}
	return content(h.Sum(nil)), nil
}
