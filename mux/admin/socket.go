package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is how long the path of a unix socket may be everywhere.
const maxSocketPath = 103

// ListenTCP listens at host:port, which without TLS must be this machine's own: beyond
// it, who listens in would learn the token.
func ListenTCP(address string, tls bool) (net.Listener, error) {
	if !tls && !isLoopback(address) {
		return nil, fmt.Errorf("admin: %s can be reached from other machines, which needs TLS: use 127.0.0.1, [::1] or localhost", address)
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("admin: %s is taken, perhaps by another hookmux", address)
	case err != nil:
		return nil, fmt.Errorf("admin: %w", err)
	}
	return l, nil
}

// Listen makes the socket at path, which only this user may open, and the folder
// that it is in. A socket that a hookmux left there when it was killed is replaced;
// one that somebody serves is an error.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin socket: the path has %d bytes, more than the %d that one may have: %s", len(path), maxSocketPath, path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := ours(dir); err != nil {
		return nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("admin socket: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return nil, fmt.Errorf("admin socket: %s is there and no socket", path)
	default:
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			_ = c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("admin socket: %s is taken, perhaps by another hookmux", path)
		}
	}
	// In a folder that nobody else may enter until its mode is right.
	private, err := os.MkdirTemp(dir, ".a")
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	// By a short way, since the temporary path may be longer than the final one.
	fd, err := os.Open(private)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer fd.Close()
	temporary := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: shortWay(fd, temporary), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would be by the temporary name
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	var made os.FileInfo
	if err == nil {
		made, err = os.Lstat(path)
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return &socket{UnixListener: l, path: path, made: made}, nil
}

// ours says why the folder is not one where a socket may be put: who owns it could
// put another in its place.
func ours(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	open := info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0
	if ok && owner.Uid != 0 && int(owner.Uid) != os.Getuid() || open {
		return fmt.Errorf("admin socket: others may change what is in %s: use a folder that belongs to hookmux's user, writable for nobody else", dir)
	}
	return nil
}

// shortWay is the path of a file in the folder dir, short where the system has a
// name for open files.
func shortWay(dir *os.File, path string) string {
	short := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := os.Stat(short); err != nil {
		return path
	}
	return filepath.Join(short, filepath.Base(path))
}

// socket removes its file when it is closed, if it still is its own.
type socket struct {
	*net.UnixListener
	path string
	made os.FileInfo
	once sync.Once
}

func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
