//go:build !linux

package bench

import "syscall"

// ownGroup is for building only: the bench reads /proc and runs on Linux.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
