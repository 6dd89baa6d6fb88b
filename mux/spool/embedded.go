package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process, which nobody else can reach. It is
// started again when it has given up, as it does when the disk is full.
type embedded struct {
	opts Options
	log  *natsLog
	lock *os.File
	disk disk

	stop    chan struct{}
	stopped sync.WaitGroup

	mu  sync.Mutex
	srv *server.Server // nil while it does not run
}

func openEmbedded(o Options) (_ *embedded, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the store's directory (spool.dir): %w", err)
	}
	e := &embedded{opts: o, log: &natsLog{log: o.Log}, stop: make(chan struct{}), disk: disk{dir: o.Dir, reserve: maxReserve}}
	if o.noReserve {
		e.disk.reserve = 0
	}
	if e.lock, err = lockDir(o.Dir); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		_ = e.lock.Close()
		return nil, fmt.Errorf("the store in %s: %w", o.Dir, err)
	}
	e.stopped.Go(e.supervise)
	return e, nil
}

// lockDir keeps others out of the directory, for as long as we live.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the store's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another hookmux uses the store in %s; give each its own directory (spool.dir)", dir)
		}
		return nil, fmt.Errorf("lock the store in %s: %w", dir, err)
	}
	return f, nil
}

// startTimeout is how long a server may take to read its store.
const startTimeout = 5 * time.Minute

// maxPayload is the largest message that JetStream keeps, with its headers.
const maxPayload = 32 << 20

func (e *embedded) start() error {
	e.log.reset()
	srv, err := server.NewServer(&server.Options{
		ServerName: "hookmux", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: e.opts.Dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: math.MaxInt64 / 2,
		SyncInterval: e.opts.Sync, SyncAlways: e.opts.SyncAlways,
		MaxPayload: maxPayload, MaxPending: 256 << 20, WriteDeadline: time.Minute,
	})
	if err != nil {
		return err
	}
	srv.SetLoggerV2(e.log, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		err = errors.New("the server did not start: " + e.log.last())
	}
	if err == nil {
		err = e.checkStreams(srv)
	}
	if err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return err
	}
	e.mu.Lock()
	e.srv = srv
	e.mu.Unlock()
	return nil
}

// checkStreams says which streams are there and were not understood. The server goes
// on without them, and we would begin them anew, as if nothing had been stored.
func (e *embedded) checkStreams(srv *server.Server) error {
	info, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, a := range info.AccountDetails {
		for _, s := range a.Streams {
			known[s.Name] = true
			if lost := s.State.Lost; lost != nil && len(lost.Msgs) > 0 {
				e.opts.Log.Error("the store is damaged: events that were stored cannot be read and are lost", "stream", s.Name, "events", len(lost.Msgs))
			}
		}
	}
	dir := filepath.Join(e.opts.Dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams")
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
		return fmt.Errorf("it is damaged: what is stored in %s cannot be read. The server says: %s. "+
			"Put a copy of that directory back, or move it away to begin anew without what is in it", path, e.log.said(entry.Name()))
	}
	return nil
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

// InProcessConn implements nats.InProcessConnProvider.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errors.New("the store is not open at the moment")
	}
	return srv.InProcessConn()
}

// superviseEvery is how soon a server that gave up is started again.
const superviseEvery = 100 * time.Millisecond

// supervise starts the server again when it has given up.
func (e *embedded) supervise() {
	t := time.NewTicker(superviseEvery)
	defer t.Stop()
	said := false
	for {
		select {
		case <-t.C:
		case <-e.stop:
			return
		}
		e.mu.Lock()
		srv := e.srv
		e.mu.Unlock()
		if srv != nil && srv.JetStreamEnabled() && !e.log.broken() {
			continue
		}
		if srv != nil {
			e.opts.Log.Error("the store has failed: nothing can be stored until it works again", "error", e.log.last())
			e.mu.Lock()
			e.srv = nil
			e.mu.Unlock()
			srv.Shutdown()
			srv.WaitForShutdown()
			said = false
		}
		err := e.disk.probe()
		if err == nil {
			err = e.start()
		}
		if err == nil {
			e.opts.Log.Info("the store works again")
		} else if !said {
			said = true
			e.opts.Log.Error("the store cannot be opened again: trying again and again", "error", err)
		}
	}
}

func (e *embedded) close() {
	close(e.stop)
	e.stopped.Wait()
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	_ = e.lock.Close()
}
