package sdk

import (
	"os"
	"syscall"
)

// redirectStdout points file descriptor 1 at stderr and hands back the pipe
// that was there.
func redirectStdout() (*os.File, error) {
	fd, err := syscall.Dup(1)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Dup3(2, 1, 0); err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "handshake"), nil
}
