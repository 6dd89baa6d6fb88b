package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
)

// warnings are what is right as a config and yet may not be what is meant.
func (c *checkup) warnings() []string {
	out := append(slices.Clone(c.problems), c.inTheClear()...)
	_, hasDefault := c.cfg.Default[mux.ClientAuthenticate]
	if c.hooked(mux.ClientAuthenticate) && !hasDefault {
		out = append(out, `a login about which no provider has an opinion is refused by EMQX 5.8 and
older, and let in by 5.10, if EMQX has no authenticator of its own. Say which
you want:

    default:
      client.authenticate: deny    # or allow`)
	}
	for i := range c.cfg.Providers {
		if p := &c.cfg.Providers[i]; p.Timeout > c.cfg.Timeout && c.waitedFor(i) {
			out = append(out, fmt.Sprintf("provider %s has a timeout of %s, but all providers together have %s (timeout, at the top of the file).", p.Name, p.Timeout, c.cfg.Timeout))
		}
		if w := c.notStored(i); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// waitedFor says whether EMQX is known to wait for a provider, within the time that all
// have together.
func (c *checkup) waitedFor(i int) bool {
	p := &c.cfg.Providers[i]
	return c.known[i] && slices.ContainsFunc(c.wants[i], func(w mux.HookSpec) bool {
		if w.Hook.Valued() {
			return !p.Observe
		}
		return p.Delivery[w.Hook] == mux.Sync
	})
}

// notStored says what a provider is asked about although it has delivery: durable for all
// hooks. As a mapping, that is an error of the config.
func (c *checkup) notStored(i int) string {
	p := &c.cfg.Providers[i]
	var hooks, on []string
	for _, w := range c.wants[i] {
		if c.known[i] && w.Hook.Valued() && !p.Observe && p.Delivery[w.Hook] == mux.Durable {
			hooks = append(hooks, w.Hook.String())
			on = append(on, policies(p.OnFailure[w.Hook]))
		}
	}
	if hooks == nil {
		return ""
	}
	return fmt.Sprintf(`provider %s has delivery: durable, but is asked about %s:
that is not stored, clients wait for its answer, and its on_failure (%s) decides
when there is none. Set observe: true to have it told durably, or, if it is to
answer, let delivery name the hooks that are to be stored.`, p.Name, strings.Join(hooks, ", "), strings.Join(slices.Compact(on), "; "))
}

// hints are what EMQX's own config has to be like, which hookmux cannot see.
func (c *checkup) hints() (out []string) {
	if c.hooked(mux.ClientAuthorize) {
		out = append(out, `EMQX asks about client.authorize only what its own authorization sources leave
open, and its shipped acl.conf answers everything. For hookmux to be asked, EMQX
needs authorization.sources = [].`)
	}
	return out
}

// warner logs what check would warn of.
type warner struct {
	all sync.WaitGroup
	mu  sync.Mutex
	was []string
}

// about logs the warnings of a config that were not logged before, once its
// providers have had their first chance.
func (w *warner) about(ctx context.Context, a *app.App, cfg *config.Config, log *slog.Logger) {
	w.all.Go(func() {
		select {
		case <-a.Ready():
		case <-ctx.Done():
			return
		}
		c := &checkup{cfg: cfg}
		c.fromProviders(a.Providers())
		w.mu.Lock()
		defer w.mu.Unlock()
		once := func(log func(string, ...any), texts []string) {
			for _, text := range texts {
				if text = strings.Join(strings.Fields(text), " "); !slices.Contains(w.was, text) {
					log(text)
					w.was = append(w.was, text)
				}
			}
		}
		once(log.Warn, c.warnings())
		once(log.Info, c.hints())
	})
}

func (w *warner) wait() { w.all.Wait() }
