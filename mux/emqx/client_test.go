package emqx_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/emqx"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/fakeemqx"
)

func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	if len(os.Args) == 4 && os.Args[1] == "reaper" {
		host.Reap(os.Stdin, os.Args[2], os.Args[3])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func client(t *testing.T, url, secret string, tls *tls.Config) *emqx.Client {
	t.Helper()
	c, err := emqx.NewClient(emqx.Options{URL: url, Key: fakeemqx.Key, Secret: secret, TLS: tls})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "127.0.0.1:18083", "ftp://x", "http://", "http://a:b@x", "http://x y"} {
		if _, err := emqx.NewClient(emqx.Options{URL: bad, Key: "k", Secret: "s"}); err == nil || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := emqx.NewClient(emqx.Options{URL: "http://x", Key: "k"}); err == nil {
		t.Error("without a secret")
	}
	e := fakeemqx.Start(t, "5.8.8", "emqx@a")
	for _, suffix := range []string{"", "/", "/api/v5", "/api/v5/"} {
		if _, err := client(t, e.URL+suffix, fakeemqx.Secret, nil).Nodes(t.Context()); err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
	}
}

// Whatever stands in the way, the error says what it is and what to do, and not the secret.
func TestEMQXCannotBeAsked(t *testing.T) {
	t.Parallel()
	e := fakeemqx.Start(t, "5.8.8", "emqx@a")
	e.Fail = func(_, path string) (int, string, string) {
		switch path {
		case "/nodes":
			return 500, "BAD_RPC", "nodedown"
		}
		return 0, "", ""
	}
	answers := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	overTLS := httptest.NewTLSServer(http.NotFoundHandler())
	overTLS.Config.ErrorLog = nil
	t.Cleanup(overTLS.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, c := range []struct{ name, url, secret, want string }{
		{"wrong secret", e.URL, "wrong-secret", "does not take the API key and secret: make one in its dashboard"},
		{"error of EMQX", e.URL, fakeemqx.Secret, "EMQX answers GET /nodes with 500 BAD_RPC: nodedown"},
		{"nobody there", "http://" + l.Addr().String(), "wrong-secret", "nobody listens at http://127.0.0.1"},
		{"no EMQX", answers(http.NotFound), "wrong-secret", "has no such path"},
		{"redirection", answers(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere", http.StatusFound)
		}), "wrong-secret", "with https if it has TLS"},
		{"forbidden", answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), "wrong-secret", "it needs the role Administrator"},
		{"not JSON", answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }), "wrong-secret", "is not EMQX's"},
		{"unknown CA", overTLS.URL, "wrong-secret", "name its CA with --emqx-ca"},
		{"TLS where there is none", strings.Replace(e.URL, "http:", "https:", 1), "wrong-secret", "answers without TLS: write http://"},
		{"no such host", "http://no-such-host.invalid:1", "wrong-secret", "there is no host no-such-host.invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t, c.url, c.secret, nil).Nodes(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) && c.name != "no such host" || strings.Contains(err.Error(), c.secret) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	slow := answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, err := client(t, slow, fakeemqx.Secret, nil).Nodes(ctx); err == nil || !strings.Contains(err.Error(), "does not answer in time") {
		t.Errorf("slow: %v", err)
	}
	if _, err := client(t, overTLS.URL, fakeemqx.Secret, overTLS.Client().Transport.(*http.Transport).TLSClientConfig).Nodes(t.Context()); err == nil || !strings.Contains(err.Error(), "has no such path") {
		t.Errorf("known CA: %v", err)
	}
}

func codes(findings []emqx.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, string(f.Severity)+" "+f.Code)
	}
	return out
}

