//go:build !linux

package sdk

import "os"

// redirectStdout only redirects what goes through os.Stdout here.
func redirectStdout() (*os.File, error) {
	stdout := os.Stdout
	os.Stdout = os.Stderr
	return stdout, nil
}
