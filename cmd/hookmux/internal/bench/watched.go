package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// watching is who looks on.
type watching uint8

const (
	asUsual   watching = iota // metrics and the trail, as hookmux is by default
	unwatched                 // neither
	followed                  // both, and somebody follows all events
)

// watched loads hookmux with one plugin, and somebody or nobody looks on.
func watched(w watching, change func(*load)) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s := l.watched[w]
		if s == nil {
			var err error
			if s, err = l.hookmuxAs(ctx, w, 1, nil); err != nil {
				return sample{}, err
			}
			if l.watched == nil {
				l.watched = make(map[watching]*system)
			}
			l.watched[w] = s
		}
		ld := l.load()
		ld.duration = d
		change(&ld)
		return ld.run(ctx, s)
	}
}

// adminSocket is where the hookmux with its config in dir has its admin address.
func adminSocket(dir string) string { return filepath.Join(dir, "admin.sock") }

// follow reads all events that the hookmux tells its followers, until the system is
// disconnected. It fails when there are none to be had.
func (s *system) follow(socket string) error {
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	end := func() {
		cancel()
		transport.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hookmux/v1/tail", nil)
	if err != nil {
		end()
		return err
	}
	resp, err := transport.RoundTrip(req) //nolint:bodyclose // it is closed when the following ends
	if err != nil {
		end()
		return err
	}
	if resp.StatusCode != http.StatusOK {
		end()
		_ = resp.Body.Close()
		return fmt.Errorf("%s: the tail was answered with %s", s.name, resp.Status)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		_, _ = bufio.NewReaderSize(resp.Body, 64<<10).WriteTo(discard{})
	}()
	s.unfollow = func() { end(); <-done }
	return nil
}

// discard takes everything, like io.Discard, which a bufio.Reader would read into a
// buffer of its own.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// command is how a hookmux with the config at path is started.
func (l *lab) command(w watching, path string, plugins int) []string {
	self := append([]string(nil), l.opts.Self...)
	if w != unwatched && l.opts.Profiles == "" {
		return append(self, "run", "-c", path)
	}
	self = append(self, "bench-run", "-c", path)
	if w == unwatched {
		self = append(self, "--unwatched")
	}
	if l.opts.Profiles != "" {
		self = append(self, "--cpuprofile", filepath.Join(l.opts.Profiles, fmt.Sprintf("hookmux%d-plugins%d.pprof", l.systems, plugins)))
	}
	return self
}
