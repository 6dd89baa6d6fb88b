package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// keyConfig is one of: a secret, a PEM file, a JWK set.
type keyConfig struct {
	Secret       string `json:"secret"`
	SecretBase64 string `json:"secret_base64"`
	File         string `json:"file"`
	JWKS         string `json:"jwks"` // a URL or a file
	// CA is a PEM file of who may have signed the URL's certificate.
	CA string `json:"ca"`
	// Algorithms narrows what the kind of key allows.
	Algorithms []string `json:"algorithms"`
	// Refresh is how often a file or URL is read again.
	Refresh sdk.Duration `json:"refresh"`
	// MaxAge is how long keys count that cannot be read again.
	MaxAge sdk.Duration `json:"max_age"`
}

const (
	defaultRefresh = 5 * time.Minute
	defaultMaxAge  = 24 * time.Hour
	// A key id that is not known has the keys read again, and no more often than this:
	// anybody can make up key ids.
	atMostEvery = 10 * time.Second
	// So many keys are tried at most that may be a token's because it or they have no key id.
	mostTries = 8
)

// key is a key that tokens may be signed with.
type key struct {
	id         string // "": it fits every key id
	key        any
	algorithms []jose.SignatureAlgorithm
}

// algorithmsOf are those that a kind of key is for. It is the key that says how it may be used,
// never the token: a public key is no HMAC secret.
func algorithmsOf(k any) []jose.SignatureAlgorithm {
	switch k := k.(type) {
	case []byte: // RFC 7518: as long as the hash, or longer
		all := []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
		return all[:max(0, min(len(k)/16-1, 3))]
	case *rsa.PublicKey:
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []jose.SignatureAlgorithm{jose.ES256}
		case 384:
			return []jose.SignatureAlgorithm{jose.ES384}
		case 521:
			return []jose.SignatureAlgorithm{jose.ES512}
		}
	}
	return nil
}

// newKey is a key for what its kind allows, narrowed by what the config and the key say.
func newKey(id string, k any, only ...string) (key, error) {
	algorithms := algorithmsOf(k)
	if algorithms == nil {
		return key{}, fmt.Errorf("keys of the kind %T are not possible", k)
	}
	if r, ok := k.(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
		return key{}, fmt.Errorf("an RSA key of %d bits; at least 2048 are needed", r.N.BitLen())
	}
	if len(only) > 0 {
		algorithms = slices.DeleteFunc(algorithms, func(a jose.SignatureAlgorithm) bool { return !slices.Contains(only, string(a)) })
	}
	if len(algorithms) == 0 {
		return key{}, fmt.Errorf("the key is too short, or of another kind, for %s", strings.Join(only, ", "))
	}
	return key{id, k, algorithms}, nil
}

// keyring has the keys of all sources.
type keyring struct {
	sources    []*source
	algorithms []jose.SignatureAlgorithm // that any token may have

	life    context.Context
	end     context.CancelFunc
	reading sync.WaitGroup
}

// source is one place that keys come from. A secret is read once.
type source struct {
	where   string
	load    func(context.Context) ([]key, error)
	named   bool // its keys have ids
	fixed   bool
	refresh time.Duration
	maxAge  time.Duration

	mu      sync.Mutex
	keys    []key
	good    time.Time // when they were last read
	tried   time.Time
	failed  bool
	reading chan struct{} // closed when it is done; nil when nobody reads
}

func newKeyring(configs []keyConfig) (*keyring, error) {
	if len(configs) == 0 {
		return nil, errors.New("there are none, so nobody could log in")
	}
	r := &keyring{}
	r.life, r.end = context.WithCancel(context.Background())
	for i, c := range configs {
		s, err := newSource(c)
		if err != nil {
			return nil, fmt.Errorf("number %d: %w", i+1, err)
		}
		r.sources = append(r.sources, s)
		// What a file or URL will bring is not known: all but HMAC.
		r.algorithms = append(r.algorithms, possible(c)...)
	}
	slices.Sort(r.algorithms)
	r.algorithms = slices.Compact(r.algorithms)
	return r, nil
}

func possible(c keyConfig) []jose.SignatureAlgorithm {
	all := algorithmsOf(make([]byte, 64))
	if c.Secret == "" && c.SecretBase64 == "" {
		all = append(algorithmsOf(&rsa.PublicKey{}), jose.ES256, jose.ES384, jose.ES512, jose.EdDSA)
	}
	if len(c.Algorithms) > 0 {
		all = slices.DeleteFunc(all, func(a jose.SignatureAlgorithm) bool { return !slices.Contains(c.Algorithms, string(a)) })
	}
	return all
}

func newSource(c keyConfig) (*source, error) {
	given := 0
	for _, s := range []string{c.Secret, c.SecretBase64, c.File, c.JWKS} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("must have one of secret, secret_base64, file and jwks")
	}
	if c.Refresh < 0 || c.MaxAge < 0 {
		return nil, errors.New(`"refresh" and "max_age" must not be negative`)
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(possible(keyConfig{Secret: c.Secret, SecretBase64: c.SecretBase64}), jose.SignatureAlgorithm(a)) {
			return nil, fmt.Errorf("%q is no algorithm for it; allowed: %s", a, possible(keyConfig{Secret: c.Secret, SecretBase64: c.SecretBase64}))
		}
	}
	s := &source{refresh: time.Duration(c.Refresh), maxAge: time.Duration(c.MaxAge)}
	if s.refresh == 0 {
		s.refresh = defaultRefresh
	}
	if s.maxAge == 0 {
		s.maxAge = defaultMaxAge
	}
	switch {
	case c.File != "":
		s.where = c.File
		s.load = func(context.Context) ([]key, error) { return readPEM(c.File, c.Algorithms) }
		return s, nil
	case c.JWKS != "":
		s.where, s.named = whereIs(c.JWKS), true
		var err error
		s.load, err = jwksLoader(c)
		return s, err
	}
	return s, s.secret(c)
}

