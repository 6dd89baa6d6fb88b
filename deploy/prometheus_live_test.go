package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// announced waits for what a program says in its log.
type announced struct {
	pattern *regexp.Regexp // with one group
	found   chan string

	mu   sync.Mutex
	text []byte
}

func newAnnounced(pattern string) *announced {
	return &announced{pattern: regexp.MustCompile(pattern), found: make(chan string, 1)}
}

func (a *announced) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = append(a.text, p...)
	if m := a.pattern.FindSubmatch(a.text); m != nil {
		select {
		case a.found <- string(m[1]):
		default:
		}
	}
	return len(p), nil
}

func (a *announced) wait(t *testing.T) string {
	t.Helper()
	select {
	case s := <-a.found:
		return s
	case <-time.After(time.Minute):
		a.mu.Lock()
		defer a.mu.Unlock()
		t.Fatalf("no %s in\n%s", a.pattern, a.text)
		return ""
	}
}

// prometheus runs one that scrapes target and has our alerts, and gives what asks its API.
func prometheus(t *testing.T, target string) (ask func(path string, into any) error) {
	t.Helper()
	server := program(t, "prometheus", "apt-get install prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: hookmux
    static_configs: [{targets: [%q]}]
`, rules, target))
	log := newAnnounced(`msg="Listening on" address=(\S+)`)
	cmd := exec.Command(server, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address=127.0.0.1:0")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	address := log.wait(t)
	transport := &http.Transport{DisableKeepAlives: true}
	ask = func(path string, into any) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer struct {
			Status, Error string
			Data          json.RawMessage
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return fmt.Errorf("%s: %w", resp.Status, err)
		}
		if answer.Status != "success" {
			return fmt.Errorf("%s: %s", path, answer.Error)
		}
		return json.Unmarshal(answer.Data, into)
	}
	muxtest.Eventually(t, "Prometheus is ready", func() bool { return ask("/api/v1/status/buildinfo", new(any)) == nil })
	return ask
}

// A real Prometheus scrapes a hookmux one of whose plugins crashes: it is woken by that, and
// every panel of the dashboard shows something.
func TestPrometheusSeesACrashingPlugin(t *testing.T) {
	t.Parallel()
	program(t, "prometheus", "apt-get install prometheus")
	hooks := []string{"client.authenticate", "client.connected", "message.publish", "message.delivered"}
	played := func(name string, b muxtest.Behaviour) config.Provider {
		return config.Provider{Spec: mux.Spec{Name: name}, Command: muxtest.Command(t), Config: b.Config()}
	}
	good := played("good", muxtest.Behaviour{Protocol: 2, Hooks: hooks, Answer: "rewrite"})
	bad := played("bad", muxtest.Behaviour{Protocol: 2, Do: muxtest.ExitAtStart})
	bad.Delivery = mux.By(mux.Durable)
	for _, name := range hooks {
		h, _ := mux.HookByName(name)
		bad.Hooks = append(bad.Hooks, mux.HookSpec{Hook: h})
	}
	log := newAnnounced(`msg="listening for operators" url=http://(\S+)`)
	a := app.New(&config.Config{
		Listen: "127.0.0.1:0",
		Admin:  config.Admin{Listen: "127.0.0.1:0", Token: "sixteen-letters-", OpenMetrics: true},
		Spool:  config.Spool{Dir: t.TempDir()},

		Providers: []config.Provider{good, bad},
	}, app.Options{
		Log: slog.New(slog.NewTextHandler(log, nil)), Version: "test",
		Host: host.Options{FirstDelay: 10 * time.Millisecond, QuarantineAfter: 3},
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	<-a.Ready()
	ask := prometheus(t, log.wait(t))

	// Some life, so that there are rates.
	broker := muxtest.NewBroker(t, a.Addr(), mux.V3)
	broker.Load(t, "5.10.3")
	ctx, stop := context.WithCancel(t.Context())
	lives := make(chan struct{})
	go func() {
		defer close(lives)
		for i := 0; ctx.Err() == nil; i++ {
			broker.Authenticate(t, "c")
			broker.Publish(t, "c", "t", "hello")
			broker.Delivered(t, "c", i)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // a pace, which nothing depends on
			}
		}
	}()
	defer func() { stop(); <-lives }()

	muxtest.Eventually(t, "the alert fires", func() bool {
		var got struct {
			Alerts []struct {
				State               string
				Labels, Annotations map[string]string
			}
		}
		if err := ask("/api/v1/alerts", &got); err != nil {
			t.Fatal(err)
		}
		for _, alert := range got.Alerts {
			if alert.Labels["alertname"] == "HookmuxProviderQuarantined" && alert.Labels["provider"] == "bad" && alert.State == "firing" {
				return strings.Contains(alert.Annotations["description"], "hookmux restart bad")
			}
		}
		return false
	})

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/hookmux.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	// What does not happen here.
	empty := []string{"Put back, by change"}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			query := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*", "$provider", ".*").Replace(target.Expr)
			var got struct{ Result []json.RawMessage }
			muxtest.Eventually(t, p.Title+" shows "+query, func() bool {
				if err := ask("/api/v1/query?query="+url.QueryEscape(query), &got); err != nil {
					t.Errorf("%s: %v", p.Title, err)
					return true
				}
				return len(got.Result) > 0 && !bytes.Contains(got.Result[0], []byte("NaN")) || slices.Contains(empty, p.Title)
			})
		}
	}

	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := ask("/api/v1/rules", &rules); err != nil || len(rules.Groups) == 0 {
		t.Fatalf("rules %v, %v", rules, err)
	}
	for _, r := range rules.Groups[0].Rules {
		if r.Health != "ok" {
			t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
		}
	}
}
