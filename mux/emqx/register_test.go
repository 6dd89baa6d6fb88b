package emqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/emqx"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/fakeemqx"
)

// hookmux is a real one with an admin socket.
type hookmux struct {
	*app.App
	admin *admin.Client
	cfg   *config.Config
}

// Expect implements emqx.Window.
func (h *hookmux) Expect(ctx context.Context, during time.Duration) ([]string, int64, error) {
	d, err := h.admin.ExpectDoubles(ctx, during)
	return d.Nodes, d.Recognised, err
}

func startHookmux(t *testing.T, providers ...config.Provider) *hookmux {
	t.Helper()
	dir, err := os.MkdirTemp("", "emqx") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "admin.sock")
	cfg := &config.Config{Listen: "127.0.0.1:0", Admin: config.Admin{Listen: socket}, Timeout: 4 * time.Second, Providers: providers}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := app.New(cfg, app.Options{Log: slog.New(slog.DiscardHandler), Version: "test", Reaper: []string{exe, "reaper"}, Host: host.Options{StopStep: time.Second}})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	<-a.Ready()
	return &hookmux{App: a, admin: admin.NewClient(socket, ""), cfg: cfg}
}

func provider(t *testing.T, name string, b muxtest.Behaviour) config.Provider {
	t.Helper()
	return config.Provider{Spec: mux.Spec{Name: name}, Command: muxtest.Command(t), Config: b.Config()}
}

// hooks are what hookmux wants.
func (h *hookmux) hooks(t *testing.T) (out []emqx.Hook) {
	t.Helper()
	s, err := h.admin.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, hook := range s.Hooks {
		out = append(out, emqx.Hook{Name: hook.Hook})
	}
	return out
}

// said collects what a registration says.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *said) String() string { return strings.Join(s.lines, "\n") }

func registration(t *testing.T, e *fakeemqx.EMQX, h *hookmux) (*emqx.Registration, *said) {
	t.Helper()
	s := new(said)
	status, err := h.admin.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, b := range status.Brokers {
		known = append(known, b.Node)
	}
	return &emqx.Registration{
		Known:  known,
		Client: client(t, e.URL, fakeemqx.Secret, nil), Window: h, Say: s.say, Hooks: h.hooks(t),
		Wanted: emqx.Wanted{Name: "hookmux", DefaultURL: "http://" + h.Addr(), Least: 4 * time.Second},
	}, s
}

func TestRegisterOnceAndAgain(t *testing.T) {
	t.Parallel()
	h := startHookmux(t, provider(t, "login", muxtest.Behaviour{Hooks: []string{"client.authorize"}, Answer: "allow"}))
	e := fakeemqx.Start(t, "5.10.3", "emqx@a", "emqx@b")
	e.Delay = 50 * time.Millisecond
	r, out := registration(t, e, h)
	r.DryRun = true
	if err := r.Run(t.Context()); err != nil || len(e.Log()) != 0 || !strings.Contains(out.String(), "+ failed_action: deny") {
		t.Errorf("dry run: %v, %q\n%s", err, e.Log(), out)
	}
	r, _ = registration(t, e, h)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.Hooks("hookmux", "emqx@b"); !slices.Equal(got, []string{"client.authorize"}) {
		t.Errorf("the second node sends %q when it is done", got)
	}
	before := e.Log()
	r, out = registration(t, e, h)
	if err := r.Run(t.Context()); err != nil || !slices.Equal(e.Log(), before) || !strings.Contains(out.String(), "nothing to do") {
		t.Errorf("again: %v, %q\n%s", err, e.Log(), out)
	}
	facts, err := r.Client.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours := &emqx.Ours{Name: "hookmux", Listen: h.Addr(), Timeout: 4 * time.Second, Ready: true, Hooks: r.Hooks, Nodes: map[string][]string{"emqx@a": nil, "emqx@b": nil}}
	if got := emqx.Examine(facts, ours); !slices.Equal(codes(got), []string{"ok fine"}) {
		t.Errorf("%+v", got)
	}

	// What somebody has chosen stays, if it will do.
	_, port, _ := net.SplitHostPort(h.Addr())
	e.Set("hookmux", "url", "http://localhost:"+port)
	e.Set("hookmux", "pool_size", 32.0)
	e.Set("hookmux", "request_timeout", "9s")
	r, out = registration(t, e, h)
	if err := r.Run(t.Context()); err != nil || !slices.Equal(e.Log(), before) || !strings.Contains(out.String(), "nothing to do") {
		t.Errorf("another host: %v, %q\n%s", err, e.Log(), out)
	}

	// One that does not run is put right in its place.
	e.Set("hookmux", "enable", false)
	e.Set("hookmux", "failed_action", "ignore")
	for _, node := range e.Nodes {
		e.Forget("hookmux", node)
	}
	r, out = registration(t, e, h)
	if err := r.Run(t.Context()); err != nil || !slices.Contains(e.Log(), "PUT hookmux") || !strings.Contains(out.String(), "- failed_action: ignore\n  + failed_action: deny") {
		t.Errorf("%v, %q\n%s", err, e.Log(), out)
	}
}

