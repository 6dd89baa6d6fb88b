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

// notWatched are folders of dependencies and of what a build makes, and those of
// editors and version control, which are hidden.
func notWatched(name string) bool {
	return strings.HasPrefix(name, ".") ||
		slices.Contains([]string{"node_modules", "bin", "target", "build", "dist", "__pycache__", "venv"}, name) ||
		strings.HasSuffix(name, ".egg-info")
}

// watchTree tells of files that change in a folder and all below, until ctx ends.
func watchTree(ctx context.Context, dir string) (<-chan string, error) {
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
			case path != dir && notWatched(d.Name()):
				return filepath.SkipDir
			}
			return w.Add(path)
		})
	}
	if err := add(dir); err != nil {
		_ = w.Close()
		return nil, err
	}
	changes := make(chan string)
	go func() {
		defer func() { _ = w.Close() }()
		for {
			select {
			case e := <-w.Events:
				name := filepath.Base(e.Name)
				if notWatched(name) || strings.HasSuffix(name, "~") || e.Op == fsnotify.Chmod {
					continue
				}
				if s, err := os.Stat(e.Name); err == nil && s.IsDir() {
					_ = add(e.Name)
				}
				select {
				case changes <- e.Name:
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
