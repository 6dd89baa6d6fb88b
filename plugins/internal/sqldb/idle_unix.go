//go:build unix

package sqldb

import (
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// stillOpen finds a connection that the server has closed while it was idle, as it has all
// of them after a restart; the pool then takes another, and no event pays for it. It looks
// and does not wait: a ping would cost a way there and back. go-sql-driver/mysql does the same by itself.
func stillOpen(c *pgx.Conn) error {
	conn := c.PgConn().Conn()
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return driver.ErrBadConn
	}
	var peeked error
	// Not raw.Read: that waits for a read that goes on, and pgx leaves one behind after a slow write.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	if err != nil || !errors.Is(peeked, syscall.EAGAIN) && !errors.Is(peeked, syscall.EINTR) {
		return driver.ErrBadConn // its end, or its last words
	}
	return nil
}
