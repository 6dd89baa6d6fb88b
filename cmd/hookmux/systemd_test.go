package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd is told when hookmux is ready, which is not before its plugins have had
// their chance, and when it stops.
func TestSystemdIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "systemd") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("RUNTIME_DIRECTORY", dir)
	t.Setenv("STATE_DIRECTORY", dir)
	t.Setenv("PLUGIN", executable(t))
	file := filepath.Join(dir, "hookmux.yaml")
	config := "listen: 127.0.0.1:0\nproviders: [{name: a, command: [\"${env:PLUGIN}\"], config: {hooks: [client.connected]}}]\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string)
	go func() {
		defer close(heard)
		for buf := make([]byte, 100); ; {
			n, err := systemd.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	hears := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("systemd was told %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("systemd was not told %q", want)
		}
	}

	var out, stderr bytes.Buffer
	if code := run([]string{"ready", "-c", file}, nil, &out, &stderr); code != 1 || !strings.Contains(stderr.String(), "is it running") {
		t.Errorf("ready, before it runs: exit status %d, %s", code, stderr.String())
	}
	ended := make(chan int)
	var log bytes.Buffer
	go func() { ended <- run([]string{"run", "-c", file}, nil, &log, &log) }()
	hears("READY=1")
	stderr.Reset()
	if code := run([]string{"ready", "-c", file}, nil, &out, &stderr); code != 0 || stderr.Len()+out.Len() != 0 {
		t.Errorf("ready: exit status %d, %s%s", code, out.String(), stderr.String())
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if code := <-ended; code != 0 {
		t.Errorf("exit status %d\n%s", code, log.String())
	}
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}
