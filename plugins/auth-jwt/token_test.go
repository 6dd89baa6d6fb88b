package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	for _, tt := range []struct {
		key        string // "" is the secret
		algorithms []jose.SignatureAlgorithm
	}{
		{"", []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}},
		{"rsa", []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}},
		{"p256", []jose.SignatureAlgorithm{jose.ES256}},
		{"p384", []jose.SignatureAlgorithm{jose.ES384}},
		{"p521", []jose.SignatureAlgorithm{jose.ES512}},
		{"ed", []jose.SignatureAlgorithm{jose.EdDSA}},
	} {
		for _, a := range tt.algorithms {
			t.Run(string(a), func(t *testing.T) {
				t.Parallel()
				var k any = []byte(secret + secret)
				c := config{Keys: []keyConfig{{Secret: secret + secret}}}
				if tt.key != "" {
					k = keys[tt.key]
					c.Keys = []keyConfig{{File: file(t, "issuer.pem", publicPEM(t, tt.key))}}
				}
				p := start(t, c)
				text := sign(t, a, k, with(nil))
				if got := login(t, p, client(text)); got != "allow" {
					t.Errorf("%s", got)
				}
				if got := login(t, p, client(text[:len(text)-6]+"AAAAAA")); got != "deny" {
					t.Errorf("wrong signature: %s", got)
				}
				parts := strings.Split(text, ".")
				other := strings.Split(sign(t, a, k, with(claims{"sub": "bus"})), ".")
				if got := login(t, p, client(parts[0]+"."+other[1]+"."+parts[2])); got != "deny" {
					t.Errorf("other claims: %s", got)
				}
			})
		}
	}
}

