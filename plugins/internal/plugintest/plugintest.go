// Package plugintest runs the plugins we ship as their users do: as real child processes of
// a real hookmux, called by a simulated broker; and it delivers events to a plugin in the test's own
// process as durable delivery does, again until they are taken.
//
// Only tests import it.
package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/plugins/sdk"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

// Main is a package's TestMain: the test binary is the plugin when hookmux starts it.
func Main(m *testing.M, main func()) {
	if os.Getenv(handshake.CookieKey) == handshake.CookieValue {
		main()
		return
	}
	if dir := os.Getenv(envSidecar); dir != "" {
		sidecar(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// Hookmux is a running hookmux with the plugin, and a broker that calls it.
type Hookmux struct {
	*app.App
	*muxtest.Broker

	stop func()
	log  *lockedBuffer
}

// Run starts hookmux with one provider, named plugin, that has these keys besides its
// command: a piece of YAML, such as "config: {url: …}\nobserve: true". ${URL} and the like are not
// replaced. It ends with the test.
func Run(t testing.TB, keys string) *Hookmux { t.Helper(); return RunTop(t, "", keys) }

// RunTop is Run with more keys, of the config itself.
func RunTop(t testing.TB, top, keys string) *Hookmux {
	t.Helper()
	cfg, err := config.Parse("hookmux.yaml", []byte(top+"\nproviders:\n- name: plugin\n  command: ["+strconv.Quote(muxtest.Command(t)[0])+"]\n"+indent(keys)),
		config.Sources{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	h := &Hookmux{log: new(lockedBuffer)}
	h.App = app.New(cfg, app.Options{
		Log:     slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test", DrainTimeout: time.Minute, Spool: filepath.Join(t.TempDir(), "spool"),
		Host: host.Options{FirstDelay: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond, QuarantineAfter: 1000},
	})
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	h.stop = sync.OnceFunc(h.App.Stop)
	t.Cleanup(func() {
		h.stop()
		if t.Failed() {
			t.Logf("log of hookmux:\n%s", h.Log())
		}
	})
	<-h.Ready()
	h.Broker = muxtest.NewBroker(t, h.Addr(), mux.V3)
	h.Load(t, "5.10.3")
	return h
}

// Stop ends hookmux when all that waits is delivered; the end of the test does it, too.
func (h *Hookmux) Stop() { h.stop() }

// Log is what hookmux and the plugin have logged.
func (h *Hookmux) Log() string { return h.log.String() }

func indent(keys string) string {
	var b strings.Builder
	for line := range strings.Lines(keys) {
		b.WriteString("  " + line)
	}
	return b.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Configure fills a plugin's config as sdk.Config does, from YAML's subset JSON.
func Configure(t testing.TB, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// Plugin is a plugin in this process.
type Plugin struct {
	exhookv3.HookProviderServer

	t testing.TB
}

// New starts a plugin in this process; it stops with the test.
func New(t testing.TB, plugin any) *Plugin {
	t.Helper()
	if s, ok := plugin.(sdk.Starter); ok {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s, ok := plugin.(sdk.Stopper); ok {
		t.Cleanup(func() {
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	h, err := sdk.NewHandler(plugin)
	if err != nil {
		t.Fatal(err)
	}
	return &Plugin{h, t}
}

// Publish tells of a published message, with the id of a durable event unless it is "".
func (p *Plugin) Publish(ctx context.Context, id string, m *sdk.Message) error {
	_, err := p.OnMessagePublish(WithID(ctx, id), &sdk.MessagePublishRequest{Message: m, Meta: &sdk.RequestMeta{Node: m.GetNode()}})
	return err
}

// WithID is a context of a call for a durable event.
func WithID(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return metadata.NewIncomingContext(ctx, metadata.Pairs("hookmux-event-id", id))
}

// Deliver gives events to handle as durable delivery does: those of one client one after
// another, each again until it is taken or tries are used up, with at most two seconds for a try. The
// events of a client are all in the same slice. It gives the last errors of those never taken.
func Deliver[E any](t testing.TB, clients [][]E, tries int, handle func(context.Context, E) error) []error {
	t.Helper()
	var mu sync.Mutex
	var failed []error
	var all sync.WaitGroup
	for _, events := range clients {
		all.Go(func() {
			for _, e := range events {
				var err error
				for range tries {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					err = handle(ctx, e)
					cancel()
					if err == nil {
						break
					}
					time.Sleep(20 * time.Millisecond) // durable delivery's backoff
				}
				if err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

// Eventually waits until ok is true, with more patience than muxtest's: a target that starts
// again takes its time on a busy machine.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // the pause of a poll
	}
}
