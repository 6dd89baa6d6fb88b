package spool_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux/spool"
)

// What is gone of a store is said, when it is opened again: with bytes, or events, or that
// it is not there.
func TestLossIsSaid(t *testing.T) {
	t.Parallel()
	blocks := func(t *testing.T, stream string) []string {
		found, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
		if err != nil || len(found) == 0 {
			t.Fatal(found, err)
		}
		return found
	}
	flip := func(t *testing.T, stream string) error {
		block := blocks(t, stream)[0]
		text, err := os.ReadFile(block)
		if err != nil {
			return err
		}
		text[len(text)/2] ^= 0xff
		if err := os.WriteFile(block, text, 0o600); err != nil {
			return err
		}
		return os.Remove(filepath.Join(stream, "msgs", "index.db"))
	}
	closed := func(stream string) string {
		return filepath.Join(stream, "..", "..", "..", "..", "closed.json")
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, stream string) error
		says   string // "" for nothing
	}{
		"nothing":                   {func(*testing.T, string) error { return nil }, ""},
		"the index":                 {func(_ *testing.T, stream string) error { return os.Remove(filepath.Join(stream, "msgs", "index.db")) }, ""},
		"how it was closed":         {func(_ *testing.T, stream string) error { return os.Remove(closed(stream)) }, ""},
		"an event, after the close": {flip, "that there were when it was closed are not there"},
		"an event, after a crash": {func(t *testing.T, stream string) error {
			if err := os.Remove(closed(stream)); err != nil {
				return err
			}
			return flip(t, stream)
		}, "bytes of its files cannot be read"},
		"the end": {func(t *testing.T, stream string) error {
			block := blocks(t, stream)[0]
			info, err := os.Stat(block)
			if err != nil {
				return err
			}
			return os.Truncate(block, info.Size()/2)
		}, "has lost events"},
		"its blocks": {func(t *testing.T, stream string) error { return os.Remove(blocks(t, stream)[0]) }, "30 that there were when it was closed are not there"},
		"all of it":  {func(_ *testing.T, stream string) error { return os.RemoveAll(stream) }, "it had some when it was closed, and is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, spool.Options{Dir: dir})
			q := s.Queue("p")
			for range 30 {
				store(t, q, strings.Repeat("x", 1000))
			}
			q.Close()
			s.Close()
			if err := c.damage(t, filepath.Join(dir, "jetstream", "$G", "streams", "hookmux=hookmux=p")); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s, err := spool.Open(spool.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			said := strings.Contains(log.String(), "has lost events") && strings.Contains(log.String(), "provider=p ")
			if said != (c.says != "") || !strings.Contains(log.String(), c.says) {
				t.Errorf("it says %s, want %q", log.String(), c.says)
			}
		})
	}
}
