package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"sync"

	"modernc.org/sqlite"
)

// file is SQLite's file. SQLite goes on with the one that it has opened, also when another one
// has its name, or none: a reader would not see what has changed, and a writer write what
// nobody finds.
type file struct {
	path     string
	readOnly bool
	driver   driver.Connector
	pool     *sql.DB
	maxIdle  int

	turn   chan struct{} // held by who opens a connection
	is     os.FileInfo   // the file that was opened; who has the turn may change it
	mu     sync.Mutex
	open   int           // connections
	closed chan struct{} // one was
}

func openFile(path, dsn string, readOnly bool) (*file, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, readOnly: readOnly, driver: c, turn: make(chan struct{}, 1), closed: make(chan struct{}, 1)}
	f.pool = sql.OpenDB(f)
	return f, nil
}

// Driver implements driver.Connector.
func (f *file) Driver() driver.Driver { return f.driver.Driver() }

// Connect opens the file. A reader takes the one that has its name now. A writer does not take another one:
// what it wrote last may be in the -wal beside it, which SQLite would take for the new one's.
func (f *file) Connect(ctx context.Context) (driver.Conn, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	before, err := os.Stat(f.path)
	if f.is != nil && (err != nil || !os.SameFile(f.is, before)) {
		if !f.readOnly {
			return nil, fmt.Errorf("%s is gone, or another file than the one that was opened: put that back, or restart the provider to go on with what is there", f.path)
		}
		if err != nil {
			return nil, err
		}
		if err := f.leave(ctx); err != nil {
			return nil, err
		}
	}
	c, err := f.driver.Connect(ctx)
	if err != nil {
		return nil, err
	}
	is, err := os.Stat(f.path)
	if err != nil || before != nil && !os.SameFile(before, is) {
		_ = c.Close()
		return nil, fmt.Errorf("%s has become another file while it was opened", f.path)
	}
	f.is = is
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &fileConn{c.(sqliteConn), f, is}, nil
}

// leave waits until no connection to the file of before is open: SQLite keeps -wal and -shm beside it, which
// the new one's have the names of.
func (f *file) leave(ctx context.Context) error {
	f.pool.SetMaxIdleConns(0) // closes those that are idle; the others are closed when they come back
	defer f.pool.SetMaxIdleConns(f.maxIdle)
	for {
		f.mu.Lock()
		open := f.open
		f.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-f.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sqliteConn is what the driver's connections can.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// fileConn is a connection that is used only as long as its file has its name.
type fileConn struct {
	sqliteConn

	file *file
	is   os.FileInfo
}

// ResetSession is asked before a connection is used again, and IsValid after it was used.
func (c *fileConn) ResetSession(ctx context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	return c.sqliteConn.ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *fileConn) IsValid() bool {
	now, err := os.Stat(c.file.path)
	return err == nil && os.SameFile(c.is, now) && c.sqliteConn.IsValid()
}

// Close implements driver.Conn.
func (c *fileConn) Close() error {
	err := c.sqliteConn.Close()
	c.file.mu.Lock()
	defer c.file.mu.Unlock()
	c.file.open--
	select {
	case c.file.closed <- struct{}{}:
	default:
	}
	return err
}
