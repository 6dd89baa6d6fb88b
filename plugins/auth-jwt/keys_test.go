package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// set is a JWK set of public keys: id, key, id, key…
func set(names ...string) []byte {
	var s jose.JSONWebKeySet
	for i := 0; i < len(names); i += 2 {
		s.Keys = append(s.Keys, jose.JSONWebKey{KeyID: names[i], Key: testKeys()[names[i+1]].Public(), Use: "sig"})
	}
	text, _ := json.Marshal(s)
	return text
}

func TestJWKSFile(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	path := file(t, "jwks.json", set("a", "rsa", "b", "p256", "c", "ed"))
	p := start(t, config{Keys: []keyConfig{{JWKS: path}}})
	for name, tt := range map[string]struct {
		token string
		want  string
	}{
		"its id":                {sign(t, jose.RS256, keys["rsa"], with(nil), "kid", "a"), "allow"},
		"another kind":          {sign(t, jose.ES256, keys["p256"], with(nil), "kid", "b"), "allow"},
		"Ed25519":               {sign(t, jose.EdDSA, keys["ed"], with(nil), "kid", "c"), "allow"},
		"no id":                 {sign(t, jose.RS256, keys["rsa"], with(nil)), "allow"},
		"another's id":          {sign(t, jose.RS256, keys["rsa"], with(nil), "kid", "b"), "deny"},
		"unknown id":            {sign(t, jose.RS256, keys["rsa"], with(nil), "kid", "z"), "deny"},
		"another key, its id":   {sign(t, jose.RS256, keys["other rsa"], with(nil), "kid", "a"), "deny"},
		"another key, no id":    {sign(t, jose.RS256, keys["other rsa"], with(nil)), "deny"},
		"HMAC with the modulus": {sign(t, jose.HS256, keys["rsa"].Public().(*rsa.PublicKey).N.Bytes(), with(nil), "kid", "a"), "deny"},
	} {
		if got := login(t, p, client(tt.token)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// What a set has besides public keys for signatures is left alone, a secret above all.
func TestWhatASetMayHold(t *testing.T) {
	t.Parallel()
	var s struct {
		Keys []json.RawMessage `json:"keys"`
	}
	_ = json.Unmarshal(set("a", "p256", "b", "ed"), &s)
	s.Keys = append(s.Keys,
		json.RawMessage(`{"kty":"oct","kid":"o","k":"`+strings.Repeat("QUFB", 22)+`"}`),
		json.RawMessage(`{"kty":"future","kid":"f"}`), json.RawMessage(`7`), json.RawMessage(`{"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"}`),
		json.RawMessage(strings.Replace(string(s.Keys[0]), `"use":"sig"`, `"use":"enc"`, 1)),
		json.RawMessage(strings.Replace(string(s.Keys[0]), `"use":"sig"`, `"alg":"ES512"`, 1)))
	text, _ := json.Marshal(s)
	keys, err := parseJWKS(text, nil)
	if err != nil || len(keys) != 2 {
		t.Errorf("%d keys: %v", len(keys), err)
	}
	if keys, err = parseJWKS(text, []string{"EdDSA"}); err != nil || len(keys) != 1 || keys[0].id != "b" {
		t.Errorf("narrowed: %v %v", keys, err)
	}
	if _, err := parseJWKS(make([]byte, largestSet+1), nil); err == nil {
		t.Error("no limit")
	}
}

// server is an issuer's.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	text   []byte // nil: an outage
	asked  atomic.Int32
	before func()
}

func (s *server) serve(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

func (s *server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.asked.Add(1)
	s.mu.Lock()
	text, before := s.text, s.before
	s.mu.Unlock()
	if before != nil {
		before()
	}
	if text == nil {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write(text)
}

// newIssuer serves over TLS; the config trusts it.
func newIssuer(t *testing.T, text []byte) (*server, keyConfig) {
	t.Helper()
	s := &server{text: text}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	ca := file(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s, keyConfig{JWKS: s.URL + "/jwks.json", CA: ca}
}

// passed makes as if the time between two fetches had passed.
func passed(p *plugin) {
	for _, s := range p.keys.sources {
		s.mu.Lock()
		s.tried = s.tried.Add(-atMostEvery)
		s.mu.Unlock()
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	issuer, from := newIssuer(t, set("old", "rsa"))
	p := start(t, config{Keys: []keyConfig{from}})
	oldKey := client(sign(t, jose.RS256, keys["rsa"], with(nil), "kid", "old"))
	newKey := client(sign(t, jose.ES256, keys["p256"], with(nil), "kid", "new"))
	madeUp := client(sign(t, jose.ES256, keys["p256"], with(nil), "kid", "made up"))
	if got := login(t, p, oldKey); got != "allow" || issuer.asked.Load() != 1 {
		t.Fatalf("%s after %d fetches", got, issuer.asked.Load())
	}
	issuer.serve(set("old", "rsa", "new", "p256"))

	// Just after a fetch, made up key ids cost nothing.
	for range 100 {
		if got := login(t, p, madeUp); got != "deny" {
			t.Fatal(got)
		}
	}
	if n := issuer.asked.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}

	// Later all clients with the new key wait for one fetch.
	passed(p)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := login(t, p, newKey); got != "allow" {
				t.Errorf("new key: %s", got)
			}
		})
	}
	all.Wait()
	if n := issuer.asked.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	if got := login(t, p, oldKey); got != "allow" {
		t.Errorf("old key: %s", got)
	}

	// A key that is taken out is no key.
	issuer.serve(set("new", "p256"))
	passed(p)
	if got := login(t, p, madeUp); got != "deny" {
		t.Error(got)
	}
	if got := login(t, p, oldKey); got != "deny" {
		t.Errorf("a revoked key: %s", got)
	}

	// An outage, and nonsense, leave what was there.
	for _, text := range [][]byte{nil, []byte("<html>"), []byte(`{}`), []byte(`{"keys":null}`), []byte(`{"keys":[{"kty":"future"}]}`), make([]byte, largestSet+1)} {
		issuer.serve(text)
		passed(p)
		if got := login(t, p, madeUp); got != "deny" {
			t.Error(got)
		}
		if got := login(t, p, newKey); got != "allow" {
			t.Errorf("in an outage: %s", got)
		}
	}
	// But not for ever.
	s := p.keys.sources[0]
	s.mu.Lock()
	s.good = s.good.Add(-defaultMaxAge)
	s.mu.Unlock()
	if got := login(t, p, newKey); got != "error" {
		t.Errorf("with old keys: %s", got)
	}
	issuer.serve(set("new", "p256"))
	passed(p)
	if got := login(t, p, newKey); got != "allow" {
		t.Errorf("after the outage: %s", got)
	}
	// An issuer may withdraw all of them.
	issuer.serve([]byte(`{"keys":[]}`))
	passed(p)
	for _, c := range []*sdk.ClientInfo{madeUp, newKey} {
		if got := login(t, p, c); got != "deny" {
			t.Errorf("all are withdrawn: %s", got)
		}
	}
}

// A key with the token's id is tried, however many there are without one.
func TestItsKeyComesFirst(t *testing.T) {
	t.Parallel()
	many := slices.Repeat([]string{"other p256"}, mostTries)
	pem, jwks := file(t, "many.pem", publicPEM(t, many...)), file(t, "jwks.json", set("a", "p256"))
	p := start(t, config{Keys: []keyConfig{{File: pem}, {JWKS: jwks}}})
	for name, tt := range map[string]struct{ key, id, want string }{
		"its id":             {"p256", "a", "allow"},
		"one without an id":  {"other p256", "a", "allow"},
		"no id, and too far": {"p256", "", "deny"},
	} {
		var header []any
		if tt.id != "" {
			header = []any{"kid", tt.id}
		}
		if got := login(t, p, client(sign(t, jose.ES256, testKeys()[tt.key], with(nil), header...))); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// What a URL has after its path may be a secret.
func TestKeysAreNamedWithoutSecrets(t *testing.T) {
	t.Parallel()
	if got := whereIs("https://a.example:8443/b%20c/keys?code=s3cr3t#s3cr3t"); got != "https://a.example:8443/b%20c/keys" {
		t.Error(got)
	}
	if got := whereIs("./keys?.json"); got != "./keys?.json" {
		t.Error(got)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	s, err := newSource(keyConfig{JWKS: gone.URL + "/keys?code=s3cr3t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.read(t.Context()); err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "/keys: dial") {
		t.Error(err)
	}
}

// Without an issuer at the start nobody is told that a good token is wrong.
func TestIssuerIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	issuer, from := newIssuer(t, nil)
	p := start(t, config{Keys: []keyConfig{from, {Secret: secret}}})
	fromIssuer := client(sign(t, jose.RS256, testKeys()["rsa"], with(nil), "kid", "a"))
	if got := login(t, p, fromIssuer); got != "error" {
		t.Errorf("no keys: %s", got)
	}
	if got := login(t, p, client(good(t, nil))); got != "allow" {
		t.Errorf("by the secret: %s", got)
	}
	issuer.serve(set("a", "rsa"))
	passed(p)
	if got := login(t, p, fromIssuer); got != "allow" {
		t.Errorf("it is back: %s", got)
	}
}

// While an issuer is slow, a token with a key id that is not known is answered well before
// hookmux's timeout: anybody can make up key ids, and timeouts open a breaker. The fetch goes on.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	path := file(t, "jwks.json", set("old", "rsa"))
	later, err := parseJWKS(set("new", "p256"), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := start(t, config{Keys: []keyConfig{{JWKS: path}}})
		s, hold := p.keys.sources[0], make(chan struct{})
		s.load = func(context.Context) ([]key, error) { <-hold; return later, nil }
		time.Sleep(atMostEvery)
		newKey := client(sign(t, jose.ES256, testKeys()["p256"], with(nil), "kid", "new"))
		ask := func() (sdk.Access, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			asked := time.Now()
			a, err := p.OnClientAuthenticate(ctx, &sdk.ClientAuthenticateRequest{Clientinfo: newKey})
			if took := time.Since(asked); took != time.Second {
				t.Errorf("it took %s", took)
			}
			return a, err
		}
		if a, err := ask(); a != sdk.Deny.Final() || err != nil {
			t.Errorf("%v %v", a, err)
		}
		s.mu.Lock()
		s.good = s.good.Add(-defaultMaxAge)
		s.mu.Unlock()
		if a, err := ask(); err == nil || !strings.Contains(err.Error(), "no keys from "+path) {
			t.Errorf("with old keys: %v %v", a, err)
		}
		close(hold)
		synctest.Wait()
		if got := login(t, p, newKey); got != "allow" {
			t.Errorf("after it: %s", got)
		}
	})
}

// Files and URLs are read again by themselves.
func TestKeysAreKeptFresh(t *testing.T) {
	t.Parallel()
	path := file(t, "issuer.pem", publicPEM(t, "p256"))
	other := publicPEM(t, "other p256")
	text := sign(t, jose.ES256, testKeys()["other p256"], with(nil))
	synctest.Test(t, func(t *testing.T) {
		p := &plugin{config: config{Keys: []keyConfig{{File: path}}, WithoutExpiry: true, Leeway: sdk.Duration(time.Hour)}}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Stop(t.Context()) }()
		if err := os.WriteFile(path, other, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.keys.find(t.Context(), "", jose.ES256); err != nil {
			t.Error(err)
		}
		if got, err := p.verify(t.Context(), client(text)); !errors.Is(err, errSignature) {
			t.Errorf("%v %v", got, err)
		}
		time.Sleep(defaultRefresh + atMostEvery)
		synctest.Wait()
		if _, err := p.verify(t.Context(), client(text)); errors.Is(err, errSignature) || errors.Is(err, errNoKey) {
			t.Errorf("after a while: %v", err) // the token itself is from another time
		}
	})
}

// Keys do not come from just anywhere.
func TestRedirectsStaySafe(t *testing.T) {
	t.Parallel()
	issuer, from := newIssuer(t, set("a", "rsa"))
	redirect := httptest.NewTLSServer(http.RedirectHandler("http://issuer.example/jwks", http.StatusFound))
	defer redirect.Close()
	from.JWKS = redirect.URL
	load, err := jwksLoader(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t.Context()); err == nil || !strings.Contains(err.Error(), "by https only") {
		t.Errorf("%v", err)
	}
	load, err = jwksLoader(keyConfig{JWKS: issuer.URL}) // without its CA
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}
