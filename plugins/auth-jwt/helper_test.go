package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

const secret = "a canary secret of thirty-two bytes and more"

// issuers are private keys of every kind; "other" ones are nobody's.
type issuers map[string]crypto.Signer

//nolint:gochecknoglobals // RSA keys take their time
var testKeys = sync.OnceValue(func() issuers {
	k := issuers{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521(), "other p256": elliptic.P256()} {
		k[name], _ = ecdsa.GenerateKey(curve, rand.Reader)
	}
	k["rsa"], _ = rsa.GenerateKey(rand.Reader, 2048)
	k["other rsa"], _ = rsa.GenerateKey(rand.Reader, 2048)
	_, k["ed"], _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func publicPEM(t testing.TB, names ...string) []byte {
	t.Helper()
	var text []byte
	for _, n := range names {
		der, err := x509.MarshalPKIXPublicKey(testKeys()[n].Public())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return text
}

func file(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type claims map[string]any

// with is the claims of a good token, changed; nil takes a claim out.
func with(changes claims) claims {
	c := claims{"exp": time.Now().Add(time.Hour).Unix(), "sub": "car", "username": "alice"}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token; key is []byte or a private key.
func sign(t testing.TB, a jose.SignatureAlgorithm, key any, c claims, header ...any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	for i := 0; i < len(header); i += 2 {
		o = o.WithHeader(jose.HeaderKey(header[i].(string)), header[i+1])
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: a, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(map[string]any(c)).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// good is a token that the secret has signed.
func good(t testing.TB, changes claims) string {
	return sign(t, jose.HS256, []byte(secret), with(changes))
}

// raw makes a token of any header, claims and signature.
func raw(header, body string, signature []byte) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(body)) + "." + e.EncodeToString(signature)
}

func body(c claims) string {
	b, _ := json.Marshal(c)
	return string(b)
}

func start(t testing.TB, c config) *plugin {
	t.Helper()
	if c.Keys == nil {
		c.Keys = []keyConfig{{Secret: secret}}
	}
	p := &plugin{config: c}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

func client(token string) *sdk.ClientInfo {
	return &sdk.ClientInfo{Node: "emqx@1", Clientid: "car", Username: "alice", Password: token, Peerhost: "10.0.0.1"}
}

// login is the verdict, or "error".
func login(t testing.TB, p *plugin, c *sdk.ClientInfo) string {
	t.Helper()
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{Clientinfo: c})
	if err != nil {
		return "error"
	}
	return plugintest.Verdict(res)
}
