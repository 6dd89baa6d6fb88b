package host

import "syscall"

// killGroup sends a signal to the process group that pid leads.
func killGroup(pid int, sig syscall.Signal) error { return syscall.Kill(-pid, sig) }
