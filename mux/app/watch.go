package app

import (
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/hookmux/hookmux/mux/config"
)

const (
	// watchRest is how long the files must stay the same before they are read: who
	// writes one may not be done.
	watchRest = 200 * time.Millisecond
	// watchEvery is how often the files are looked at in any case: nothing tells that
	// a folder further up was replaced, or a file on another machine's disk.
	watchEvery = 2 * time.Second
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
		seen := a.contents()
		a.running.Go(func() { a.watch(ctx, w, seen) })
	default:
		select {
		case a.rewatch <- struct{}{}:
		default: // it will look in any case
		}
	}
}

// watch reloads the config after it, or a file that it refers to, has changed. It
// watches the folders, because editors and Kubernetes do not write files but put
// others in their place. seen is what was read last.
func (a *App) watch(ctx context.Context, w *fsnotify.Watcher, seen map[string]content) {
	defer func() { _ = w.Close() }()
	var found map[string]content // what the last look found, if that is not what was read
	due := true                  // a look is
	look := time.NewTimer(0)     // what happened before the folders were watched
	every := time.NewTicker(watchEvery)
	defer look.Stop()
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			due = false
			a.watchFolders(w)
			now := a.contents()
			switch {
			case !changed(seen, now): // but perhaps it refers to other files
				found = nil
				maps.Copy(seen, now)
			case found != nil && maps.Equal(found, now):
				found = nil
				maps.Copy(seen, now)
				_, _ = a.Reload(ctx) // which logs what came of it
			default:
				found, due = now, true
				look.Reset(watchRest)
			}
			continue
		case <-a.rewatch:
			found, due = nil, true
			look.Reset(0)
			continue
		case err := <-w.Errors: // some were lost, perhaps
			a.log.Warn("the watch of the config may have missed something: it is looked at", "error", err)
		case <-w.Events:
		case <-every.C:
		}
		// Whatever else is written in the folders, and however often, does not put it off.
		if !due {
			due = true
			look.Reset(watchRest)
		}
	}
}

// watched are the config and what it refers to.
func (a *App) watched() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{a.opts.ConfigPath}, a.cfg.Files...)
}

// watchFolders watches the folders of all files, and of what they are links to, as
// far as they are there.
func (a *App) watchFolders(w *fsnotify.Watcher) {
	for _, path := range a.watched() {
		_ = w.Add(filepath.Dir(path))
		if to, err := filepath.EvalSymlinks(path); err == nil {
			_ = w.Add(filepath.Dir(to))
		}
	}
}

// content is a hash of what a file holds.
type content [sha256.Size]byte

// contents is what the files hold that are there.
func (a *App) contents() map[string]content {
	all := make(map[string]content)
	for _, path := range a.watched() {
		if c, err := contentOf(path); err == nil {
			all[path] = c
		}
	}
	return all
}

// changed says whether any file holds something else now. One that is missing is
// not meant: whoever removed it may be about to put another in its place.
func changed(seen, now map[string]content) bool {
	for path, c := range now {
		if was, ok := seen[path]; ok && was != c {
			return true
		}
	}
	return false
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
