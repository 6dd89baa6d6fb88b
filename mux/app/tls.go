package app

import (
	"crypto/tls"
	"fmt"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/secure"
	"github.com/hookmux/hookmux/mux/server"
)

// brokerTLS is what brokers meet now; a reload may put another in its place.
type brokerTLS struct {
	source *secure.Source
	tls    *tls.Config
}

// loadTLS reads what cfg says brokers are to meet; nil: no TLS.
func (a *App) loadTLS(cfg *config.Config) (*brokerTLS, error) {
	if cfg.TLS == nil {
		return nil, nil
	}
	t := cfg.TLS
	source, err := secure.Load(secure.Files{Cert: t.Cert, Key: t.Key, CA: t.ClientCA}, a.log)
	if err != nil {
		return nil, err
	}
	return &brokerTLS{source: source, tls: source.Server(t.ClientNames, "h2")}, nil
}

// serverOptions are the server's from the config that Start has.
func (a *App) serverOptions() (server.Options, error) {
	opts := server.Options{Limits: limitsOf(a.cfg), Log: a.log}
	t, err := a.loadTLS(a.cfg)
	if err != nil || t == nil {
		return opts, err
	}
	a.tls.Store(t)
	opts.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return a.tls.Load().tls.GetConfigForClient(hello)
		},
	}
	return opts, nil
}

func limitsOf(cfg *config.Config) server.Limits {
	l := cfg.Limits
	return server.Limits{Message: int(l.Message), Calls: l.Calls, Connections: l.Connections}
}

// reloadTLS reads all TLS files anew, for a reload: each connection does that, too, but
// who asks for a reload is to hear of one that cannot be used.
func (a *App) reloadTLS(cfg *config.Config, p *plan, restart string) (*brokerTLS, error) {
	if restart != "" {
		return nil, nil
	}
	for _, u := range p.units {
		if u.tls == nil {
			continue
		}
		if err := u.tls.Refresh(); err != nil {
			return nil, fmt.Errorf("provider %s: %w", u.cfg.Name, err)
		}
	}
	if a.adminTLS != nil {
		if err := a.adminTLS.Refresh(); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	return a.loadTLS(cfg)
}

// newRemote makes a remote's host, and gives its TLS files; nil: it has none.
func newRemote(c *config.Provider, p *mux.Provider, opts host.Options) (providerHost, *secure.Source, error) {
	spec := host.RemoteSpec{URL: c.URL}
	var source *secure.Source
	if t := c.TLS; t != nil {
		var err error
		if source, err = secure.Load(secure.Files{Cert: t.Cert, Key: t.Key, CA: t.CA}, opts.Log.With("provider", c.Name)); err != nil {
			return nil, nil, err
		}
		name := t.ServerName
		spec.TLS = func() *tls.Config { return source.Client(name) }
	}
	h, err := host.NewRemote(p, spec, opts)
	return h, source, err
}
