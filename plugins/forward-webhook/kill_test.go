package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

// Whoever is killed, each message that was answered is with the server, and one that is
// there twice has one id.
func TestKill(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		s := newWebServer(t)
		plugintest.KillTest(t, fmt.Sprintf("timeout: 5s\nconfig: {url: %q, batch: %d}", "http://"+s.Addr, batch), false,
			func() { s.Kill(t) }, func() { s.Start(t) },
			func() []plugintest.Stored { return taken(t, filepath.Join(s.Dir, "taken")) })
	})
}

// newWebServer is a web server in a process of its own, which has what it took in the file taken.
func newWebServer(t *testing.T) *targets.Server {
	t.Helper()
	return targets.New(t, &targets.Program{
		Name:     "webserver",
		Binaries: muxtest.Command(t),
		Args:     func(s *targets.Server) []string { return []string{s.Addr, filepath.Join(s.Dir, "taken")} },
		Env:      []string{envWebServer + "=1"},
		Ready: func(ctx context.Context, s *targets.Server) error {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", s.Addr)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
	})
}

// envWebServer makes a test binary the web server.
const envWebServer = "HOOKMUX_TEST_WEB_SERVER"

// serveWeb serves at os.Args[1], and appends the bodies that it takes, a line each, to the file
// os.Args[2] before it answers.
func serveWeb() error {
	file, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	return http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // in a test
		var body, line bytes.Buffer
		_, err := body.ReadFrom(r.Body)
		if err == nil {
			err = json.Compact(&line, body.Bytes())
		}
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			// A write that SIGKILL has cut short does not spoil the next one.
			_, err = fmt.Fprintf(file, "\n%s\n", &line)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
}

// taken is what the web server has taken so far.
func taken(t *testing.T, path string) (messages []plugintest.Stored) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if !json.Valid(line) {
			continue // an empty one, or the server was killed while it wrote
		}
		if line[0] != '[' {
			line = []byte("[" + string(line) + "]")
		}
		var events []cloudEvent
		if err := json.Unmarshal(line, &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			n, err := strconv.Atoi(string(e.Data))
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, plugintest.Stored{Client: e.MQTTClient, EventID: e.ID, N: n})
		}
	}
	return messages
}
