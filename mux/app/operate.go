package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
)

// An operator can take a provider out of service. That must not let anything pass:
// a provider that is disabled is one that has crashed and is not started again. It
// keeps its place in the chain, its failure policy decides, its notifications wait in
// its lane. This outlives a reload, and, with a state file, hookmux itself.

// Disable takes a provider out of service at once: what is under way is waited for, as
// long as it may take, a plugin's process is ended, and what waits in its lane waits on.
func (a *App) Disable(ctx context.Context, name string) error {
	return a.order(ctx, "disabling "+name, name, func(ctx context.Context, u *unit) error {
		if u.off {
			return nil
		}
		u.provider.Hold()
		a.takeOut(ctx, u)
		a.log.Warn("an operator has disabled the provider: its failure policy decides, and notifications wait", "provider", name)
		return nil
	})
}

// Drain takes a provider out of service once what waits in its lane has been
// delivered. From now on it gets nothing new. It returns at once; Disable need not wait
// for it, and Enable takes it back.
func (a *App) Drain(ctx context.Context, name string) error {
	return a.order(ctx, "draining "+name, name, func(_ context.Context, u *unit) error {
		if u.off || u.endDrain != nil {
			return nil
		}
		u.provider.Hold()
		drain, cancel := context.WithCancel(a.life)
		next := *u
		next.endDrain = cancel
		a.replace(u, &next)
		a.log.Warn("an operator has the provider drained: its failure policy decides, and new notifications wait", "provider", name)
		a.running.Go(func() {
			defer cancel()
			if u.provider.AwaitDelivered(drain) != nil {
				return
			}
			_ = a.order(drain, "stopping "+name+", which is drained,", name, func(ctx context.Context, u *unit) error {
				if drain.Err() == nil {
					a.takeOut(ctx, u)
					a.log.Info("the provider is drained, and now disabled", "provider", name)
				}
				return nil
			})
		})
		return nil
	})
}

// Enable undoes Disable and Drain, and waits until the provider has had its first
// chance to start.
func (a *App) Enable(ctx context.Context, name string) error {
	var settled <-chan struct{}
	err := a.order(ctx, "enabling "+name, name, func(_ context.Context, u *unit) error {
		switch {
		case !u.provider.Held():
			return nil
		case u.endDrain != nil:
			u.endDrain()
			next := *u
			next.endDrain = nil
			a.replace(u, &next)
		default:
			next, err := a.newUnit(u.cfg, u.provider)
			if err != nil {
				return err
			}
			a.run(next)
			a.replace(u, next)
			settled = next.host.Settled()
		}
		u.provider.Release()
		a.log.Info("an operator has enabled the provider", "provider", name)
		return nil
	})
	if settled != nil {
		select {
		case <-settled:
		case <-ctx.Done():
		case <-a.life.Done():
		}
	}
	return err
}

// order carries out what an operator wants of one provider, when it is its turn.
func (a *App) order(ctx context.Context, what, name string, f func(context.Context, *unit) error) error {
	_, err := a.change(ctx, what, func(ctx context.Context) (*Changes, error) {
		i := slices.IndexFunc(a.units, func(u *unit) bool { return u.cfg.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s", admin.ErrNoProvider, name)
		}
		return nil, f(ctx, a.units[i])
	})
	if err == nil {
		a.noteState()
	}
	return err
}

// takeOut ends the host of a provider that is held.
func (a *App) takeOut(ctx context.Context, u *unit) {
	ctx, cancel := context.WithTimeout(ctx, u.provider.Spec().Timeout)
	defer cancel()
	u.provider.Pause()
	_ = u.provider.AwaitIdle(ctx) // who takes longer than it may is not waited for
	u.stop()
	<-u.stopped
	next := *u
	next.off = true
	if next.endDrain != nil {
		next.endDrain()
		next.endDrain = nil
	}
	a.replace(u, &next)
}

// replace puts a unit in the place of another. It is only for who has the turn.
func (a *App) replace(old, next *unit) {
	units := slices.Clone(a.units)
	units[slices.Index(units, old)] = next
	a.mu.Lock()
	defer a.mu.Unlock()
	a.units = units
}

var errDisabled = errors.New("an operator has disabled it: enable it, which starts it anew")

// startOff has a provider that was disabled in an earlier life stay so.
func (a *App) startOff(u *unit) {
	stopped := make(chan struct{})
	close(stopped)
	u.off, u.stop, u.stopped = true, func() {}, stopped
	u.provider.Hold()
	a.log.Warn("the provider is still disabled, as an operator wanted it: hookmux enable "+u.cfg.Name+" starts it", "provider", u.cfg.Name)
}

// status words for providers that are not in service.
const (
	statusDraining = "draining"
	statusDisabled = "disabled"
)

// inService corrects what the host says by what an operator wants.
func (u *unit) inService(p *admin.Provider, started time.Time) {
	p.Enabled, p.Draining = !u.provider.Held(), u.endDrain != nil
	switch {
	case u.off:
		p.Status, p.Pid = statusDisabled, 0
		if p.Since.IsZero() {
			p.Since = started
		}
	case p.Draining:
		p.Status = statusDraining
	}
}