func TestWhatATokenMustBe(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	p := start(t, config{Issuer: "me", Audience: "broker", Leeway: 60e9, Claims: map[string]string{"sub": "%c", "username": "${username}", "kind": "device"}})
	right := claims{"iss": "me", "aud": "broker", "kind": "device"}
	change := func(name string, value any) claims {
		c := with(right)
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	for _, tt := range []struct {
		name   string
		claims claims
		want   error
	}{
		{"good", with(right), nil},
		{"audience in a list", change("aud", []string{"x", "broker"}), nil},
		{"not before, now", change("nbf", at(30*time.Second)), nil},
		{"expired within the leeway", change("exp", at(-30*time.Second)), nil},
		{"expired", change("exp", at(-2*time.Minute)), errExpired},
		{"expired long ago", change("exp", -1), errExpired},
		{"no expiry", change("exp", nil), errNoExpiry},
		{"expiry as text", change("exp", "tomorrow"), errClaims},
		{"not yet", change("nbf", at(2*time.Minute)), errTooEarly},
		{"issued tomorrow", change("iat", at(24*time.Hour)), errTooEarly},
		{"another issuer", change("iss", "you"), errIssuer},
		{"no issuer", change("iss", nil), errIssuer},
		{"another audience", change("aud", []string{"x"}), errAudience},
		{"no audience", change("aud", nil), errAudience},
		{"another client", change("sub", "bus"), errOthers},
		{"client in a list", change("sub", []string{"car"}), errClaims},
		{"placeholder as value", change("username", "%u"), errOthers},
		{"another user", change("username", "bob"), errOthers},
		{"user in a list", change("username", []string{"alice"}), errOthers},
		{"user as a number", change("username", 7), errOthers},
		{"no user", change("username", nil), errOthers},
		{"another constant", change("kind", "person"), errOthers},
	} {
		_, err := p.verify(t.Context(), client(sign(t, jose.HS256, []byte(secret), tt.claims)))
		if !errors.Is(err, tt.want) && !(tt.want == nil && err == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	empty := client(sign(t, jose.HS256, []byte(secret), with(claims{"iss": "me", "aud": "broker", "kind": "device", "username": "", "sub": "car"})))
	empty.Username = ""
	if _, err := p.verify(t.Context(), empty); !errors.Is(err, errOthers) {
		t.Errorf("an empty user name is who has one: %v", err)
	}
}

// Tokens that somebody made who has no key.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	pem := publicPEM(t, "rsa", "p256", "ed")
	p := start(t, config{Keys: []keyConfig{{File: file(t, "issuer.pem", pem)}, {Secret: secret + secret, Algorithms: []string{"HS512"}}}})
	mac := func(key []byte, header string) string {
		text := raw(header, body(with(nil)), nil)
		h := hmac.New(sha256.New, key)
		h.Write([]byte(strings.TrimSuffix(text, ".")))
		return text + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	attacker := jose.JSONWebKey{Key: keys["other rsa"].Public(), KeyID: "mine", Algorithm: "RS256", Use: "sig"}
	for name, text := range map[string]string{
		"alg none":               raw(`{"alg":"none"}`, body(with(nil)), nil),
		"alg None":               raw(`{"alg":"None"}`, body(with(nil)), []byte("x")),
		"alg empty":              raw(`{"alg":""}`, body(with(nil)), []byte("x")),
		"no alg":                 raw(`{}`, body(with(nil)), []byte("x")),
		"alg twice":              raw(`{"alg":"none","alg":"RS256"}`, body(with(nil)), []byte("x")),
		"alg in a list":          raw(`{"alg":["RS256"]}`, body(with(nil)), []byte("x")),
		"public key as secret":   mac(pem, `{"alg":"HS256","typ":"JWT"}`),
		"empty secret":           mac(nil, `{"alg":"HS256"}`),
		"algorithm not allowed":  mac([]byte(secret+secret), `{"alg":"HS256"}`),
		"another RSA key":        sign(t, jose.RS256, keys["other rsa"], with(nil)),
		"another EC key":         sign(t, jose.ES256, keys["other p256"], with(nil)),
		"EC key of another size": sign(t, jose.ES384, keys["p384"], with(nil)),
		"jku":                    sign(t, jose.RS256, keys["other rsa"], with(nil), "jku", "http://127.0.0.1:1/jwks.json"),
		"x5u":                    sign(t, jose.RS256, keys["other rsa"], with(nil), "x5u", "file:///etc/passwd"),
		"its own jwk":            sign(t, jose.RS256, keys["other rsa"], with(nil), "jwk", attacker),
		"crit":                   sign(t, jose.RS256, keys["rsa"], with(nil), "crit", []string{"unknown"}),
		"kid is a path":          sign(t, jose.RS256, keys["other rsa"], with(nil), "kid", "../../../../dev/null"),
		"kid is SQL":             sign(t, jose.RS256, keys["other rsa"], with(nil), "kid", "' UNION SELECT 'x"),
		"kid is a number":        raw(`{"alg":"RS256","kid":7}`, body(with(nil)), []byte("x")),
		"no JSON":                raw(`nonsense`, `nonsense`, []byte("x")),
		"another secret":         sign(t, jose.HS512, []byte(secret+"x"+secret), with(nil)),
		"zeros as signature":     raw(`{"alg":"ES256"}`, body(with(nil)), make([]byte, 64)),
		"dots":                   "..",
		"a NUL":                  "a.\x00.b",
		"no UTF-8":               "\xff.\xff.\xff",
		"encrypted":              "a.b.c.d.e",
		"huge":                   sign(t, jose.RS256, keys["rsa"], with(claims{"x": strings.Repeat("x", 64<<10)})),
		"64 KB of dots":          strings.Repeat(".", 64<<10),
		"64 KB":                  strings.Repeat("a", 32<<10) + "." + strings.Repeat("b", 32<<10) + ".c",
		"a password":             "wonderland",
		"nothing":                "",
		"padding":                sign(t, jose.RS256, keys["rsa"], with(nil)) + "==",
		"JSON serialization":     `{"payload":"e30.e30.","signatures":[]}`,
	} {
		if got := login(t, p, client(text)); got != "deny" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := login(t, p, client(sign(t, jose.HS512, []byte(secret+secret), with(nil)))); got != "allow" {
		t.Errorf("a good one: %s", got)
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	p := start(t, config{NoToken: "ignore"})
	for text, want := range map[string]string{
		"": "ignore", "wonderland": "ignore", "a.b": "ignore", "a.b.c": "deny", raw(`{"alg":"none"}`, "{}", nil): "deny",
	} {
		if got := login(t, p, client(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	p = start(t, config{From: "username", WithoutExpiry: true})
	c := client("x.y.z")
	c.Username = good(t, claims{"exp": nil})
	if got := login(t, p, c); got != "allow" {
		t.Errorf("as user name: %s", got)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	private := []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	for want, c := range map[string]config{
		`"from" is "header"; allowed: password, username`: {From: "header"},
		`"no_token" is "allow"`:                           {NoToken: "allow"},
		`"leeway" must be from`:                           {Leeway: -1},
		`"sub" is "device-%c", but a placeholder`:         {Claims: map[string]string{"iss": "100%", "sub": "device-%c"}},
		`"sub" is "${client}", but a placeholder`:         {Claims: map[string]string{"username": "%u", "sub": "${client}"}},
		`there are none, so nobody could log in`:          {Keys: []keyConfig{}},
		`number 1: must have one of secret`:               {Keys: []keyConfig{{}}},
		`number 2: must have one of`:                      {Keys: []keyConfig{{Secret: secret}, {Secret: secret, File: "x"}}},
		`has 6 bytes; RFC 7518`:                           {Keys: []keyConfig{{Secret: "canary"}}},
		`is not base64`:                                   {Keys: []keyConfig{{SecretBase64: "canary!"}}},
		`"RS256" is no algorithm for it; allowed: [HS256`: {Keys: []keyConfig{{Secret: secret, Algorithms: []string{"RS256"}}}},
		`"HS256" is no algorithm for it; allowed: [RS256`: {Keys: []keyConfig{{File: "x", Algorithms: []string{"HS256"}}}},
		`too short, or of another kind, for HS512`:        {Keys: []keyConfig{{Secret: secret, Algorithms: []string{"HS512"}}}},
		`"none" is no algorithm`:                          {Keys: []keyConfig{{Secret: secret, Algorithms: []string{"none"}}}},
		`no such file`:                                    {Keys: []keyConfig{{File: "/no/such/file"}}},
		`has no public key`:                               {Keys: []keyConfig{{File: file(t, "x", []byte("nothing"))}}},
		`the public one`:                                  {Keys: []keyConfig{{File: file(t, "x", private)}}},
		`is no JWK set`:                                   {Keys: []keyConfig{{JWKS: file(t, "x", private)}}},
		`no public key for signatures`:                    {Keys: []keyConfig{{JWKS: file(t, "x", []byte(`{"keys":[{"kty":"oct","k":"Y2FuYXJ5"}]}`))}}},
		`by https only`:                                   {Keys: []keyConfig{{JWKS: "http://issuer.example/jwks"}}},
		`is no URL`:                                       {Keys: []keyConfig{{JWKS: "https://u:canary@issuer.example/jwks"}}},
		`"ca": open`:                                      {Keys: []keyConfig{{JWKS: "https://issuer.example/jwks", CA: "/no/such/file"}}},
		`"acl.without" is "allow"`:                        {ACL: &aclConfig{Without: "allow"}},
		`"acl.unknown_client" is`:                         {ACL: &aclConfig{UnknownClient: "allow"}},
		`"acl.max_clients"`:                               {ACL: &aclConfig{MaxClients: -1}},
	} {
		p := &plugin{config: c}
		if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
