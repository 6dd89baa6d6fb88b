package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// Under a real hookmux, with keys from a URL: who may log in and what, until the
// connection ends; and nothing of a token or secret in any log.
func TestUnderHookmux(t *testing.T) {
	t.Parallel()
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set("a", "p256")) }))
	defer issuer.Close()
	h := plugintest.RunWith(t, map[string]any{
		"keys":   []any{map[string]any{"jwks": issuer.URL}, map[string]any{"secret": secret}},
		"claims": map[string]any{"sub": "%c"},
		"acl":    map[string]any{},
	})
	key := testKeys()["p256"]
	text := sign(t, jose.ES256, key, with(claims{"acl": map[string]any{"pub": []string{"cars/%c/#"}}}), "kid", "a")
	c := client(text)
	for range 2 {
		if got := plugintest.Verdict(h.Login(t, c)); got != "allow" {
			t.Fatalf("good token: %s", got)
		}
	}
	c.Password = ""
	h.Event(t, mux.ClientConnected, "car", &sdk.ClientConnectedRequest{Clientinfo: c})
	for topic, want := range map[string]string{"cars/car/x": "allow", "cars/bus/x": "deny"} {
		if got := plugintest.Verdict(h.May(t, c, sdk.Publish, topic)); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
	none := raw(`{"alg":"none"}`, body(with(nil)), nil)
	forged := sign(t, jose.ES256, testKeys()["other p256"], with(nil), "kid", "a")
	expired := good(t, claims{"exp": 1})
	for range 50 {
		for _, bad := range []string{none, forged, expired, "wonderland-the-password", strings.Repeat("x", 64<<10)} {
			if got := plugintest.Verdict(h.Login(t, client(bad))); got != "deny" {
				t.Fatalf("%.20s: %s", bad, got)
			}
		}
	}
	h.Event(t, mux.ClientDisconnected, "car", &sdk.ClientDisconnectedRequest{Clientinfo: c})
	muxtest.Eventually(t, "the client is forgotten", func() bool {
		return plugintest.Verdict(h.May(t, c, sdk.Publish, "cars/car/x")) == "deny"
	})
	h.Logs(t, `why="token with a wrong signature"`)
	h.Logs(t, `why="token has expired"`)
	log := h.Log()
	if n := strings.Count(log, `why="token has expired"`); n != 1 {
		t.Errorf("logged %d times", n)
	}
	for _, canary := range []string{secret, text, forged, expired, none, strings.Split(text, ".")[2], strings.Split(text, ".")[1], "wonderland"} {
		if strings.Contains(log, canary) {
			t.Errorf("%q is in the log", canary)
		}
	}
}

// A user name that is a token stays out of the log, too.
func TestUserNameIsNotLogged(t *testing.T) {
	t.Parallel()
	h := plugintest.RunWith(t, map[string]any{"from": "username", "keys": []any{map[string]any{"secret": secret}}})
	c := client("")
	c.Username = good(t, claims{"exp": 1})
	if got := plugintest.Verdict(h.Login(t, c)); got != "deny" {
		t.Error(got)
	}
	h.Logs(t, `user="(the token)"`)
	if strings.Contains(h.Log(), c.GetUsername()[:30]) {
		t.Error("the token is in the log")
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, map[string]any{"keys": []any{map[string]any{"secret": secret}}, "acl": map[string]any{}})
}

func TestReadme(t *testing.T) {
	t.Parallel()
	pem, jwks := file(t, "issuer.pem", publicPEM(t, "rsa")), file(t, "jwks.json", set("a", "ed"))
	for _, text := range plugintest.Readme(t, "auth-jwt") {
		var c config
		plugintest.Configure(t, text, &c)
		for i := range c.Keys { // the files are not here
			if c.Keys[i].File != "" {
				c.Keys[i].File = pem
			}
			if c.Keys[i].JWKS != "" {
				c.Keys[i].JWKS, c.Keys[i].CA = jwks, ""
			}
		}
		start(t, c)
	}
}
