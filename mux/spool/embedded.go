package spool

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
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
	closed, err := e.readClosed()
	if err != nil {
		return err
	}
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
		err = e.checkStreams(srv, closed)
	}
	if err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return err
	}
	e.forgetClosed()
	e.mu.Lock()
	e.srv = srv
	e.mu.Unlock()
	return nil
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
		ends := ends(e.srv)
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.writeClosed(ends)
	}
	_ = e.lock.Close()
}
