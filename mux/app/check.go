package app

import (
	"context"
	"sync"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
)

// Check starts every provider of cfg as Start would, but without listening,
// asks what it wants, and stops everything again. The report of a provider
// that could not be started, connected or served has LastErr set.
func Check(ctx context.Context, cfg *config.Config, opts Options) ([]ProviderState, error) {
	a := New(cfg, opts)
	defer a.Stop()
	a.mux = mux.New(mux.Options{Timeout: cfg.Timeout, Defaults: cfg.Default, Strategy: cfg.Strategy, Log: a.log})
	if err := a.makeHosts(); err != nil {
		return nil, err
	}
	a.mux.SetProviders(a.providers)
	var settled sync.WaitGroup
	for _, h := range a.hosts {
		settled.Go(func() {
			select {
			case <-h.Settled():
			case <-ctx.Done():
			}
		})
	}
	settled.Wait()
	return a.Providers(), ctx.Err()
}
