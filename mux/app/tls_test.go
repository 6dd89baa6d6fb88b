package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/certs"
)

// pki is a CA of brokers and one of servers, and files of what they signed.
type pki struct {
	dir              string
	servers, brokers *certs.CA
	tls              config.TLS
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir(), servers: certs.NewCA(t, "servers"), brokers: certs.NewCA(t, "brokers")}
	p.tls.Cert, p.tls.Key = p.servers.Sign(t, "hookmux", nil).Write(t, p.dir, "hookmux")
	p.tls.ClientCA = certs.WriteFile(t, filepath.Join(p.dir, "brokers.pem"), p.brokers.PEM)
	return p
}

// broker is a TLS config of a broker whose certificate has the name; "" for none.
func (p *pki) broker(t *testing.T, name string) *tls.Config {
	t.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AppendCertsFromPEM(p.servers.PEM)
	if name != "" {
		pair := p.brokers.Sign(t, name, nil)
		cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg
}

// refused says that a broker with this TLS config does not get through.
func refused(t *testing.T, s *sidecar, cfg *tls.Config) {
	t.Helper()
	b := muxtest.NewTLSBroker(t, s.Addr(), mux.V3, cfg)
	b.Timeout = 10 * time.Second
	if _, err := b.Call(mux.V3.FullMethod(mux.ClientConnected), "c", nil); err == nil {
		t.Error("it got through")
	}
}

// shown is the name of the certificate that hookmux shows a new connection.
func shown(t *testing.T, s *sidecar, cfg *tls.Config) string {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", s.Addr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestBrokersByTLS(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	p.tls.ClientNames = []string{"emqx-0", "emqx-1"}
	login := plugin(t, "login", muxtest.Behaviour{Hooks: []string{"client.authenticate"}, Answer: "allow"})
	var read *config.Config
	s := start(t, config.Config{TLS: &p.tls, Providers: []config.Provider{login}}, func(o *app.Options) {
		o.Load = func() (*config.Config, error) { return read, nil }
	})
	read = s.variant(login)

	emqx := p.broker(t, "emqx-0")
	old := muxtest.NewTLSBroker(t, s.Addr(), mux.V3, emqx)
	if _, ok := old.Load(t, "5.10.3")["client.authenticate"]; !ok {
		t.Error("the broker is not told of client.authenticate")
	}
	works := func(b *muxtest.Broker) {
		t.Helper()
		if _, allowed := b.Authenticate(t, "c"); !allowed {
			t.Error("refused")
		}
	}
	works(old)
	refused(t, s, nil) // without TLS
	refused(t, s, p.broker(t, ""))
	s.until(t, "client didn't provide a certificate")
	refused(t, s, p.broker(t, "emqx-2"))

	// Renewed while connections live: they stay, new ones see the new certificate.
	p.servers.Sign(t, "renewed", nil).Write(t, p.dir, "hookmux")
	if got := shown(t, s, emqx); got != "renewed" {
		t.Errorf("shown %s", got)
	}
	works(old)
	works(muxtest.NewTLSBroker(t, s.Addr(), mux.V3, emqx))

	// A reload tells of one that is broken, and changes nothing.
	certs.WriteFile(t, p.tls.Key, []byte("no key"))
	if _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), p.tls.Key) {
		t.Errorf("reload: %v", err)
	}
	if got := shown(t, s, emqx); got != "renewed" {
		t.Errorf("shown %s", got)
	}
	p.servers.Sign(t, "again", nil).Write(t, p.dir, "hookmux")

	// Other names count from the next connection on.
	next := p.tls
	next.ClientNames = []string{"emqx-2"}
	read = s.variant(login)
	read.TLS = &next
	if changes, err := s.Reload(t.Context()); err != nil || !slices.Equal(changes.Settings, []string{"tls"}) {
		t.Errorf("reload: %v, %v", changes, err)
	}
	works(old)
	refused(t, s, emqx)
	works(muxtest.NewTLSBroker(t, s.Addr(), mux.V3, p.broker(t, "emqx-2")))

	read = s.variant(login)
	read.TLS = nil
	if _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a restart of hookmux, and another URL in EMQX") {
		t.Errorf("reload: %v", err)
	}
}