// A hook more is registered while clients are served: none is refused, nobody is let in
// unasked, and everything that happens is told and asked once.
func TestReregisterWithoutAGap(t *testing.T) {
	t.Parallel()
	record := filepath.Join(t.TempDir(), "record")
	login := provider(t, "login", muxtest.Behaviour{Protocol: 2, Hooks: []string{"client.authorize", "client.connected", "message.publish"}, Answer: "allow", Record: record})
	h := startHookmux(t, login)
	e := fakeemqx.Start(t, "5.10.3", "emqx@a", "emqx@b")
	e.Delay = 20 * time.Millisecond
	r, _ := registration(t, e, h)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Apply(t.Context(), &config.Config{
		Listen: h.cfg.Listen, Admin: h.cfg.Admin, Timeout: h.cfg.Timeout,
		Providers: []config.Provider{login, provider(t, "audit", muxtest.Behaviour{Hooks: []string{"client.connack"}})},
	}); err != nil {
		t.Fatal(err)
	}

	const clientsAtOnce = 4
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var n atomic.Int64
	for i := range clientsAtOnce {
		clients.Go(func() {
			node := e.Nodes[i%2]
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("c%d", n.Add(1))
				if allowed, decided := e.Authorize(node, id, "t"); !allowed || !decided {
					t.Errorf("%s: allowed %t, decided %t", id, allowed, decided)
				}
				e.Connected(node, id)
				if _, published := e.Publish(node, id, id, "t", "x"); !published {
					t.Errorf("%s: not published", id)
				}
				if allowed, _ := e.Authorize(node, "bad"+id, "t"); allowed {
					t.Errorf("bad%s got through", id)
				}
			}
		})
	}
	r, out := registration(t, e, h)
	err := r.Run(t.Context())
	close(stop)
	clients.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%q", out, e.Log())
	if names := e.Names(); !slices.Equal(names, []string{"hookmux-2"}) {
		t.Errorf("EMQX has %q", names)
	}
	for _, node := range e.Nodes {
		if !slices.Contains(e.Hooks("hookmux-2", node), "client.connack") {
			t.Errorf("%s sends %q", node, e.Hooks("hookmux-2", node))
		}
	}
	s, err := h.admin.Status(t.Context())
	if err != nil || len(s.Brokers) != 2 || s.Brokers[0].Missing != nil || s.Brokers[1].Missing != nil {
		t.Errorf("%+v, %v", s.Brokers, err)
	}
	if d, err := h.admin.ExpectDoubles(t.Context(), 0); err != nil || d.Until != nil {
		t.Errorf("%+v, %v", d, err)
	}

	total := int(n.Load())
	muxtest.Eventually(t, "all is told", func() bool { return len(counts(t, record, "client.connected")) >= total })
	for hook, want := range map[string]int{"client.connected": total, "message.publish": total, "client.authorize": 2 * total} {
		times := counts(t, record, hook)
		twice := 0
		for _, n := range times {
			twice += n - 1
		}
		// What was under way when the first name went is in doubt, and asked again.
		if len(times) != want || twice > 2*clientsAtOnce {
			t.Errorf("%s: of %d events %d came, %d of them twice", hook, want, len(times), twice)
		}
	}
	if !strings.Contains(out.String(), "done: ") || strings.Contains(out.String(), "done: 0 ") {
		t.Errorf("nothing came twice:\n%s", out)
	}

	// The next time it is the other name's turn; with another server behind, the place
	// in the chain stays.
	if err := r.Client.CreateForTest(t.Context(), map[string]any{"name": "last", "url": "http://127.0.0.1:1", "enable": false}); err != nil {
		t.Fatal(err)
	}
	r, out = registration(t, e, h)
	r.Wanted.Timeout = 6 * time.Second
	if err := r.Run(t.Context()); err != nil || !slices.Equal(e.Names(), []string{"hookmux", "last"}) {
		t.Errorf("%v, %q\n%s", err, e.Names(), out)
	}
}

// counts is how often the plugin got an event of each client.
func counts(t *testing.T, record, hook string) map[string]int {
	t.Helper()
	times := make(map[string]int)
	for _, c := range muxtest.ReadRecord(t, record) {
		if ev := mux.NewEvent(c.Hook, c.Body); c.Hook.String() == hook {
			times[ev.Client()]++
		}
	}
	return times
}

