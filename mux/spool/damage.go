package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// streamPrefix is what the names of our streams begin with in a server of our own.
const streamPrefix = "hookmux=" + ownName + "="

// streamDirs is where that server has its streams.
func (e *embedded) streamDirs() string {
	return filepath.Join(e.opts.Dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams")
}

// damaged is why a stream is not begun anew, as if nothing had been stored.
func damaged(path, why string) error {
	return fmt.Errorf("it is damaged: what is stored in %s cannot be read. %s. "+
		"Put a copy of that directory back, or move it away to begin anew without what is in it", path, why)
}

// checkStreams says which streams are there and were not understood. The server goes
// on without them. What it has lost of others is logged; closed is where they ended when
// the store was closed.
func (e *embedded) checkStreams(srv *server.Server, closed map[string]end) error {
	info, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return err
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return err
	}
	defer nc.Close()
	known := make(map[string]bool)
	for _, a := range info.AccountDetails {
		for _, s := range a.Streams {
			known[s.Name] = true
			was := closed[s.Name]
			switch lost := lostOf(nc, s.Name); {
			case s.State.LastSeq < was.Last:
				e.sayLost(s.Name, fmt.Sprintf("the last %d that there were when it was closed are not there", was.Last-s.State.LastSeq))
			case s.State.Msgs < was.Events:
				e.sayLost(s.Name, fmt.Sprintf("%d that there were when it was closed are not there", was.Events-s.State.Msgs))
			case len(lost.Msgs) > 0:
				e.sayLost(s.Name, fmt.Sprintf("%d cannot be read", len(lost.Msgs)))
			case lost.Bytes > 0:
				e.sayLost(s.Name, fmt.Sprintf("%d bytes of its files cannot be read (if hookmux was killed, perhaps only what was being stored)", lost.Bytes))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		if !known[name] && closed[name].Events > 0 {
			e.sayLost(name, "it had some when it was closed, and is not there")
		}
	}
	dir := e.streamDirs()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !strings.HasPrefix(entry.Name(), "hookmux=") {
			continue // what a server leaves of a stream that it was removing
		}
		if known[entry.Name()] {
			continue
		}
		if holdsNothing(path) { // we were killed while it was made
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		return damaged(path, "The server says: "+e.log.said(entry.Name()))
	}
	return nil
}

// lostOf is what a server found out to be lost when it read a stream.
func lostOf(nc *nats.Conn, stream string) server.LostStreamData {
	var info struct{ State server.StreamState }
	answer, err := nc.Request("$JS.API.STREAM.INFO."+stream, []byte(`{"deleted_details":true}`), askTimeout)
	if err == nil {
		err = json.Unmarshal(answer.Data, &info)
	}
	if err != nil || info.State.Lost == nil {
		return server.LostStreamData{}
	}
	return *info.State.Lost
}

// sayLost logs that what was stored is gone.
func (e *embedded) sayLost(stream, what string) {
	provider, dead := strings.CutSuffix(strings.TrimPrefix(stream, streamPrefix), deadSuffix)
	kind := "events"
	if dead {
		kind = "dead letters"
	}
	e.opts.Log.Error(fmt.Sprintf("the store in %s has lost %s: %s", e.opts.Dir, kind, what), "provider", provider, "stream", stream)
}

// holdsNothing says that no event can be in a stream's directory.
func holdsNothing(path string) bool {
	blocks, err := os.ReadDir(filepath.Join(path, "msgs"))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	for _, b := range blocks {
		if info, err := b.Info(); err != nil || info.Size() > 0 {
			return false
		}
	}
	return err == nil
}

// closedName is the file that says where each stream ended when the store was closed, and how much it had, so that it is noticed when something of it has gone
// meanwhile. There is none while it is open.
const closedName = "closed.json"

// end is how a stream ended.
type end struct {
	Last   uint64 // the place of what was stored last
	Events uint64
}

// ends are how the streams of a server ended that nobody uses any more. It may be busy
// with acknowledgements still, so this waits until nothing changes.
func ends(srv *server.Server) map[string]end {
	before := make(map[string]end)
	for range 20 {
		info, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
		if err != nil {
			return nil
		}
		now := make(map[string]end)
		all := uint64(0)
		for _, a := range info.AccountDetails {
			for _, s := range a.Streams {
				now[s.Name] = end{s.State.LastSeq, s.State.Msgs}
				all += s.State.Msgs
			}
		}
		if all == 0 || maps.Equal(before, now) {
			return now
		}
		before = now
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

func (e *embedded) writeClosed(ends map[string]end) {
	text, err := json.Marshal(ends)
	if err == nil {
		err = os.WriteFile(filepath.Join(e.opts.Dir, closedName), text, 0o600)
	}
	if err != nil {
		e.opts.Log.Warn("the store was closed, but it will not be noticed if files of it go", "error", err)
	}
}

func (e *embedded) forgetClosed() { _ = os.Remove(filepath.Join(e.opts.Dir, closedName)) }

// readClosed is where the streams ended when the store was closed, as far as that is
// known. It fails for a stream without its events' folder, which the server would make.
func (e *embedded) readClosed() (closed map[string]end, err error) {
	if text, err := os.ReadFile(filepath.Join(e.opts.Dir, closedName)); err == nil {
		_ = json.Unmarshal(text, &closed) // one that is damaged says nothing
	}
	metas, err := filepath.Glob(filepath.Join(e.streamDirs(), "hookmux=*", "meta.inf"))
	if err != nil {
		return nil, err
	}
	for _, meta := range metas {
		path := filepath.Dir(meta)
		if _, err := os.Stat(filepath.Join(path, "msgs")); errors.Is(err, fs.ErrNotExist) {
			return nil, damaged(path, "Its folder msgs is not there")
		}
	}
	return closed, nil
}
