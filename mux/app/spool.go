package app

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/spool"
)

// openSpool opens the store of what is delivered durably, once somebody needs it. Stop
// closes it.
func (a *App) openSpool(cfg *config.Config) error {
	if a.openedSpool() != nil {
		return nil
	}
	c := cfg.Spool
	if c.Dir == "" && c.URL == "" {
		c.Dir = a.opts.Spool
	}
	switch {
	case needsSpool(cfg):
	case c.URL != "" || c.Dir == "":
		return nil
	default: // what is still stored for providers that are gone can be seen and dropped
		if _, err := os.Stat(filepath.Join(c.Dir, "jetstream")); err != nil {
			return nil
		}
	}
	if c.Dir == "" && c.URL == "" {
		return errors.New("there is no place for events to be delivered durably: spool.dir says where it is")
	}
	s, err := spool.Open(spool.Options{
		Dir: c.Dir, URL: c.URL, Name: c.Name, Credentials: c.Credentials, Replicas: c.Replicas,
		Bytes: c.Bytes, Sync: c.Sync, SyncAlways: c.SyncAlways, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spool = s
	return nil
}

func needsSpool(cfg *config.Config) bool {
	for i := range cfg.Providers {
		if cfg.Providers[i].Delivery.AnyDurable() {
			return true
		}
	}
	return false
}

// openedSpool is nil when nobody needs one.
func (a *App) openedSpool() *spool.Spool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spool
}

func (a *App) closeSpool() {
	if s := a.openedSpool(); s != nil {
		s.Close()
	}
}

// sameSpool says whether what changes can change while the store is open.
func sameSpool(a, b config.Spool) bool {
	a.Age, a.Tries = b.Age, b.Tries
	return a == b
}
