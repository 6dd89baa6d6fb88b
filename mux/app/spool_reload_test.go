package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// A reload that fails leaves no store behind: the next may have it elsewhere, and what is
// stored has to be where the config says.
func TestAReloadThatFailsLeavesNoStore(t *testing.T) {
	t.Parallel()
	s := start(t, config.Config{}, nil)
	keeps := plugin(t, "keeps", muxtest.Behaviour{Hooks: []string{"client.connected"}})
	keeps.Delivery[mux.ClientConnected] = mux.Durable
	wrong := keeps
	wrong.Command = []string{filepath.Join(t.TempDir(), "nobody")}
	cfg := s.variant(wrong)
	cfg.Spool.Dir = filepath.Join(t.TempDir(), "first")
	if _, err := s.Apply(t.Context(), cfg); err == nil {
		t.Fatal("a plugin that is not there was taken")
	}
	cfg = s.variant(keeps)
	cfg.Spool.Dir = filepath.Join(t.TempDir(), "second")
	s.apply(t, cfg, app.Changes{Added: []string{"keeps"}, Settings: []string{"spool"}})

	// What the spool says for all is no change of a provider's.
	keeps.Durable.Tries = 3
	spool := cfg.Spool
	cfg = s.variant(keeps)
	cfg.Spool = spool
	cfg.Spool.Tries = 3
	s.apply(t, cfg, app.Changes{Settings: []string{"spool"}})
	if _, err := os.Stat(filepath.Join(cfg.Spool.Dir, "jetstream")); err != nil {
		t.Error(err)
	}
}
