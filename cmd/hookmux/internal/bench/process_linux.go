package bench

import "syscall"

// ownGroup keeps a Ctrl-C at the terminal from the child, since the bench ends
// it in order, and has the kernel end it if the bench is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
