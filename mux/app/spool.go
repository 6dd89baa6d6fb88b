package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
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
	a.mu.Lock()
	s := a.spool
	a.spool = nil
	a.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

// adminSpool is the store as package admin sees it.
func (a *App) adminSpool() admin.Spool {
	if s := a.openedSpool(); s != nil {
		return operatedSpool{s}
	}
	return nil
}

type operatedSpool struct{ *spool.Spool }

// asAdmin has what is not there answered as such.
func asAdmin(err error) error {
	if errors.Is(err, spool.ErrNoLetter) || errors.Is(err, spool.ErrNoStore) {
		return admin.NotFound(err)
	}
	return err
}

// List implements admin.Spool.
func (s operatedSpool) List(ctx context.Context) (out []admin.Stored, err error) {
	infos, err := s.Spool.List(ctx)
	for _, i := range infos {
		out = append(out, admin.Stored{
			Provider: i.Provider, Orphaned: i.Orphaned, Events: i.Events, Bytes: i.Bytes, Oldest: known(i.Oldest),
			Dead: i.Dead, DeadBytes: i.DeadBytes, OldestDead: known(i.OldestDead),
		})
	}
	return out, err
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Dead implements admin.Spool.
func (s operatedSpool) Dead(ctx context.Context, provider string, most int) (out []admin.DeadLetter, err error) {
	letters, err := s.Letters(ctx, provider, most)
	for i := range letters {
		out = append(out, deadLetter(&letters[i]))
	}
	return out, asAdmin(err)
}

// DeadLetter implements admin.Spool.
func (s operatedSpool) DeadLetter(ctx context.Context, id string) (*admin.DeadLetter, error) {
	l, err := s.Letter(ctx, id)
	if err != nil {
		return nil, asAdmin(err)
	}
	d := deadLetter(l)
	d.Bytes, d.Request = len(l.Body), l.Body
	return &d, nil
}

func deadLetter(l *spool.Letter) admin.DeadLetter {
	return admin.DeadLetter{
		ID: l.ID, Provider: l.Provider, Hook: l.Hook.String(), Client: printable(l.Client), Topic: printable(l.Topic),
		Time: l.Time, Died: l.Died, Tries: l.Tries, Error: printable(l.Error),
	}
}

// printable is a text that JSON can hold.
func printable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Retry implements admin.Spool.
func (s operatedSpool) Retry(ctx context.Context, provider, id string) (n int, err error) {
	if id == "" {
		n, err = s.RetryAll(ctx, provider)
	} else if err = s.Spool.Retry(ctx, id); err == nil {
		n = 1
	}
	return n, asAdmin(err)
}

// Drop implements admin.Spool.
func (s operatedSpool) Drop(ctx context.Context, provider, id string) (n int, err error) {
	if id == "" {
		n, err = s.DropAll(ctx, provider)
	} else if err = s.Spool.Drop(ctx, id); err == nil {
		n = 1
	}
	return n, asAdmin(err)
}

// DropOrphan implements admin.Spool.
func (s operatedSpool) DropOrphan(ctx context.Context, provider string) (int, error) {
	n, err := s.Spool.DropOrphan(ctx, provider)
	return n, asAdmin(err)
}

// sameSpool says whether what changes can change while the store is open.
func sameSpool(a, b config.Spool) bool {
	a.Age, a.Tries = b.Age, b.Tries
	return a == b
}
