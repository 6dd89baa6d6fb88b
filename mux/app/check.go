package app

import (
	"context"
	"sync"

	"github.com/hookmux/hookmux/mux/config"
)

// Check starts every provider of cfg as Start would, but without listening,
// asks what it wants, and stops everything again. The report of a provider
// that could not be started, connected or served has LastErr set.
func Check(ctx context.Context, cfg *config.Config, opts Options) ([]ProviderState, error) {
	a := New(cfg, opts)
	defer a.Stop()
	if _, err := a.loadTLS(cfg); err != nil {
		return nil, err
	}
	if err := a.startProviders(); err != nil {
		return nil, err
	}
	var settled sync.WaitGroup
	for _, u := range a.units {
		settled.Go(func() {
			select {
			case <-u.host.Settled():
			case <-ctx.Done():
			}
		})
	}
	settled.Wait()
	return a.Providers(), ctx.Err()
}
