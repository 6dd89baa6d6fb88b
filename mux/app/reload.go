package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
)

// Changes is what a reload did.
type Changes = admin.Changes

// errStopping is why a change is refused or broken off.
var errStopping = errors.New("hookmux is stopping")

// Reload reads the config anew and puts it in place. When any of it fails, nothing
// has changed, and the error says why; it is in the log, too. Changes are made one
// after another. It returns when all is in place; old processes may then still be
// finishing what they had.
func (a *App) Reload(ctx context.Context) (*Changes, error) {
	return a.change(ctx, reload, func(ctx context.Context) (*Changes, error) {
		if a.opts.Load == nil {
			return nil, errors.New("hookmux was started without a config file")
		}
		cfg, err := a.opts.Load()
		if err != nil {
			return nil, err
		}
		return a.apply(ctx, cfg, "")
	})
}

// Apply is Reload with a config that has been read already.
func (a *App) Apply(ctx context.Context, cfg *config.Config) (*Changes, error) {
	return a.change(ctx, reload, func(ctx context.Context) (*Changes, error) { return a.apply(ctx, cfg, "") })
}

// Restart has a new process of a plugin take over from the one that runs. When the
// new one does not start, the old one stays, and the error says why.
func (a *App) Restart(ctx context.Context, name string) error {
	_, err := a.change(ctx, "restart of "+name, func(ctx context.Context) (*Changes, error) {
		i := slices.IndexFunc(a.units, func(u *unit) bool { return u.cfg.Name == name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("%w: %s", admin.ErrNoProvider, name)
		case a.units[i].off:
			return nil, fmt.Errorf("%s: %w", name, errDisabled)
		case a.units[i].cfg.IsRemote():
			return nil, fmt.Errorf("%s is a remote, which hookmux did not start: restart it where it runs", name)
		}
		return a.apply(ctx, a.cfg, name)
	})
	return err
}

// reload is what change calls one in the log.
const reload = "reload"

// change runs f when it is its turn, with a context that ends with Stop, too, and
// logs what came of it.
func (a *App) change(ctx context.Context, what string, f func(context.Context) (*Changes, error)) (*Changes, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	select {
	case <-a.started:
	case <-ctx.Done():
		return nil, a.orStopping(ctx.Err())
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, a.orStopping(ctx.Err())
	}
	select {
	case <-a.mux.Ready():
	case <-ctx.Done():
	}
	changes, err := f(ctx)
	if what == reload {
		a.metrics.Reloaded(err == nil)
	}
	if err != nil {
		err = a.orStopping(err)
		a.log.Error(what+" failed: nothing has changed", "error", err)
		return nil, err
	}
	if changes != nil {
		a.log.Info(what+" done", "changes", changes.String())
	}
	return changes, nil
}

// orStopping is err, or that hookmux is stopping, which is then why.
func (a *App) orStopping(err error) error {
	if a.life.Err() != nil {
		return errStopping
	}
	return err
}

// plan is what a new config needs, next to what runs.
type plan struct {
	units    []*unit // as they are to be, in chain order
	prepare  []*unit // those with a host of their own, which is to be started
	restarts []*unit // old ones that another takes over from
	removed  []*unit
	changes  Changes
}

// apply puts cfg in place; restart is a plugin to be started anew in any case. It
// is a.change's to call.
func (a *App) apply(ctx context.Context, cfg *config.Config, restart string) (_ *Changes, err error) {
	if err := a.fixed(cfg); err != nil {
		return nil, err
	}
	if a.openedSpool() == nil {
		if err := a.openSpool(cfg); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				a.closeSpool() // the next config may have another
			}
		}()
	}
	p, err := a.plan(cfg, restart)
	if err != nil {
		return nil, err
	}
	if err := a.prepare(ctx, p, restart); err != nil {
		return nil, err
	}
	tls, err := a.reloadTLS(cfg, p, restart)
	if err != nil {
		p.discard()
		return nil, err
	}
	// From here on nothing fails.
	for _, u := range p.restarts {
		cause := causeConfig
		if u.cfg.Name == restart {
			cause = causeOperator
		}
		a.metrics.Restarted(u.cfg.Name, cause)
		u.host.Retire()
	}
	if tls != nil {
		a.tls.Store(tls)
	}
	a.server.SetLimits(limitsOf(cfg))
	a.reloadAdmin(cfg)
	drained := a.mux.Reconfigure(a.muxOptions(cfg), providersOf(p.units))
	a.mu.Lock()
	a.cfg, a.units = cfg, p.units
	a.mu.Unlock()
	for _, u := range p.prepare {
		a.run(u)
	}
	for _, u := range p.removed {
		a.remove(u, drained)
	}
	a.trail.Configure(cfg.Trail)
	a.opts.OnConfig(cfg)
	a.setWatch(cfg)
	return &p.changes, nil
}

// fixed says what of cfg cannot change while hookmux runs.
func (a *App) fixed(cfg *config.Config) error {
	if cfg.Listen != a.cfg.Listen {
		return fmt.Errorf("listen changes from %s to %s, which needs a restart of hookmux", a.cfg.Listen, cfg.Listen)
	}
	if (cfg.TLS == nil) != (a.cfg.TLS == nil) {
		return errors.New("tls is switched on or off, which needs a restart of hookmux, and another URL in EMQX")
	}
	admin := cfg.Admin
	if admin.Token = a.cfg.Admin.Token; admin != a.cfg.Admin {
		return errors.New("admin changes in more than its token, which needs a restart of hookmux")
	}
	if cfg.State != a.cfg.State {
		return errors.New("state changes, which needs a restart of hookmux")
	}
	if cfg.Tracing != a.cfg.Tracing {
		return errors.New("tracing changes, which needs a restart of hookmux")
	}
	if a.openedSpool() != nil && !sameSpool(cfg.Spool, a.cfg.Spool) {
		return errors.New("spool changes, which needs a restart of hookmux; only its age and tries can change while it runs")
	}
	if cfg.Log.JSON != a.cfg.Log.JSON {
		return errors.New("log.format changes, which needs a restart of hookmux")
	}
	return nil
}

