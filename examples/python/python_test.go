// Package python_test runs the examples in Python under a real hookmux.
package python_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "reaper" {
		host.Reap(os.Stdin, os.Args[2], os.Args[3])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// run runs the example's own hookmux.yaml, with the interpreter of the lane in the
// place of the one its README installs, and the SDK of this repository.
func run(t *testing.T, example string) (*muxtest.Broker, *syncBuffer) {
	t.Helper()
	lane := lanes.Require(t, "python")
	cfg, err := config.Load(filepath.Join(example, "hookmux.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	p := &cfg.Providers[0]
	p.Command[0] = filepath.Join(lane.Dir, "bin", "python")
	p.Env = map[string]string{"PYTHONPATH": sdk(t)}
	p.StartTimeout *= 3 // for a machine that is busy with other tests

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := new(syncBuffer)
	a := app.New(cfg, app.Options{
		Log: slog.New(slog.NewTextHandler(log, nil)), Version: "test", Reaper: []string{exe, "reaper"},
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Stop()
		if t.Failed() {
			t.Logf("log of hookmux:\n%s", log)
		}
	})
	<-a.Ready()
	return muxtest.NewBroker(t, a.Addr(), mux.V3), log
}

func TestEveryHook(t *testing.T) {
	t.Parallel()
	broker, log := run(t, "every-hook")
	if hooks := broker.Load(t, "6.3.0"); len(hooks) != 20 {
		t.Errorf("loaded %d hooks, want all 20: %v", len(hooks), hooks)
	}
	if typ, _ := broker.Authenticate(t, "c1"); typ != exhookv3.ValuedResponse_IGNORE {
		t.Errorf("an opinion about a login: %s", typ)
	}
	if m, ok := broker.Publish(t, "c1", "a/b", "payload"); !ok || string(m.Payload) != "payload" {
		t.Errorf("published %v, %v", m, ok)
	}
	broker.Delivered(t, "c2", 7)
	for _, line := range []string{"client.authenticate c1 as 'u-c1'", "MessagePublishRequest c1 a/b 7 bytes", "MessageDeliveredRequest publisher t"} {
		muxtest.Eventually(t, line, func() bool { return log.contains(line) })
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	broker, log := run(t, "schema")
	if hooks := broker.Load(t, "5.10.3"); len(hooks) != 1 || strings.Join(hooks["message.publish"], " ") != "sensors/+/reading" {
		t.Errorf("loaded %v", hooks)
	}
	for _, tt := range []struct{ topic, payload, wantTopic, wantPayload string }{
		{"sensors/1/reading", `{"celsius": 21.5, "quality": "good"}`, "sensors/1/reading", `{"celsius": 21.5, "quality": "good"}`},
		{"sensors/1/reading", `{"celsius": 21.5}`, "sensors/1/reading", `{"celsius": 21.5, "quality": "unknown"}`},
		{"sensors/1/reading", `{"celsius": "hot"}`, "invalid/sensors/1/reading", `{"celsius": "hot"}`},
		{"sensors/1/reading", "21.5", "invalid/sensors/1/reading", "21.5"},
		{"other", "21.5", "other", "21.5"},
	} {
		m, ok := broker.Publish(t, "c1", tt.topic, tt.payload)
		if !ok || m.Topic != tt.wantTopic || string(m.Payload) != tt.wantPayload {
			t.Errorf("%s %s became %s %s, %v", tt.topic, tt.payload, m.Topic, m.Payload, ok)
		}
	}
	// What the plugin logs keeps its level and attributes.
	muxtest.Eventually(t, "the reason in the log", func() bool {
		return log.contains("level=WARN") && log.contains(`why="'hot' is not of type 'number'"`)
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	lane := lanes.Require(t, "python")
	r, err := conformance.Run(t.Context(), conformance.Options{
		Command: []string{filepath.Join(lane.Dir, "bin", "python"), "every-hook/every_hook.py"},
		Env:     []string{"PYTHONPATH=" + sdk(t)},
		// For a machine that is busy with other tests.
		Patience: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Outcome != conformance.OK {
			t.Errorf("%s, %s: %s %s", c.Section, c.Name, c.Outcome, c.Text)
		}
	}
	if len(r.Checks) < 30 {
		t.Errorf("only %d checks", len(r.Checks))
	}
}

func sdk(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../plugins/sdk/python/src")
	if err != nil {
		t.Fatal(err)
	}
	return path
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

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) contains(text string) bool { return strings.Contains(s.String(), text) }
