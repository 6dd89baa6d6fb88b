package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTimeout = 5 * time.Second
	largestSet   = 1 << 20
)

// readPEM reads public keys and certificates.
func readPEM(path string, algorithms []string) ([]key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var public any
		var err error
		switch {
		case block.Type == "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case block.Type == "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case block.Type == "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = cert.PublicKey
			}
		case strings.Contains(block.Type, "PRIVATE KEY"):
			return nil, errors.New("has a private key, which is the issuer's alone; give this plugin the public one: openssl pkey -in FILE -pubout")
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("its %s cannot be read: %w", block.Type, err)
		}
		k, err := newKey("", public, algorithms...)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("has no public key or certificate in PEM")
	}
	return keys, nil
}

// jwksLoader reads a JWK set from a URL or a file.
func jwksLoader(c keyConfig) (func(context.Context) ([]key, error), error) {
	if !strings.Contains(c.JWKS, "://") {
		return func(context.Context) ([]key, error) {
			text, err := os.ReadFile(c.JWKS)
			if err != nil {
				return nil, err
			}
			return parseJWKS(text, c.Algorithms)
		}, nil
	}
	u, err := url.Parse(c.JWKS)
	if err != nil || u.User != nil {
		return nil, errors.New(`"jwks" is no URL such as https://issuer.example/.well-known/jwks.json`)
	}
	if err := safe(u); err != nil {
		return nil, err
	}
	roots := (*x509.CertPool)(nil) // the system's
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf(`"ca": %w`, err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf(`"ca": no certificate in %s`, c.CA)
		}
	}
	client := &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, // it is asked once in minutes
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirects")
			}
			return safe(r.URL)
		},
	}
	return func(ctx context.Context) ([]key, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.JWKS, nil)
		if err != nil {
			return nil, err
		}
		res, err := client.Do(r)
		if err != nil {
			if inner := (*url.Error)(nil); errors.As(err, &inner) {
				err = inner.Err // without the URL
			}
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("answered %s", res.Status)
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, largestSet+1))
		if err != nil {
			return nil, err
		}
		return parseJWKS(text, c.Algorithms)
	}, nil
}

// whereIs is a file or URL as it may be in a log: without what a URL has after its path, which
// may be a secret.
func whereIs(jwks string) string {
	u, err := url.Parse(jwks)
	if err != nil || !strings.Contains(jwks, "://") {
		return jwks // a file, or refused anyway
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// safe holds that nobody on the way can put in a key.
func safe(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("keys are fetched by https only, but from this machine")
}

// parseJWKS reads the public keys for signatures; what else is in a set is not for us. A set
// that is empty is a good one, without keys; one of which nothing can be used is an error.
func parseJWKS(text []byte, algorithms []string) ([]key, error) {
	if len(text) > largestSet {
		return nil, fmt.Errorf("has more than %d bytes", largestSet)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New("is no JWK set")
	}
	if len(set.Keys) == 0 {
		return nil, nil // all are withdrawn
	}
	var keys []key
	for _, raw := range set.Keys {
		var j jose.JSONWebKey
		if err := j.UnmarshalJSON(raw); err != nil || !j.IsPublic() || j.Use != "" && j.Use != "sig" {
			continue
		}
		k, err := newKey(j.KeyID, j.Key, algorithms...)
		if err == nil && j.Algorithm != "" {
			k, err = newKey(j.KeyID, j.Key, narrowed(k.algorithms, j.Algorithm)...)
		}
		if err == nil {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("has no public key for signatures that could be used")
	}
	return keys, nil
}

// narrowed is the algorithm if it is among them, else a word that is none.
func narrowed(algorithms []jose.SignatureAlgorithm, to string) []string {
	for _, a := range algorithms {
		if string(a) == to {
			return []string{to}
		}
	}
	return []string{"none of them"}
}
