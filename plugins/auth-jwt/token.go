package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// longestToken bounds what is decoded before a signature is known to be good, in bytes.
const longestToken = 16 << 10

// token is what is remembered of one.
type token struct {
	expires time.Time // zero: never
	acl     *acl      // nil: the token has none
}

// refusedToken says why a token is refused. The set is closed; nothing of the token is in it.
type refusedToken string

func (r refusedToken) Error() string { return string(r) }

const (
	errNoToken   = refusedToken("no token")
	errTooLong   = refusedToken("token too long")
	errMalformed = refusedToken("malformed token")
	errAlgorithm = refusedToken("token signed in a way that no key allows")
	errNoKey     = refusedToken("token signed with a key that is not known")
	errSignature = refusedToken("token with a wrong signature")
	errClaims    = refusedToken("token with claims that cannot be read")
	errExpired   = refusedToken("token has expired")
	errNoExpiry  = refusedToken("token without an expiry")
	errTooEarly  = refusedToken("token is not valid yet")
	errIssuer    = refusedToken("token of another issuer")
	errAudience  = refusedToken("token for another audience")
	errOthers    = refusedToken("token whose claims are not this client's")
	errACL       = refusedToken("token with a list that is not understood")
)

// verify gives the client's token. The error is a refusedToken, or says that there are no
// keys to tell.
func (p *plugin) verify(ctx context.Context, c *sdk.ClientInfo) (*token, error) {
	text := c.GetPassword()
	if p.config.From == "username" {
		text = c.GetUsername()
	}
	if strings.Count(text, ".") != 2 {
		return nil, errNoToken
	}
	if len(text) > longestToken {
		return nil, errTooLong
	}
	// Of the header only alg and kid count. jku, x5u, jwk and x5c would let the token
	// bring its own key.
	parsed, err := jwt.ParseSigned(text, p.keys.algorithms)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return nil, errAlgorithm
	case err != nil:
		return nil, errMalformed
	}
	header := parsed.Headers[0]
	candidates, err := p.keys.find(ctx, header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, errNoKey
	}
	var all map[string]json.RawMessage
	for _, k := range candidates {
		if err = parsed.Claims(k.key, &all); err == nil || !errors.Is(err, jose.ErrCryptoFailure) {
			break
		}
	}
	switch {
	case errors.Is(err, jose.ErrCryptoFailure):
		return nil, errSignature
	case err != nil:
		return nil, errClaims
	}
	var standard jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&standard); err != nil { // it has been verified
		return nil, errClaims
	}
	if err := p.check(c, &standard, all); err != nil {
		return nil, err
	}
	t := new(token)
	if standard.Expiry != nil {
		t.expires = standard.Expiry.Time()
	}
	if p.config.ACL != nil {
		if t.acl, err = parseACL(all[p.config.ACL.Claim]); err != nil {
			return nil, errACL
		}
	}
	return t, nil
}

func (p *plugin) check(c *sdk.ClientInfo, standard *jwt.Claims, all map[string]json.RawMessage) error {
	if standard.Expiry == nil && !p.config.WithoutExpiry {
		return errNoExpiry
	}
	expected := jwt.Expected{Issuer: p.config.Issuer, Time: time.Now()}
	if p.config.Audience != "" {
		expected.AnyAudience = jwt.Audience{p.config.Audience}
	}
	err := standard.ValidateWithLeeway(expected, time.Duration(p.config.Leeway))
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return errExpired
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errTooEarly
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return errIssuer
	case errors.Is(err, jwt.ErrInvalidAudience):
		return errAudience
	case err != nil:
		return errClaims
	}
	for name, want := range p.config.Claims {
		if !claimIs(all[name], want, c) {
			return errOthers
		}
	}
	return nil
}

// placeholders for the value of a claim.
//
//nolint:gochecknoglobals // a constant table
var placeholders = map[string]func(*sdk.ClientInfo) string{
	"%c": (*sdk.ClientInfo).GetClientid, "${clientid}": (*sdk.ClientInfo).GetClientid,
	"%u": (*sdk.ClientInfo).GetUsername, "${username}": (*sdk.ClientInfo).GetUsername,
}

// likePlaceholder is what the author of a value may take for one.
var likePlaceholder = regexp.MustCompile(`%[cu]|\$\{`)

// claimIs reports whether a claim is a text and just this one; %c and %u stand for the client's
// id and user name, and what they stand for is not empty.
func claimIs(claim json.RawMessage, want string, c *sdk.ClientInfo) bool {
	var have string
	if !bytes.HasPrefix(bytes.TrimSpace(claim), []byte(`"`)) || json.Unmarshal(claim, &have) != nil {
		return false
	}
	if of := placeholders[want]; of != nil {
		want = of(c)
	}
	return have != "" && have == want
}
