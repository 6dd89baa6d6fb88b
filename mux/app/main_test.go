package app_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/proto/handshake"
)

func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	if mark := os.Getenv("HOOKMUX_TEST_RUN"); mark != "" {
		runForKill(mark)
	}
	if url := os.Getenv("HOOKMUX_TEST_CHECK"); url != "" {
		checkRemote(url)
		os.Exit(0)
	}
	if len(os.Args) == 4 && os.Args[1] == "reaper" {
		host.Reap(os.Stdin, os.Args[2], os.Args[3])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// sidecar is a running hookmux whose plugins this test binary plays.
type sidecar struct {
	*app.App
	cfg  config.Config
	mark string // in the environment of each of its plugins
	dir  string
	log  *syncBuffer
	stop func()
}

// eachProtocol runs a test on both app protocols.
func eachProtocol(t *testing.T, f func(t *testing.T, protocol int)) {
	for _, protocol := range []int{handshake.Unary, handshake.Stream} {
		t.Run(fmt.Sprintf("protocol %d", protocol), func(t *testing.T) {
			t.Parallel()
			f(t, protocol)
		})
	}
}

// plugin is a provider that this binary plays; it records what it gets.
func plugin(t *testing.T, name string, b muxtest.Behaviour) config.Provider {
	t.Helper()
	return config.Provider{Spec: mux.Spec{Name: name}, Command: muxtest.Command(t), Config: b.Config()}
}

// start runs hookmux with the plugins, quick to restart them and to notice.
func start(t *testing.T, cfg config.Config, tune func(*app.Options)) *sidecar {
	t.Helper()
	s := &sidecar{dir: t.TempDir(), log: new(syncBuffer)}
	s.mark = s.dir
	cfg.Listen = "127.0.0.1:0"
	for i := range cfg.Providers {
		cfg.Providers[i] = s.marked(cfg.Providers[i])
	}
	s.cfg = cfg
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts := app.Options{
		Log:     slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test",
		Reaper:  []string{exe, "reaper"},
		Host: host.Options{
			FirstDelay: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond,
			QuarantineAfter: 1000,
			HealthEvery:     50 * time.Millisecond, HealthTimeout: 500 * time.Millisecond,
			StopStep: time.Second,
		},
		DrainTimeout: 20 * time.Second,
	}
	if tune != nil {
		tune(&opts)
	}
	s.App = app.New(&cfg, opts)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	s.stop = func() { once.Do(s.Stop) }
	t.Cleanup(func() {
		s.stop()
		muxtest.Eventually(t, "no process is left", func() bool { return len(muxtest.Processes(s.mark)) == 0 })
		if t.Failed() {
			t.Logf("log of hookmux:\n%s", s.log.tail(8<<10))
		}
	})
	<-s.Ready()
	return s
}

// marked is p with what all providers of the test have.
func (s *sidecar) marked(p config.Provider) config.Provider {
	if p.IsRemote() {
		return p
	}
	p.Env = maps.Clone(p.Env)
	if p.Env == nil {
		p.Env = make(map[string]string)
	}
	if p.Env["MARK"] == "" {
		p.Env["MARK"] = s.mark
	}
	if p.Lane.Events == 0 {
		p.Lane.Events = 100_000
	}
	return p
}

func (s *sidecar) provider(t *testing.T, name string) app.ProviderState {
	t.Helper()
	for _, p := range s.Providers() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no provider %s", name)
	return app.ProviderState{}
}

// until waits for a line in hookmux's log.
func (s *sidecar) until(t *testing.T, text string) {
	t.Helper()
	muxtest.Eventually(t, fmt.Sprintf("%q in the log", text), func() bool { return s.log.contains(text) })
}

func record(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(t.TempDir(), name+".record")
}

// syncBuffer is a log that many may write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Len()
}

func (s *syncBuffer) contains(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.b.Bytes(), []byte(text))
}

func (s *syncBuffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
