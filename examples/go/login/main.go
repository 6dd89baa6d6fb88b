// Login lets clients in by user name and password.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Users are passwords by user name.
	Users map[string]string `json:"users"`
}

type plugin struct{ config config }

func (p *plugin) Start(context.Context) error {
	if len(p.config.Users) == 0 {
		return errors.New(`config: "users" is empty, so nobody could log in`)
	}
	for name, password := range p.config.Users {
		if password == "" {
			return fmt.Errorf("config: user %q has an empty password", name)
		}
	}
	return nil
}

// OnClientAuthenticate refuses a wrong password for good. An unknown user is
// refused unless a later plugin knows better.
func (p *plugin) OnClientAuthenticate(_ context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	client := r.GetClientinfo()
	want, known := p.config.Users[client.GetUsername()]
	same := equal(client.GetPassword(), want)
	switch {
	case known && same:
		return sdk.Allow, nil
	case known:
		deny(client, "wrong password")
		return sdk.Deny.Final(), nil
	default:
		deny(client, "unknown user")
		return sdk.Deny, nil
	}
}

// equal takes the same time whatever the passwords and their lengths are.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func deny(client *sdk.ClientInfo, why string) {
	slog.Info("login denied", "user", client.GetUsername(), "client", client.GetClientid(),
		"address", client.GetPeerhost(), "why", why)
}

func main() {
	var p plugin
	sdk.MustConfig(&p.config)
	sdk.Serve(&p)
}
