package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// URL of the database.
	URL string `json:"url"`
	// Table of the connections, perhaps with a schema: iot.sessions.
	Table string `json:"table"`
	// View of those who are online, in the same schema.
	View string `json:"view"`
	// CreateTable makes table and view if they are missing.
	CreateTable bool `json:"create_table"`
}

func defaults() config { return config{Table: "mqtt_sessions", View: "mqtt_online", CreateTable: true} }

type plugin struct {
	config config
	table  *table
	now    func() time.Time

	turn chan struct{} // held by who uses the table
	made bool          // the table is there

	running sync.WaitGroup
	wake    chan struct{} // buffered: a node has started
	mu      sync.Mutex
	runs    map[string]run       // of the nodes
	pending map[string]time.Time // since when those run that the table does not know of
}

// Start checks the config. A database that is away now is none of its problems; one that
// is there and has another table is.
func (p *plugin) Start(life context.Context) error {
	p.runs, p.pending = make(map[string]run), make(map[string]time.Time)
	if p.now == nil {
		p.now = time.Now
	}
	p.turn, p.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	db, err := sqldb.Open(p.config.URL, sqldb.Options{})
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if p.table, err = newTable(p.config.Table, p.config.View, db); err != nil {
		return errors.Join(err, db.Close())
	}
	ctx, cancel := context.WithTimeout(life, 5*time.Second)
	defer cancel()
	if err := db.Ping(ctx); err != nil {
		slog.Warn("the database does not answer yet", "error", err.Error())
	} else if err := p.makeTable(ctx); err != nil {
		return errors.Join(err, db.Close())
	}
	p.running.Go(func() { p.watchNodes(life) })
	return nil
}

func (p *plugin) Stop(context.Context) error {
	p.running.Wait() // Start's context has ended
	return p.table.db.Close()
}

// mine waits for the turn to use the table; done gives it back.
func (p *plugin) mine(ctx context.Context) (done func(), err error) {
	select {
	case p.turn <- struct{}{}:
		return func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *plugin) makeTable(ctx context.Context) error {
	if p.made {
		return nil
	}
	err := p.table.check(ctx)
	if err != nil && p.config.CreateTable {
		created := p.table.create(ctx)
		if err = p.table.check(ctx); err != nil && created != nil { // another hookmux may have been first
			err = created
		}
	}
	p.made = err == nil
	return err
}

// mayWait is how long the news of a node may have waited here.
const mayWait = 10 * time.Second

// run is since when a node runs, in hookmux's time, as all times in the table.
type run struct {
	started time.Time
	told    time.Time
	uptime  time.Duration // when it was told
}

// OnProviderLoaded tells since when a node runs: what was connected to it before is gone,
// and if it crashed, nobody said so. It is told again when hookmux is registered anew, and to a
// plugin that starts; that is a new run only if the node has not run long enough to have
// been told of the last time, whatever the clocks say.
func (p *plugin) OnProviderLoaded(_ context.Context, r *sdk.ProviderLoadedRequest) error {
	uptime := time.Duration(r.GetBroker().GetUptime()) * time.Millisecond
	if uptime <= 0 {
		return nil // hookmux itself, or EMQX 4.x
	}
	told := p.now()
	started := told.Add(-uptime)
	// The node's own clock counts only if it is not ahead: then it knows better when this was
	// sent, which may have waited here. Too early ends too little, and too late who is online.
	now, err := time.Parse(time.RFC3339Nano, r.GetBroker().GetDatetime())
	if own := now.Add(-uptime); err == nil && own.Before(started) {
		started = own
	}
	started = started.UTC().Truncate(time.Microsecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	node := r.GetMeta().GetNode()
	last, known := p.runs[node]
	if known && uptime >= last.uptime && uptime >= told.Sub(last.told)-mayWait {
		started = last.started
	} else {
		p.pending[node] = started
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.runs[node] = run{started, told, uptime}
	return nil
}

// watchNodes ends what was connected to nodes that have started again, also when no
// client comes.
func (p *plugin) watchNodes(ctx context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for pause := time.Second; ; pause = min(2*pause, time.Minute) {
			err := p.endOfRestarted(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			slog.Warn("a node has started again, but what was connected to it could not be ended yet", "error", err.Error())
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	}
}

// OnBatch takes a batch in at once. If the database does not take some of it, those events
// fail alone.
func (p *plugin) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	done, err := p.mine(ctx)
	if err != nil {
		return sdk.Unavailable(err)
	}
	defer done()
	if err := p.makeTable(ctx); err != nil {
		return sdk.Unavailable(err)
	}
	all := make([]told, 0, len(batch))
	for _, e := range batch {
		c, ok := changeOf(e)
		if !ok {
			continue
		}
		if err := p.refuses(c); err != nil {
			e.Fail(err)
			continue
		}
		all = append(all, told{e, c})
	}
	_ = p.store(ctx, all) // each event knows
	return nil
}

// told is a change and the event that told it.
type told struct {
	event  *sdk.BatchEvent
	change change
}

// refuses is why a change cannot be stored, if that is known without asking.
func (p *plugin) refuses(c change) error {
	if p.table.db.Kind == sqldb.Postgres && strings.Contains(c.client+c.username+c.reason+c.node+c.peerhost+c.protocol+c.cluster, "\x00") {
		return fmt.Errorf("PostgreSQL has no text with a NUL in it, and this event of %q has one", c.client)
	}
	return nil
}

// store takes changes in or, if one of them is what the database does not take, each half for
// itself. Once the database is away, nothing more is tried.
func (p *plugin) store(ctx context.Context, all []told) (away error) {
	if len(all) == 0 {
		return nil
	}
	err := p.take(ctx, all)
	switch {
	case err == nil:
		return nil
	case !sqldb.AboutData(err):
		away = sdk.Unavailable(fmt.Errorf("store in %s: %w", p.table.db, err))
		for _, t := range all {
			t.event.Fail(away)
		}
		return away
	case len(all) == 1:
		all[0].event.Fail(fmt.Errorf("%s does not take it: %w", p.table.db, err))
		return nil
	}
	first, second := all[:len(all)/2], all[len(all)/2:]
	if away = p.store(ctx, first); away == nil {
		return p.store(ctx, second)
	}
	for _, t := range second {
		t.event.Fail(away)
	}
	return away
}

// tries is how often changes are taken in that another hookmux gets in the way of.
const tries = 5

func (p *plugin) take(ctx context.Context, all []told) (err error) {
	p.mu.Lock()
	started := make(map[string]time.Time, len(p.runs))
	for node, r := range p.runs {
		started[node] = r.started
	}
	p.mu.Unlock()
	changes := make([]change, len(all))
	for i, t := range all {
		changes[i] = t.change
	}
	for range tries {
		if err = p.table.take(ctx, changes, started); !sqldb.Conflict(err) {
			break
		}
	}
	return err
}

// endOfRestarted ends what was connected to nodes before they started.
func (p *plugin) endOfRestarted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	done, err := p.mine(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := p.makeTable(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	pending := maps.Clone(p.pending)
	p.mu.Unlock()
	for node, started := range pending {
		n, err := p.table.endBefore(ctx, node, started)
		if err != nil {
			return err
		}
		if n > 0 {
			slog.Info("a node has started again; what was connected to it is gone", "node", node, "connections", n)
		}
		p.mu.Lock()
		if p.pending[node].Equal(started) {
			delete(p.pending, node)
		}
		p.mu.Unlock()
	}
	return nil
}