// plan compares cfg with what runs, and makes what is new.
func (a *App) plan(cfg *config.Config, restart string) (*plan, error) {
	p := new(plan)
	var errs []error
	before := make(map[string]*unit)
	for _, u := range a.units {
		before[u.cfg.Name] = u
	}
	for i := range cfg.Providers {
		c := &cfg.Providers[i]
		old := before[c.Name]
		delete(before, c.Name)
		u, err := a.planUnit(p, c, old, c.Name == restart)
		if err != nil {
			errs = append(errs, fmt.Errorf("provider %s: %w", c.Name, err))
			continue
		}
		p.units = append(p.units, u)
	}
	for _, u := range a.units {
		if before[u.cfg.Name] != nil {
			p.removed = append(p.removed, u)
			p.changes.Removed = append(p.changes.Removed, u.cfg.Name)
		}
	}
	p.changes.Reordered = reordered(a.units, p.units)
	p.changes.Settings = config.Changed(cfg, a.cfg)
	if err := errors.Join(errs...); err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// planUnit is the unit for c, where old, or nil, runs now.
func (a *App) planUnit(p *plan, c *config.Provider, old *unit, restart bool) (u *unit, err error) {
	switch {
	case old == nil:
		u, err = a.newUnit(c, mux.NewProvider(c.Spec, a.log))
		p.changes.Added = append(p.changes.Added, c.Name)
	case old.off && (processID(c) != old.process || !reflect.DeepEqual(c.Spec, old.cfg.Spec)):
		// It starts, and is found good or not, when it is enabled.
		next := *old
		next.cfg, next.process, next.provider, next.tls = c, processID(c), old.provider.With(c.Spec), nil
		if !sameKeys(c, old.cfg) {
			p.changes.Changed = append(p.changes.Changed, c.Name)
		}
		return &next, nil
	case restart || processID(c) != old.process:
		if u, err = a.newUnit(c, old.provider.With(c.Spec)); err == nil {
			u.endDrain = old.endDrain
		}
		p.restarts = append(p.restarts, old)
		p.changes.Restarted = append(p.changes.Restarted, c.Name)
	case reflect.DeepEqual(c.Spec, old.cfg.Spec):
		return old, nil
	default:
		next := *old
		next.cfg, next.provider = c, old.provider.With(c.Spec)
		if !sameKeys(c, old.cfg) {
			p.changes.Changed = append(p.changes.Changed, c.Name)
		}
		return &next, next.provider.Accepts()
	}
	if err == nil {
		p.prepare = append(p.prepare, u)
	}
	return u, err
}

// sameKeys says whether a provider's own keys are the same: what is durable for all comes
// from the key spool.
func sameKeys(a, b *config.Provider) bool {
	x, y := a.Spec, b.Spec
	x.Durable, y.Durable = mux.DurableSpec{}, mux.DurableSpec{}
	return reflect.DeepEqual(x, y) && processID(a) == processID(b)
}

// reordered says whether those who stay are asked in another order.
func reordered(before, after []*unit) bool {
	names := func(of, in []*unit) (out []string) {
		for _, u := range of {
			if slices.ContainsFunc(in, func(o *unit) bool { return o.cfg.Name == u.cfg.Name }) {
				out = append(out, u.cfg.Name)
			}
		}
		return out
	}
	return !slices.Equal(names(before, after), names(after, before))
}

// prepare starts all that is new. When one fails, none is left.
func (a *App) prepare(ctx context.Context, p *plan, restart string) error {
	errs := make([]error, len(p.prepare))
	var all sync.WaitGroup
	for i, u := range p.prepare {
		all.Go(func() {
			if err := a.prepareUnit(ctx, u, restart); err != nil {
				errs[i] = fmt.Errorf("provider %s: %w", u.cfg.Name, err)
			}
		})
	}
	all.Wait()
	err := errors.Join(errs...)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		p.discard()
	}
	return err
}

func (a *App) prepareUnit(ctx context.Context, u *unit, restart string) error {
	if gone := a.leaving[u.cfg.Name]; gone != nil { // one of the same name
		select {
		case <-gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	declared, err := u.host.Prepare(ctx)
	if err != nil {
		return err
	}
	if err = u.provider.StillDecides(declared); err != nil && u.cfg.Name != restart {
		a.log.Warn("provider decides less than before its config changed", "provider", u.cfg.Name, "error", err)
		err = nil
	}
	return err
}

// discard stops what was started for the plan.
func (p *plan) discard() {
	var all sync.WaitGroup
	for _, u := range p.prepare {
		all.Go(func() {
			u.host.Discard()
			if slices.Contains(p.changes.Added, u.cfg.Name) { // else somebody runs with it
				closeNow(u.provider)
			}
		})
	}
	all.Wait()
}

// remove takes leave of a provider that is in no chain any more, once no event is
// under way to it and its lane is empty.
func (a *App) remove(u *unit, drained <-chan struct{}) {
	if u.endDrain != nil {
		u.endDrain()
	}
	gone := make(chan struct{})
	a.leaving[u.cfg.Name] = gone
	a.running.Go(func() {
		defer close(gone)
		<-drained
		ctx, cancel := context.WithTimeout(context.Background(), a.opts.DrainTimeout)
		defer cancel()
		u.provider.Drain(ctx)
		u.stop()
		<-u.stopped
		closeNow(u.provider)
		a.metrics.Forget(u.cfg.Name)
	})
}
