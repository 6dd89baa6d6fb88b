package page_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin/page"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	if len(os.Args) == 4 && os.Args[1] == "reaper" {
		host.Reap(os.Stdin, os.Args[2], os.Args[3])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// maxWeight is what all of the page may weigh, in bytes, as it is sent.
const maxWeight = 150_000

// TestFiles holds that every file of the page is served with its type, and that they are
// small and nothing else is loaded.
func TestFiles(t *testing.T) {
	t.Parallel()
	routes := http.NewServeMux()
	page.Routes(routes)
	files, err := os.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
	weight := 0
	for _, f := range files {
		path := "/" + f.Name()
		if path == "/index.html" {
			path = "/"
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		want := types[filepath.Ext(f.Name())]
		if w.Code != http.StatusOK || want == "" || !strings.HasPrefix(w.Header().Get("Content-Type"), want) {
			t.Errorf("%s: %d, %q; want 200, %q", path, w.Code, w.Header().Get("Content-Type"), want)
		}
		weight += w.Body.Len()
		for _, foreign := range []string{"//cdn", "unpkg", "jsdelivr", "googleapis", "innerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(w.Body.String(), foreign) {
				t.Errorf("%s has %q in it", f.Name(), foreign)
			}
		}
		again := httptest.NewRequest(http.MethodGet, path, nil)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if routes.ServeHTTP(w, again); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d, want 304", path, w.Code)
		}
	}
	if weight > maxWeight {
		t.Errorf("the page weighs %d bytes, more than %d", weight, maxWeight)
	}
}

// limit bounds all that is done in the browser; it takes a fraction of it.
const limit = 10 * time.Minute

// TestBrowser has a browser use the page of a real hookmux with real plugins, one of
// which crashes. What is done there, and held, is in browser/*.browser.test.js.
func TestBrowser(t *testing.T) {
	t.Parallel()
	lane := lanes.Require(t, "browser")
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	control := httptest.NewServer(s.control())
	t.Cleanup(control.Close)
	tests, err := filepath.Glob(filepath.Join("browser", "*.browser.test.js"))
	if err != nil || len(tests) == 0 {
		t.Fatal("there are no tests for the browser", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, lane.Program, append([]string{"--test", "--test-concurrency=1", "--test-reporter=spec"}, tests...)...)
	cmd.Env = append(os.Environ(),
		"PAGE_URL=http://"+s.admin, "PAGE_TOKEN="+token, "PAGE_CONTROL="+control.URL,
		"PAGE_MODULES="+lane.Dir, "PAGE_CHROMIUM="+chromium)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
		return
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

const token = "a-token-for-the-tests-of-the-page"

// stage is a hookmux with a page, and a broker that keeps it busy.
type stage struct {
	t             *testing.T
	config        string
	listen, admin string
	log           syncBuffer
	app           *app.App
	broker        *muxtest.Broker
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, config: filepath.Join(t.TempDir(), "hookmux.yaml"), listen: freePort(t), admin: freePort(t)}
	command := muxtest.Command(t)[0]
	// accounts is the one that crashes, and everybody who subscribes is refused for it.
	text := fmt.Sprintf(`listen: %s
admin: {listen: %s, token: %q}
default: {client.authenticate: deny}
providers:
  - name: gate
    command: [%[4]q]
    config: {answer: allow, hooks: [client.authenticate]}
  - name: accounts
    command: [%[4]q]
    config: {do: exit at start}
    hooks: [client.authorize]
  - name: presence
    command: [%[4]q]
    config: {hooks: [message.delivered]}
`, s.listen, s.admin, token, command)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log of hookmux:\n%s", s.log.tail(4<<10))
		}
	})
	s.broker = muxtest.NewBroker(t, s.listen, mux.V3)
	s.broker.Load(t, "5.10.1")
	return s
}

func (s *stage) start() error {
	load := func() (*config.Config, error) { return config.Load(s.config) }
	cfg, err := load()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	s.app = app.New(cfg, app.Options{
		Log: slog.New(slog.NewTextHandler(&s.log, nil)), Version: "v1.2.3-test", Reaper: []string{exe, "reaper"},
		Host: host.Options{FirstDelay: 200 * time.Millisecond, MaxDelay: time.Second, QuarantinePace: time.Second},
		Load: load, ConfigPath: s.config,
	})
	if err := s.app.Start(); err != nil {
		return err
	}
	<-s.app.Ready()
	return nil
}

func (s *stage) stop() {
	if s.app != nil {
		s.app.Stop()
		s.app = nil
	}
}

// control lets the browser's test have things happen here, with POST /WHAT?client=ID.
func (s *stage) control() http.Handler {
	h := http.NewServeMux()
	do := func(what string, f func(client string)) {
		h.HandleFunc("POST /"+what, func(_ http.ResponseWriter, r *http.Request) { f(r.FormValue("client")) })
	}
	do("login", func(client string) { s.broker.Authenticate(s.t, client) })
	do("subscribe", func(client string) { s.broker.Authorize(s.t, client, "meters/"+client) })
	do("deliver", func(client string) { s.broker.Delivered(s.t, client, 1) })
	do("crowd", func(client string) {
		for i := range 300 {
			s.broker.Authenticate(s.t, fmt.Sprintf("%s-%d", client, i))
		}
	})
	do("stop", func(string) { s.stop() })
	do("start", func(string) {
		if err := s.start(); err != nil {
			s.t.Error(err)
			return
		}
		s.broker.Load(s.t, "5.10.1")
	})
	return h
}

// freePort is an address of this machine that nobody listens at, for who has to come
// back at the same one.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
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

func (s *syncBuffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
