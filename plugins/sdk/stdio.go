package sdk

import (
	"os"
	"sync"
)

// Under hookmux, stdout is go-plugin's handshake channel: a line printed before
// the handshake ruins it, and one over 64 KiB after it blocks the plugin. So
// what a plugin prints goes to stderr, which hookmux logs.

//nolint:gochecknoglobals // there is one stdout per process
var (
	// handshakeOut is the stdout hookmux reads; nil before leaveStdout.
	handshakeOut *os.File
	// ownStdout and ownStderr are what os.Stdout and os.Stderr go back to,
	// since go-plugin replaces them by pipes that need a reader.
	ownStdout, ownStderr *os.File
	errStdout            error
	leaveStdoutOnce      sync.Once
)

// leaveStdout sets stdout aside for the handshake, as early as the SDK is
// called. It does nothing in a process that hookmux has not started.
func leaveStdout() {
	if !underHookmux() {
		return
	}
	leaveStdoutOnce.Do(func() {
		handshakeOut, errStdout = redirectStdout()
		ownStdout, ownStderr = os.Stdout, os.Stderr
	})
}
