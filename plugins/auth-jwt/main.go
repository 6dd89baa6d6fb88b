// Auth-jwt lets clients in by a JSON Web Token, and lets them do what is in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/refusal"
	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// From is where the token is: password or username.
	From string `json:"from"`
	// NoToken is what something means that is no token at all: deny or ignore.
	NoToken string `json:"no_token"`
	// Keys are those that tokens may be signed with.
	Keys []keyConfig `json:"keys"`
	// Issuer and Audience must be the token's, if they are not empty.
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	// Claims must have these values; %c and %u are the client's.
	Claims map[string]string `json:"claims"`
	// WithoutExpiry lets tokens in that are good for ever.
	WithoutExpiry bool `json:"without_expiry"`
	// Leeway is how far clocks may be apart.
	Leeway sdk.Duration `json:"leeway"`
	// ACL has the plugin answer client.authorize by a claim.
	ACL *aclConfig `json:"acl"`
}

type aclConfig struct {
	// Claim is its name.
	Claim string `json:"claim"`
	// Without is what a token without the claim means: ignore or deny.
	Without string `json:"without"`
	// UnknownClient is what a client means whose token was not seen: deny or ignore.
	UnknownClient string `json:"unknown_client"`
	// MaxClients bounds what is remembered.
	MaxClients int `json:"max_clients"`
}

const (
	defaultLeeway     = 10 * time.Second
	defaultMaxClients = 100_000
)

type plugin struct {
	config  config
	keys    *keyring
	clients *clients // nil without an ACL
	refused refusal.Log
}

func (p *plugin) Start(ctx context.Context) error {
	c := &p.config
	for _, choice := range []struct {
		key     string
		value   *string
		allowed [2]string // the first is the default
	}{
		{`"from"`, &c.From, [2]string{"password", "username"}},
		{`"no_token"`, &c.NoToken, [2]string{"deny", "ignore"}},
	} {
		if err := choose(choice.key, choice.value, choice.allowed); err != nil {
			return err
		}
	}
	if c.Leeway < 0 || time.Duration(c.Leeway) > time.Hour {
		return errors.New(`config: "leeway" must be from 0s to 1h`)
	}
	for name, value := range c.Claims {
		if placeholders[value] == nil && likePlaceholder.MatchString(value) {
			return fmt.Errorf(`config: "claims": %q is %q, but a placeholder (%%c, %%u, ${clientid}, ${username}) stands for all of a value`, name, value)
		}
	}
	if c.ACL != nil {
		if err := p.startACL(c.ACL); err != nil {
			return err
		}
	}
	var err error
	if p.keys, err = newKeyring(c.Keys); err != nil {
		return fmt.Errorf(`config: "keys": %w`, err)
	}
	if err := p.keys.first(ctx); err != nil {
		return fmt.Errorf(`config: "keys": %w`, err)
	}
	p.keys.keepFresh()
	return nil
}

func choose(key string, value *string, allowed [2]string) error {
	switch *value {
	case "":
		*value = allowed[0]
	case allowed[0], allowed[1]:
	default:
		return fmt.Errorf("config: %s is %q; allowed: %s, %s", key, *value, allowed[0], allowed[1])
	}
	return nil
}

func (p *plugin) startACL(c *aclConfig) error {
	if c.Claim == "" {
		c.Claim = "acl"
	}
	if err := choose(`"acl.without"`, &c.Without, [2]string{"ignore", "deny"}); err != nil {
		return err
	}
	if err := choose(`"acl.unknown_client"`, &c.UnknownClient, [2]string{"deny", "ignore"}); err != nil {
		return err
	}
	if c.MaxClients == 0 {
		c.MaxClients = defaultMaxClients
	}
	var err error
	p.clients, err = newClients(c.MaxClients)
	return err
}

// Stop ends the fetching of keys.
func (p *plugin) Stop(context.Context) error {
	p.keys.stop()
	return nil
}

// OnClientAuthenticate lets a client in whose token is good. Without keys to check it by,
// that is an error, and not a wrong token.
func (p *plugin) OnClientAuthenticate(ctx context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	c := r.GetClientinfo()
	t, err := p.verify(ctx, c)
	var why refusedToken
	switch {
	case errors.Is(err, errNoToken) && p.config.NoToken == "ignore":
		if p.clients != nil {
			p.clients.withoutToken(c)
		}
		return sdk.NoOpinion, nil
	case errors.As(err, &why):
		p.refused.Deny(string(why), p.loggable(c))
		return sdk.Deny.Final(), nil
	case err != nil:
		return 0, err
	}
	if p.clients != nil {
		p.clients.loggedIn(c, t)
	}
	return sdk.Allow, nil
}

// loggable is what of a client may be in a log: a user name that is a token may not.
func (p *plugin) loggable(c *sdk.ClientInfo) *sdk.ClientInfo {
	if p.config.From != "username" {
		return c
	}
	return &sdk.ClientInfo{Username: "(the token)", Clientid: c.GetClientid(), Peerhost: c.GetPeerhost()}
}

// withACL is the plugin that also lets clients do what their token says.
type withACL struct{ *plugin }

// OnClientAuthorize answers by the token that the client logged in with.
func (p withACL) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	q := topicfilter.Of(r)
	t := p.clients.token(q.Client)
	switch {
	case t == nil && p.config.ACL.UnknownClient == "ignore":
		return sdk.NoOpinion, nil
	case t == nil:
		return p.deny("the token of this client was not seen", &q)
	case !t.expires.IsZero() && time.Now().After(t.expires.Add(time.Duration(p.config.Leeway))):
		return p.deny("the token has expired since", &q)
	case t.acl == nil && p.config.ACL.Without == "ignore":
		return sdk.NoOpinion, nil
	case t.acl.allows(&q):
		return sdk.Allow, nil
	}
	return p.deny("not in the token's list", &q)
}

func (p withACL) deny(why string, q *topicfilter.Question) (sdk.Access, error) {
	p.refused.Deny(why, p.loggable(q.Client), "action", q.Action(), "topic", refusal.Short(q.Topic))
	return sdk.Deny.Final(), nil
}

// OnClientConnected counts connections that have no port.
func (p withACL) OnClientConnected(_ context.Context, r *sdk.ClientConnectedRequest) error {
	p.clients.connected(r.GetClientinfo())
	return nil
}

// OnClientDisconnected forgets a connection.
func (p withACL) OnClientDisconnected(_ context.Context, r *sdk.ClientDisconnectedRequest) error {
	p.clients.disconnected(r.GetClientinfo())
	return nil
}

func main() {
	p := &plugin{config: config{Leeway: sdk.Duration(defaultLeeway)}}
	sdk.MustConfig(&p.config)
	if p.config.ACL != nil {
		sdk.Serve(withACL{p})
	}
	sdk.Serve(p)
}
