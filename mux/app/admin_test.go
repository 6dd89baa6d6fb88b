package app_test

import (
	"crypto/tls"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/certs"
)

// operators is where hookmux listens for operators.
func (s *sidecar) operators(t *testing.T) string {
	t.Helper()
	at := regexp.MustCompile(`listening for operators" url=(https?://127\.0\.0\.1:[0-9]+)`).FindStringSubmatch(s.log.tail(1 << 20))
	if at == nil {
		t.Fatal("the log does not say where it listens for operators")
	}
	return at[1]
}

// Operators come by TLS: a renewed certificate and another token count without a restart,
// and a reload says what is wrong with either.
func TestOperatorsByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certs.NewCA(t, "operators")
	cert, key := ca.Sign(t, "hookmux.example", nil).Write(t, dir, "admin")
	cfg := config.Config{
		Admin:     config.Admin{Listen: "127.0.0.1:0", Token: "0123456789abcdef", Cert: cert, Key: key},
		Providers: []config.Provider{plugin(t, "login", muxtest.Behaviour{})},
	}
	s := start(t, cfg, nil)
	at := s.operators(t)
	if !strings.HasPrefix(at, "https://") {
		t.Fatalf("it listens at %s", at)
	}
	status := func(token string) error {
		t.Helper()
		c := admin.NewClient(at, token)
		if err := c.Trust(cert); err != nil {
			t.Fatal(err)
		}
		_, err := c.Status(t.Context())
		return err
	}
	if err := status("0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	// Who knows the CA needs no more.
	transport := &http.Transport{TLSClientConfig: ca.ClientConfig(), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(at + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK || resp.TLS.Version < tls.VersionTLS12 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	// Another certificate is another hookmux.
	other := certs.NewCA(t, "other").Sign(t, "hookmux.example", nil)
	stranger := admin.NewClient(at, "0123456789abcdef")
	theirs, _ := other.Write(t, t.TempDir(), "admin")
	if err := stranger.Trust(theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "has another certificate than") {
		t.Errorf("error: %v", err)
	}

	ca.Sign(t, "hookmux.example", nil).Write(t, dir, "admin") // renewed
	if err := status("0123456789abcdef"); err != nil {
		t.Error(err)
	}
	next := s.variant(s.cfg.Providers...)
	next.Admin.Token = "fedcba9876543210"
	s.apply(t, next, app.Changes{Settings: []string{"admin"}})
	if err := status("0123456789abcdef"); err == nil || !strings.Contains(err.Error(), "wants its token") {
		t.Errorf("the old token: %v", err)
	}
	if err := status("fedcba9876543210"); err != nil {
		t.Error(err)
	}
	moved := *next
	moved.Admin.Listen = "127.0.0.1:1"
	if _, err := s.Apply(t.Context(), &moved); err == nil || !strings.Contains(err.Error(), "admin changes in more than its token") {
		t.Errorf("error: %v", err)
	}
	certs.WriteFile(t, key, []byte("no key"))
	if _, err := s.Apply(t.Context(), next); err == nil || !strings.Contains(err.Error(), "admin: TLS: the certificate in") {
		t.Errorf("error: %v", err)
	}
	if err := status("fedcba9876543210"); err != nil { // with the certificate of before
		t.Error(err)
	}
}

// What cannot be listened at is a reason not to start.
func TestOperatorsNowhere(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]config.Admin{
		"needs TLS":         {Listen: "0.0.0.0:0", Token: "0123456789abcdef"},
		"admin: TLS: open ": {Listen: "127.0.0.1:0", Token: "0123456789abcdef", Cert: "nowhere.crt", Key: "nowhere.key"},
	} {
		cfg := config.Config{Listen: "127.0.0.1:0", Admin: a, Timeout: time.Second}
		x := app.New(&cfg, app.Options{})
		if err := x.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v, want %q", err, want)
			if err == nil {
				x.Stop()
			}
		}
	}
}
