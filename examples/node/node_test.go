// Package node_test starts the examples in JavaScript under a real hookmux. Their
// own tests are beside them.
package node_test

import (
	"bytes"
	"fmt"
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

// install copies an example as its user has it: beside node_modules with the SDK and
// what that needs.
func install(t *testing.T, name string) (dir string) {
	t.Helper()
	lane := lanes.Require(t, "node")
	root := t.TempDir()
	modules := filepath.Join(root, "node_modules")
	sdk := filepath.Join(modules, "@hookmux", "sdk")
	copyTo(t, filepath.Join("..", "..", "plugins", "sdk", "node", "src"), filepath.Join(sdk, "src"))
	manifest, err := os.ReadFile(filepath.Join("..", "..", "plugins", "sdk", "node", "package.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(sdk, "package.json"), manifest, 0o600)
	}
	if err == nil {
		err = os.Symlink(filepath.Join(lane.Dir, "node_modules", "@grpc"), filepath.Join(modules, "@grpc"))
	}
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, name)
	copyTo(t, name, dir)
	return dir
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// start runs hookmux with an example's own config, and gives a broker that calls it
// and what hookmux logs.
func start(t *testing.T, name string) (*muxtest.Broker, *logBuffer) {
	t.Helper()
	cfg, err := config.Load(filepath.Join(install(t, name), "hookmux.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	log := new(logBuffer)
	a := app.New(cfg, app.Options{
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Version: "test",
		Reaper:  []string{exe, "reaper"},
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

// Whatever hookmux may ask of a plugin, in Node's own time.
func TestConformance(t *testing.T) {
	t.Parallel()
	r, err := conformance.Run(t.Context(), conformance.Options{
		Command:  []string{lanes.Require(t, "node").Program, "main.js"},
		Dir:      install(t, "every-hook"),
		Patience: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Outcome == conformance.Failed {
			t.Errorf("%s: %s: %s", c.Section, c.Name, c.Text)
		}
	}
}

func TestEveryHook(t *testing.T) {
	t.Parallel()
	b, log := start(t, "every-hook")
	if hooks := b.Load(t, "6.3.0"); len(hooks) != 20 {
		t.Errorf("it hooks %v", hooks)
	}
	b.Event(t, mux.ClientConnected, "car", &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "car"}})
	log.until(t, `msg="client.connected car"`)
	if typ, _ := b.Authenticate(t, "car"); typ != exhookv3.ValuedResponse_IGNORE {
		t.Errorf("a plugin that only prints answered %s", typ)
	}
	log.until(t, `msg="client.authenticate car`)
	if m, ok := b.Publish(t, "car", "a/b", "hello"); !ok || string(m.Payload) != "hello" {
		t.Errorf("the message became %v, %v", m, ok)
	}
	log.until(t, `msg="message.publish car a/b hello"`)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	b, log := start(t, "rate-limit")
	if hooks := b.Load(t, "5.10.3"); fmt.Sprint(hooks) != "map[message.publish:[#]]" {
		t.Errorf("it hooks %v", hooks)
	}
	// A burst of 20 goes through, and ten more a second, however slow the test is.
	refused := 0
	for began := time.Now(); refused == 0 && time.Since(began) < time.Minute; {
		if _, ok := b.Publish(t, "fast", "a/b", "x"); !ok {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if _, ok := b.Publish(t, "slow", "a/b", "x"); !ok {
		t.Error("another client was refused")
	}
	log.until(t, `msg="too many messages: dropped from now on" provider=rate-limit client=fast`)
}

// logBuffer is a log that many may write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) until(t *testing.T, text string) {
	t.Helper()
	muxtest.Eventually(t, fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(l.String(), text) })
}