func (s *source) secret(c keyConfig) error {
	const enough = 32
	secret := []byte(c.Secret)
	if c.SecretBase64 != "" {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(c.SecretBase64); err != nil {
			return errors.New(`"secret_base64" is not base64`)
		}
	}
	if len(secret) < enough {
		return fmt.Errorf("the secret has %d bytes; RFC 7518 asks for %d or more: openssl rand -base64 33", len(secret), enough)
	}
	k, err := newKey("", secret, c.Algorithms...)
	s.keys, s.fixed = []key{k}, true
	return err
}

// first reads all keys. A file must be there; a URL may be away for now.
func (r *keyring) first(ctx context.Context) error {
	for _, s := range r.sources {
		if s.fixed {
			continue
		}
		if err := s.read(ctx); err != nil {
			if !strings.Contains(s.where, "://") {
				return err
			}
			slog.Warn("keys cannot be fetched; until they are, tokens that need them have no answer", "keys", s.where, "error", err.Error())
		}
	}
	return nil
}

// keepFresh reads keys again from time to time, until stop.
func (r *keyring) keepFresh() {
	r.reading.Go(func() {
		tick := time.NewTicker(atMostEvery)
		defer tick.Stop()
		for {
			select {
			case <-r.life.Done():
				return
			case now := <-tick.C:
				for _, s := range r.sources {
					if s.due(now) {
						r.readAgain(s)
					}
				}
			}
		}
	})
}

func (r *keyring) stop() {
	r.end()
	r.reading.Wait()
}

// readAgain has a source read, unless that is under way or was done just now. The channel is
// closed when it is done; nil: it is not. It does not end with the client that asked for it.
func (r *keyring) readAgain(s *source) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading != nil {
		return s.reading
	}
	if time.Since(s.tried) < atMostEvery || r.life.Err() != nil {
		return nil
	}
	done := make(chan struct{})
	s.reading = done
	r.reading.Go(func() {
		_ = s.read(r.life) // it has logged that
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading = nil
		close(done)
	})
	return done
}

// due reports whether it is time to read again; what failed is tried again soon.
func (s *source) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fixed && (s.failed || now.Sub(s.good) >= s.refresh)
}

// read reads the keys. When that fails, those of before stay.
func (s *source) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := s.load(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = time.Now()
	switch {
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return err // we stop
	case err != nil && !s.failed && !s.good.IsZero():
		slog.Warn("keys cannot be read again; those of before count on", "keys", s.where, "at_most", s.maxAge, "error", err.Error())
	case err == nil && s.failed:
		slog.Info("keys can be read again", "keys", s.where)
	}
	s.failed = err != nil
	if err != nil {
		return fmt.Errorf("read %s: %w", s.where, err)
	}
	if len(keys) == 0 && (len(s.keys) > 0 || s.good.IsZero()) {
		slog.Error("the issuer has withdrawn all keys: from now on none of its tokens is good", "keys", s.where)
	}
	s.keys, s.good = keys, s.tried
	return nil
}

// find gives the keys that a token with this header may be signed with. A key id that is
// not known may be new, so the keys are read again, but not often, and that is waited for with
// a third of the time that is left. It is an error if a source has no keys, or only too old
// ones, and the others know none.
func (r *keyring) find(ctx context.Context, id string, a jose.SignatureAlgorithm) ([]key, error) {
	if found, _ := r.known(id, a); len(found) > 0 {
		return found, nil
	}
	// Anybody can make up key ids: while an issuer is slow, that must not use up the time that
	// hookmux gives this plugin, which would count as its failure.
	if by, ok := ctx.Deadline(); ok {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, time.Until(by)/3)
		defer done()
	}
	for _, s := range r.sources {
		if !s.named {
			continue
		}
		if done := r.readAgain(s); done != nil {
			select {
			case <-done:
			case <-ctx.Done(): // it is read on, for those who come later
			}
		}
	}
	found, err := r.known(id, a)
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// known gives first the keys with just this id, and then some that may be the one.
func (r *keyring) known(id string, a jose.SignatureAlgorithm) (found []key, err error) {
	var perhaps []key
	for _, s := range r.sources {
		s.mu.Lock()
		stale := !s.fixed && time.Since(s.good) > s.maxAge
		if stale {
			err = fmt.Errorf("no keys from %s, or none from within %s", s.where, s.maxAge)
		}
		for _, k := range s.keys {
			switch {
			case stale || !slices.Contains(k.algorithms, a):
			case id != "" && k.id == id:
				found = append(found, k)
			case (id == "" || k.id == "") && len(perhaps) < mostTries:
				perhaps = append(perhaps, k)
			}
		}
		s.mu.Unlock()
	}
	return append(found, perhaps...), err
}
