package app

import (
	"context"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
)

// startAdmin serves operators, where the config says or else where Options do.
func (a *App) startAdmin() error {
	path := a.cfg.Admin
	if path == "" {
		path = a.opts.Admin
	}
	if path == "" || path == config.Off {
		return nil
	}
	l, err := admin.Listen(path)
	if err != nil {
		if a.cfg.Admin != "" {
			return err
		}
		a.log.Warn("hookmux runs without an admin socket: hookmux status, reload and restart do not work; the key admin says where it goes", "error", err)
		return nil
	}
	s := admin.Serve(l, control{a})
	a.undo = append(a.undo, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Close(ctx)
	})
	a.log.Info("listening for operators", "socket", path)
	return nil
}

// control is the App as package admin sees it.
type control struct{ *App }

// Status implements admin.Control.
func (c control) Status() admin.Status {
	c.mu.Lock()
	cfg, units := c.cfg, c.units
	c.mu.Unlock()
	s := admin.Status{Version: c.opts.Version, Config: c.opts.ConfigPath, Listen: cfg.Listen, Providers: []admin.Provider{}, Brokers: []admin.Broker{}}
	select {
	case <-c.mux.Ready():
		s.Ready = true
	default:
	}
	for _, u := range units {
		s.Providers = append(s.Providers, statusOf(u))
	}
	for _, r := range c.mux.Registrations() {
		s.Brokers = append(s.Brokers, admin.Broker{
			Node: r.Node, Version: r.Version, Service: r.API.Service(), Hooks: names(r.Told), Missing: names(r.Missing),
		})
	}
	return s
}

func statusOf(u *unit) admin.Provider {
	p, state := u.provider, u.host.State()
	out := admin.Provider{
		Name: p.Name(), Kind: "plugin",
		Status: string(state.Status), Since: state.Since, Pid: state.Pid, Restarts: state.Restarts, LastError: state.LastErr, Problems: state.Problems,
		Breakers: make(map[string]string), Dropped: make(map[string]int64), Decided: make(map[string]int64), Missing: make(map[string]int64),
	}
	if u.cfg.IsRemote() {
		out.Kind = "remote"
	}
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