func TestExamine(t *testing.T) {
	t.Parallel()
	ssl := func(s *emqx.Server) { s.URL, s.SSL = "https://127.0.0.1:9000", emqx.SSL{Enabled: true, Verify: true} }
	other := func(failed string, hooks ...emqx.Hook) *emqx.Server {
		return &emqx.Server{Name: "other", Enabled: true, URL: "http://10.0.0.9:9001", FailedAction: failed, Status: map[string]string{"emqx@a": "connected", "emqx@b": "connected"}, Hooks: hooks}
	}
	for _, c := range []struct {
		name string
		tune func(*emqx.Facts, *emqx.Server, *emqx.Ours)
		want []string
	}{
		{"all is fine", func(*emqx.Facts, *emqx.Server, *emqx.Ours) {}, []string{"ok fine"}},
		{"no entry", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) { f.Servers = nil }, []string{"problem no-entry"}},
		{"by its other name", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.Name = "hookmux-2" }, []string{"ok fine"}},
		{"by its address", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.Name = "default" }, []string{"ok fine"}},
		{"switched off", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) {
			s.Enabled, s.Status = false, map[string]string{"emqx@a": "disabled", "emqx@b": "disabled"}
		}, []string{"problem disabled"}},
		{"not connected", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) {
			s.Status["emqx@a"], s.Status["emqx@b"] = "connecting", "disconnected"
		}, []string{"problem not-connected", "problem not-connected"}},
		{"one node is not", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { delete(s.Status, "emqx@b") }, []string{"problem not-connected"}},
		{"another port", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.URL = "http://127.0.0.1:9001" }, []string{"problem url-port"}},
		{"hookmux has TLS", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { o.TLS = true }, []string{"problem url-scheme"}},
		{"hookmux has no TLS", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { ssl(s) }, []string{"problem url-scheme"}},
		{"TLS", func(_ *emqx.Facts, s *emqx.Server, o *emqx.Ours) { ssl(s); o.TLS = true }, []string{"ok fine"}},
		{"TLS that is off", func(_ *emqx.Facts, s *emqx.Server, o *emqx.Ours) { ssl(s); s.SSL.Enabled, o.TLS = false, true }, []string{"problem tls-off"}},
		{"TLS without a certificate", func(_ *emqx.Facts, s *emqx.Server, o *emqx.Ours) { ssl(s); o.TLS, o.WantsCert = true, true }, []string{"problem tls-certificate"}},
		{"TLS with whomever", func(_ *emqx.Facts, s *emqx.Server, o *emqx.Ours) { ssl(s); o.TLS, s.SSL.Verify = true, false }, []string{"warning tls-verify"}},
		{"failed_action", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.FailedAction = "ignore" }, []string{"problem failed-action"}},
		{"too short a timeout", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.Timeout = 4 * time.Second }, []string{"problem request-timeout"}},
		{"no reconnect", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.AutoReconnect = 0 }, []string{"problem auto-reconnect"}},
		{"late reconnect", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.AutoReconnect = 2 * time.Minute }, []string{"warning auto-reconnect"}},
		{"small pool", func(_ *emqx.Facts, s *emqx.Server, _ *emqx.Ours) { s.PoolSize = 1 }, []string{"warning pool-size"}},
		{"a hook more", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) {
			o.Hooks = append(o.Hooks, emqx.Hook{Name: "client.connack"})
		}, []string{"problem stale"}},
		{"a topic more", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { o.Hooks[1].Topics = []string{"a/#", "b"} }, []string{"problem stale"}},
		{"all topics", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { o.Hooks[1].Topics = nil }, []string{"problem stale"}},
		{"stale on one node", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { o.Nodes["emqx@b"] = []string{"client.connected"} }, []string{"problem stale"}},
		{"a hook that is too new", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) {
			o.Hooks = append(o.Hooks, emqx.Hook{Name: "message.ingress"})
		}, []string{"ok fine"}},
		{"a node of another hookmux", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { delete(o.Nodes, "emqx@b") }, []string{"warning not-seen"}},
		{"twice", func(f *emqx.Facts, s *emqx.Server, _ *emqx.Ours) {
			second := *s
			second.Name = "hookmux-2"
			f.Servers = append(f.Servers, &second)
		}, []string{"problem twice"}},
		{"another server beside", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) {
			f.Servers = append(f.Servers, other("deny", emqx.Hook{Name: "client.authenticate"}, emqx.Hook{Name: "message.publish", Topics: []string{"a/#"}}))
		}, []string{"warning several-servers"}},
		{"another server that refuses", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) {
			f.Servers = append(f.Servers, other("deny", emqx.Hook{Name: "message.publish", Topics: []string{"a/#"}}))
		}, []string{"problem chain", "warning several-servers"}},
		{"another server that is refused", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) {
			f.Servers = append(f.Servers, other("ignore", emqx.Hook{Name: "message.publish"}))
		}, []string{"problem chain", "warning several-servers"}},
		{"another server that is off", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) {
			f.Servers = append(f.Servers, &emqx.Server{Name: "off", URL: "http://x:1", FailedAction: "deny"})
		}, []string{"ok fine"}},
		{"nobody decides logins", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) { f.Authenticators = 0 }, []string{"warning undecided-login"}},
		{"hookmux decides logins", func(f *emqx.Facts, _ *emqx.Server, o *emqx.Ours) {
			f.Authenticators, o.Defaults = 0, []string{"client.authenticate"}
		}, []string{"ok fine"}},
		{"acl.conf", func(f *emqx.Facts, s *emqx.Server, o *emqx.Ours) {
			o.Hooks, s.Hooks, f.Sources = append(o.Hooks, emqx.Hook{Name: "client.authorize"}), append(s.Hooks, emqx.Hook{Name: "client.authorize"}), []string{"file"}
		}, []string{"problem authorization-sources"}},
		{"topics by default", func(f *emqx.Facts, s *emqx.Server, o *emqx.Ours) {
			o.Hooks, s.Hooks, f.NoMatch = append(o.Hooks, emqx.Hook{Name: "client.authorize"}), append(s.Hooks, emqx.Hook{Name: "client.authorize"}), "allow"
		}, []string{"warning undecided-topic"}},
		{"acl.conf that nobody minds", func(f *emqx.Facts, _ *emqx.Server, _ *emqx.Ours) { f.Sources, f.NoMatch = []string{"file"}, "allow" }, []string{"ok fine"}},
		{"hookmux is down", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) {
			o.Unreachable, o.Hooks, o.Nodes = context.DeadlineExceeded, nil, nil
		}, []string{"problem hookmux-unreachable"}},
		{"providers are down", func(_ *emqx.Facts, _ *emqx.Server, o *emqx.Ours) { o.Ready, o.Down = false, []string{"login"} }, []string{"warning hookmux-not-ready", "warning provider-down"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &emqx.Server{
				Name: "hookmux", Enabled: true, URL: "http://127.0.0.1:9000", FailedAction: "deny", PoolSize: 8, Timeout: 5 * time.Second, AutoReconnect: 10 * time.Second,
				Status: map[string]string{"emqx@a": "connected", "emqx@b": "connected"},
				Hooks:  []emqx.Hook{{Name: "client.authenticate"}, {Name: "message.publish", Topics: []string{"a/#"}}},
			}
			f := &emqx.Facts{Servers: []*emqx.Server{s}, Nodes: []emqx.Node{{Name: "emqx@a", Version: "5.8.8"}, {Name: "emqx@b", Version: "5.10.3"}}, Authenticators: 1, NoMatch: "deny"}
			o := &emqx.Ours{
				Name: "hookmux", Listen: "127.0.0.1:9000", Timeout: 4 * time.Second, Ready: true,
				Hooks: []emqx.Hook{{Name: "client.authenticate"}, {Name: "message.publish", Topics: []string{"a/#"}}},
				Nodes: map[string][]string{"emqx@a": nil, "emqx@b": nil},
			}
			c.tune(f, s, o)
			got := emqx.Examine(f, o)
			if !slices.Equal(codes(got), c.want) {
				t.Errorf("%+v, want %q", got, c.want)
			}
			for _, finding := range got {
				t.Logf("%s → %s", finding.What, finding.Fix)
				if finding.Severity != emqx.Fine && finding.Fix == "" || strings.Contains(finding.What, "%!") {
					t.Errorf("no way out of %+v", finding)
				}
			}
		})
	}
}
