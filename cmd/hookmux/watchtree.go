package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// notWatched are folders of dependencies and of what a build makes, those of editors
// and version control, which are hidden, and what programs write while they run.
func notWatched(name string) bool {
	return strings.HasPrefix(name, ".") ||
		slices.Contains([]string{"node_modules", "bin", "target", "build", "dist", "__pycache__", "venv"}, name) ||
		slices.ContainsFunc([]string{".egg-info", "~", ".log", ".db", ".sqlite", ".sqlite3", "-wal", "-shm", "-journal"},
			func(end string) bool { return strings.HasSuffix(name, end) })
}

// change is what became of a file.
type change struct {
	path  string
	isNew bool // it was not there before
}

// watchTree tells of files that change in a folder and all below, until ctx ends, but
// not of those that skip says are not watched, nor of what is below such ones.
func watchTree(ctx context.Context, dir string, skip func(path string) bool) (<-chan change, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	add := func(root string) error {
		return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && path == dir:
				return err
			case err != nil || !d.IsDir():
				return nil //nolint:nilerr // it has gone meanwhile, which we are told
			case path != dir && (notWatched(d.Name()) || skip(path)):
				return filepath.SkipDir
			}
			return w.Add(path)
		})
	}
	if err := add(dir); err != nil {
		_ = w.Close()
		return nil, err
	}
	changes := make(chan change)
	go func() {
		defer func() { _ = w.Close() }()
		for {
			select {
			case e := <-w.Events:
				if notWatched(filepath.Base(e.Name)) || skip(e.Name) || e.Op == fsnotify.Chmod {
					continue
				}
				if s, err := os.Stat(e.Name); err == nil && s.IsDir() {
					_ = add(e.Name)
				}
				select {
				case changes <- change{e.Name, e.Has(fsnotify.Create)}:
				case <-ctx.Done():
					return
				}
			case <-w.Errors: //nolint:errcheck // too many at a time: there will be a next one
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes, nil
}