func TestStartNeedsTheTLSFiles(t *testing.T) {
	t.Parallel()
	a := app.New(&config.Config{Listen: "127.0.0.1:0", TLS: &config.TLS{Cert: "/none/tls.crt", Key: "/none/tls.key"}}, app.Options{})
	if err := a.Start(); err == nil || !strings.Contains(err.Error(), "/none/tls.crt") {
		t.Errorf("error: %v", err)
	}
}

// Limits change with a reload, too.
func TestLimitsOfMessages(t *testing.T) {
	t.Parallel()
	filter := plugin(t, "filter", muxtest.Behaviour{Hooks: []string{"message.publish"}, Answer: "ignore"})
	s := start(t, config.Config{Limits: config.Limits{Message: 64 << 10}, Providers: []config.Provider{filter}}, nil)
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	payload := strings.Repeat("x", 100<<10)
	if _, published := broker.Publish(t, "c", "t", payload); published {
		t.Error("a message that is too large is published")
	}
	cfg := s.variant(filter)
	cfg.Limits.Message = 1 << 20
	s.apply(t, cfg, app.Changes{Settings: []string{"limits"}})
	if _, published := broker.Publish(t, "c", "t", payload); !published {
		t.Error("the new limit does not count")
	}
}

// A remote that wants a certificate of us, and has one of a CA of its own for another
// name than its address.
func TestRemoteByMutualTLS(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	remoteTLS := func(ca *certs.CA) grpc.ServerOption {
		pair := ca.Sign(t, "legacy.example", func(c *x509.Certificate) { c.IPAddresses = nil })
		cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(p.brokers.PEM)
		return grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}))
	}
	first, addr, _ := startRemote(t, mux.V3, "127.0.0.1:0", remoteTLS(p.servers))
	ca := certs.WriteFile(t, filepath.Join(p.dir, "servers.pem"), p.servers.PEM)
	cert, key := p.brokers.Sign(t, "hookmux", nil).Write(t, p.dir, "me")
	remote := config.Provider{Spec: mux.Spec{Name: "legacy"}, URL: "https://" + addr, TLS: &config.RemoteTLS{CA: ca, Cert: cert, Key: key, ServerName: "legacy.example"}}

	for want, tune := range map[string]func(*config.RemoteTLS){
		"":                            func(*config.RemoteTLS) {},
		"doesn't contain any IP SANs": func(r *config.RemoteTLS) { r.ServerName = "" },
		"not other.example":           func(r *config.RemoteTLS) { r.ServerName = "other.example" },
		"unknown authority":           func(r *config.RemoteTLS) { r.CA = p.tls.ClientCA },
	} {
		r := remote
		other := *remote.TLS
		r.TLS = &other
		tune(r.TLS)
		states, err := app.Check(t.Context(), &config.Config{Providers: []config.Provider{r}}, app.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil || !strings.Contains(states[0].LastErr, want) || (states[0].Status == "up") != (want == "") {
			t.Errorf("want %q: %s, %q, %v", want, states[0].Status, states[0].LastErr, err)
		}
	}
	if _, err := app.Check(t.Context(), &config.Config{Providers: []config.Provider{{Spec: mux.Spec{Name: "legacy"}, URL: remote.URL, TLS: &config.RemoteTLS{CA: "/none"}}}}, app.Options{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "provider legacy: TLS: open /none") {
		t.Errorf("error: %v", err)
	}

	// It comes back with a certificate of another CA, which we are told of a little later.
	s := start(t, config.Config{Providers: []config.Provider{remote}}, nil)
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	given := func() bool { _, ok := broker.Authorize(t, "c", "allowed"); return ok }
	if !given() {
		t.Error("refused")
	}
	first.Stop()
	next := certs.NewCA(t, "next")
	_, _, _ = startRemote(t, mux.V3, addr, remoteTLS(next))
	muxtest.Eventually(t, "it says why it is down", func() bool { return strings.Contains(s.provider(t, "legacy").LastErr, "unknown authority") })
	certs.WriteFile(t, ca, next.PEM)
	muxtest.Eventually(t, "the permission is given again", given)
}
