package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/secure"
	"github.com/hookmux/hookmux/mux/trail"
)

// startAdmin serves operators, where the config says or else where Options do.
func (a *App) startAdmin() error {
	cfg := a.cfg.Admin
	at := cmp.Or(cfg.Listen, a.opts.Admin)
	if at == "" || at == config.Off {
		return nil
	}
	opts := admin.Options{Token: string(cfg.Token), OpenMetrics: cfg.OpenMetrics, Metrics: a.metrics.Handler(), Spool: a.adminSpool}
	l, err := a.listenAdmin(at, &opts)
	if err != nil {
		if cfg.Listen != "" {
			return err
		}
		a.log.Warn("hookmux runs without an admin socket: hookmux status, reload and the like do not work; the key admin says where it goes", "error", err)
		return nil
	}
	a.admin = admin.Serve(l, control{a}, opts)
	a.undo = append(a.undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a.admin.Close(ctx)
	})
	switch {
	case opts.TLS != nil:
		a.log.Info("listening for operators", "url", "https://"+l.Addr().String())
	case cfg.IsTCP():
		a.log.Info("listening for operators", "url", "http://"+l.Addr().String())
	default:
		a.log.Info("listening for operators", "socket", at)
	}
	return nil
}

func (a *App) listenAdmin(at string, opts *admin.Options) (net.Listener, error) {
	cfg := a.cfg.Admin
	if !cfg.IsTCP() {
		return admin.Listen(at)
	}
	if cfg.Cert != "" {
		source, err := secure.Load(secure.Files{Cert: cfg.Cert, Key: cfg.Key}, a.log)
		if err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		a.adminTLS, opts.TLS = source, source.Server(nil, "http/1.1")
	}
	return admin.ListenTCP(at, cfg.Cert != "")
}

// reloadAdmin puts in place what of the admin side can change while it runs.
func (a *App) reloadAdmin(cfg *config.Config) {
	if a.admin != nil && cfg.Admin.Token != a.cfg.Admin.Token {
		a.admin.SetToken(string(cfg.Admin.Token))
	}
}

// control is the App as package admin sees it.
type control struct{ *App }

// Status implements admin.Control.
func (c control) Status() admin.Status {
	c.mu.Lock()
	cfg, units := c.cfg, c.units
	c.mu.Unlock()
	s := admin.Status{
		Version: c.opts.Version, Config: c.opts.ConfigPath, Listen: cfg.Listen, Started: c.since,
		Providers: []admin.Provider{}, Hooks: hooksOf(cfg, units), Brokers: []admin.Broker{},
	}
	if strings.HasSuffix(s.Listen, ":0") {
		s.Listen = c.Addr() // any free port: which one it is
	}
	select {
	case <-c.mux.Ready():
		s.Ready = true
	default:
	}
	for _, u := range units {
		s.Providers = append(s.Providers, statusOf(u, c.since))
	}
	for _, r := range c.mux.Registrations() {
		s.Brokers = append(s.Brokers, admin.Broker{
			Node: r.Node, Version: r.Version, Service: r.API.Service(), Hooks: names(r.Told), Missing: names(r.Missing),
		})
	}
	return s
}

// Search implements admin.Control.
func (c control) Search(q trail.Query) *trail.Found { return c.trail.Search(q) }

// Follow implements admin.Control.
func (c control) Follow(f trail.Filter) (*trail.Follower, error) { return c.trail.Follow(f) }

// hooksOf is who is asked about each hook, in chain order, and told of it.
func hooksOf(cfg *config.Config, units []*unit) []admin.Hook {
	out := []admin.Hook{}
	for _, h := range mux.Hooks() {
		row := admin.Hook{Hook: h.String(), Valued: h.Valued(), Providers: []admin.HookProvider{}}
		if h.Valued() {
			row.Strategy = cfg.Strategy[h].String()
		}
		allow, hasDefault := cfg.Default[h]
		if hasDefault {
			row.Default = map[bool]string{true: "allow", false: "deny"}[allow]
		}
		for _, u := range units {
			wants, _ := u.provider.Wants()
			for _, w := range wants {
				if w.Hook == h {
					row.Providers = append(row.Providers, hookProvider(u.provider, w))
				}
			}
		}
		if len(row.Providers) > 0 || hasDefault {
			out = append(out, row)
		}
	}
	return out
}

func hookProvider(p *mux.Provider, w mux.HookSpec) admin.HookProvider {
	spec := p.Spec()
	out := admin.HookProvider{
		Name: spec.Name, Topics: append([]string{}, w.Topics...), TimeoutMs: spec.Timeout.Milliseconds(),
		Pure: w.Pure, Observe: spec.Observe && w.Hook.Valued(), Delivery: spec.Delivery[w.Hook].String(),
	}
	if spec.Pure != nil {
		out.Pure = *spec.Pure && w.Hook.Valued()
	}
	if w.Hook.Valued() && !spec.Observe {
		out.Policy = make(map[string]string)
		for _, c := range mux.Causes() {
			out.Policy[c.String()] = spec.OnFailure[w.Hook][c].String()
		}
	}
	return out
}

func statusOf(u *unit, started time.Time) admin.Provider {
	p, state := u.provider, u.host.State()
	out := admin.Provider{
		Name: p.Name(), Kind: "plugin",
		Status: string(state.Status), Since: state.Since, Pid: state.Pid, Restarts: state.Restarts, LastError: state.LastErr, Problems: state.Problems, TimeoutMs: p.Spec().Timeout.Milliseconds(),
		Breakers: make(map[string]string), Dropped: make(map[string]int64), Decided: make(map[string]int64), Missing: make(map[string]int64),
	}
	if u.cfg.IsRemote() {
		out.Kind = "remote"
	}
	u.inService(&out, started)
	wants, known := p.Wants()
	out.Hooks, out.HooksKnown = names(wants), known
	out.WaitingEvents, out.WaitingBytes = p.Waiting()
	for _, h := range mux.Hooks() {
		if state := p.Breaker(h); h.Valued() && state != "" {
			out.Breakers[h.String()] = state
		}
	}
	if state := p.Breaker(mux.ClientConnected); state != "" {
		out.Breakers["notifications"] = state
	}

	if f := p.LastFailure(); f != nil {
		out.LastFailure = &admin.Failure{Time: f.Time, Error: printable(f.Error)}
	}
	stats := p.Stats()
	out.Sent, out.Delivered, out.Late = stats.Sent.Load(), stats.Delivered.Load(), stats.Late.Load()
	for _, h := range mux.Hooks() {
		if n := stats.Decided[h].Load(); n != 0 {
			out.Decided[h.String()] = n
		}
	}
	for i := range stats.Dropped {
		reason := mux.Reason(i).String()
		if n := stats.Dropped[i].Load(); n != 0 {
			out.Dropped[reason] = n
		}
		if n := stats.Missing[i].Load(); n != 0 {
			out.Missing[reason] = n
		}
	}
	return out
}

func names(hooks []mux.HookSpec) []string {
	out := []string{}
	for _, h := range hooks {
		out = append(out, h.Hook.String())
	}
	return out
}
