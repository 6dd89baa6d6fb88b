//go:build !linux

package host

import "syscall"

// procAttr puts a child into a group of its own. Without Linux's death signal
// it is up to the plugin to notice that its parent is gone, as the SDKs do.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killMarked needs /proc: elsewhere only the process group is killed.
func killMarked(string) {}
