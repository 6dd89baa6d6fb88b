//go:build !linux

package conformance

import (
	"syscall"
	"time"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// usage is not to be had here.
func usage(int) (rss int64, cpu time.Duration, ok bool) { return 0, 0, false }

// awaitStop guesses: nothing tells here.
func awaitStop(int) { time.Sleep(100 * time.Millisecond) }
