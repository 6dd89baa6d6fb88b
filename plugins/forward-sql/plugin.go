package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// URL of the database.
	URL string `json:"url"`
	// Table is its name, perhaps with a schema: archive.messages.
	Table string `json:"table"`
	// CreateTable makes the table if it is missing.
	CreateTable bool `json:"create_table"`
	// Hooks whose events are stored; message.publish if empty.
	Hooks []sdk.Hook `json:"hooks"`
}

func defaults() config { return config{Table: "mqtt_events", CreateTable: true} }

type plugin struct {
	config config
	db     *sqldb.DB
	table  *table
	made   bool // the table is there; only OnBatch, one at a time, and Start use it
}

// Start checks the config. A database that is away now is none of its problems; one that
// is there and has another table is.
func (p *plugin) Start(ctx context.Context) (err error) {
	if p.db, err = sqldb.Open(p.config.URL, sqldb.Options{}); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if p.table, err = newTable(p.config.Table, p.db); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.db.Ping(ctx); err != nil {
		slog.Warn("the database does not answer yet", "error", err.Error())
		return nil
	}
	return p.makeTable(ctx)
}

func (p *plugin) Stop(context.Context) error { return p.db.Close() }

func (p *plugin) makeTable(ctx context.Context) error {
	if p.made {
		return nil
	}
	if err := p.table.check(ctx); err == nil {
		p.made = true
		return nil
	} else if !p.config.CreateTable {
		return err
	}
	created := p.table.create(ctx)
	err := p.table.check(ctx) // another hookmux may have been first
	p.made = err == nil
	if err != nil && created != nil {
		return created
	}
	return err
}

// OnBatch stores a batch at once. If the database does not take some of it, those
// events fail alone.
func (p *plugin) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	if err := p.makeTable(ctx); err != nil {
		return sdk.Unavailable(err)
	}
	rows := make([]row, 0, len(batch))
	for _, e := range event.All(batch) {
		r, err := newRow(&e)
		if err == nil {
			err = p.table.refuses(&r)
		}
		if err != nil {
			e.Fail(err)
			continue
		}
		rows = append(rows, r)
	}
	_ = p.store(ctx, rows) // each event knows
	return nil
}

// store inserts all rows or, if one of them is what the database does not take, each half for
// itself. Once the database is away, nothing more is tried: a client's later
// events must not be stored before its earlier ones.
func (p *plugin) store(ctx context.Context, rows []row) (away error) {
	if len(rows) == 0 {
		return nil
	}
	err := p.table.insert(ctx, rows)
	switch {
	case err == nil:
		return nil
	case !sqldb.AboutData(err):
		away = sdk.Unavailable(fmt.Errorf("store in %s: %w", p.db, err))
		for i := range rows {
			rows[i].event.Fail(away)
		}
		return away
	case len(rows) == 1:
		rows[0].event.Fail(fmt.Errorf("%s does not take it: %w", p.db, err))
		return nil
	}
	first, second := rows[:len(rows)/2], rows[len(rows)/2:]
	if away = p.store(ctx, first); away == nil {
		return p.store(ctx, second)
	}
	for i := range second {
		second[i].event.Fail(away)
	}
	return away
}