// With a hookmux beside each node, the one that is asked waits for its own node only.
func TestReregisterBesideEachNode(t *testing.T) {
	t.Parallel()
	h := startHookmux(t, provider(t, "login", muxtest.Behaviour{Hooks: []string{"client.authorize"}, Answer: "allow"}))
	e := fakeemqx.Start(t, "5.8.8", "emqx@a", "emqx@b")
	r, _ := registration(t, e, h)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, out := registration(t, e, h)
	r.Known, r.Force = []string{"emqx@a"}, true
	if err := r.Run(t.Context()); err != nil || !slices.Equal(e.Names(), []string{"hookmux-2"}) || !strings.Contains(out.String(), "emqx@b did not load this hookmux") {
		t.Errorf("%v, %q\n%s", err, e.Names(), out)
	}
}

// When it fails half-way, what ran before runs, and hookmux knows that it is over.
func TestReregisterFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(e *fakeemqx.EMQX, r *emqx.Registration)
		want string
		left []string
	}{
		{"the second is refused", func(e *fakeemqx.EMQX, _ *emqx.Registration) {
			e.Change(func() {
				e.Fail = func(method, _ string) (int, string, string) {
					if method == "POST" {
						return 400, "BAD_REQUEST", "no more"
					}
					return 0, "", ""
				}
			})
		}, "hookmux runs as before: EMQX answers POST /exhooks with 400 BAD_REQUEST: no more", []string{"hookmux"}},
		{"a node does not load it", func(e *fakeemqx.EMQX, r *emqx.Registration) {
			e.Change(func() { e.Delay = 3 * time.Second })
			r.Patience = 500 * time.Millisecond
		}, "hookmux runs as before: hookmux-2 is not loaded on emqx@b within 500ms", []string{"hookmux"}},
		{"the first cannot be deleted", func(e *fakeemqx.EMQX, _ *emqx.Registration) {
			e.Change(func() {
				e.Fail = func(method, path string) (int, string, string) {
					if method == "DELETE" && path == "/exhooks/hookmux" {
						return 500, "BAD_RPC", "nodedown"
					}
					return 0, "", ""
				}
			})
		}, "hookmux-2 is loaded, but hookmux could not be deleted: run this again", []string{"hookmux", "hookmux-2"}},
		{"hookmux cannot be asked", func(_ *fakeemqx.EMQX, r *emqx.Registration) { r.Window = nil }, emqx.ErrNoWindow.Error(), []string{"hookmux"}},
		{"hookmux does not answer", func(_ *fakeemqx.EMQX, r *emqx.Registration) { r.Window = broken{} }, "hookmux cannot be told", []string{"hookmux"}},
		{"certificates would be lost", func(e *fakeemqx.EMQX, _ *emqx.Registration) {
			e.Set("hookmux", "ssl", map[string]any{"enable": true, "cacertfile": "data/certs/x"})
		}, "name the file again, with --server-ca", []string{"hookmux"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := startHookmux(t, provider(t, "login", muxtest.Behaviour{Hooks: []string{"client.authorize"}, Answer: "allow"}))
			e := fakeemqx.Start(t, "5.10.3", "emqx@a", "emqx@b")
			r, _ := registration(t, e, h)
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, out := registration(t, e, h)
			r.Wanted.Timeout = 7 * time.Second
			c.fail(e, r)
			if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\n%s", err, out)
			}
			if !slices.Equal(e.Names(), c.left) || e.Hooks("hookmux", "emqx@a") == nil {
				t.Errorf("EMQX has %q", e.Names())
			}
			if s, err := h.admin.ExpectDoubles(t.Context(), 0); err != nil || s.Until != nil {
				t.Errorf("%+v, %v", s, err)
			}
			// Run again, it gets through.
			e.Change(func() { e.Fail, e.Delay = nil, 0 })
			r, out = registration(t, e, h)
			if strings.HasPrefix(c.name, "certificates") {
				r.Wanted.SSL = map[string]any{"cacertfile": "-----BEGIN CERTIFICATE-----"}
			}
			r.Wanted.Timeout = 7 * time.Second
			if err := r.Run(t.Context()); err != nil || len(e.Names()) != 1 || strings.Contains(out.String(), "BEGIN") {
				t.Errorf("again: %v, %q\n%s", err, e.Names(), out)
			}
		})
	}
}

type broken struct{}

func (broken) Expect(context.Context, time.Duration) ([]string, int64, error) {
	return nil, 0, errors.New("it is asleep")
}

// An entry of another name that calls the same address is not doubled.
func TestRegisterFindsAnEntryOfAnotherName(t *testing.T) {
	t.Parallel()
	h := startHookmux(t, provider(t, "login", muxtest.Behaviour{Hooks: []string{"client.authorize"}}))
	e := fakeemqx.Start(t, "5.10.3", "emqx@a")
	r, _ := registration(t, e, h)
	r.Wanted.Name = "default"
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, _ = registration(t, e, h)
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "write --name default") {
		t.Errorf("error: %v", err)
	}
}
