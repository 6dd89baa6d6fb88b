package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct {
	config  config
	client  *http.Client
	where   string   // the URL's host, for errors: the rest of it may be a secret
	secrets []string // what an answer may not bring into the log

	mu        sync.Mutex
	notBefore time.Time            // the server wants no request before
	taken     time.Time            // when it last took one
	doubted   map[string]time.Time // ids of events, and when each last got no good answer though it was alone
}

func (p *plugin) Start(context.Context) (err error) {
	if p.client, err = p.config.client(); err != nil {
		return err
	}
	u, _ := url.Parse(p.config.URL) // which has been checked
	p.where, p.secrets, p.doubted = u.Host, secrets(u, p.config.Headers), make(map[string]time.Time)
	return nil
}

func (p *plugin) Stop(context.Context) error {
	p.client.CloseIdleConnections()
	return nil
}

// item is an event as it is sent.
type item struct {
	*event.Event
	body []byte
}

func (p *plugin) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // if there is no deadline yet
	defer cancel()
	events := event.All(batch)
	var items []item
	for i := range events {
		body, err := encode(&events[i])
		if err != nil {
			events[i].Fail(err)
			continue
		}
		items = append(items, item{&events[i], body})
	}
	if p.config.Batch > 1 {
		p.sendMany(ctx, items)
		return nil
	}
	p.sendEach(ctx, items)
	return nil
}

// sendEach has a request for each event: those of a client one after another, those of
// different clients beside each other.
func (p *plugin) sendEach(ctx context.Context, items []item) {
	clients := make(map[string][]item)
	var order []string
	for _, i := range items {
		if _, known := clients[i.Client]; !known {
			order = append(order, i.Client)
		}
		clients[i.Client] = append(clients[i.Client], i)
	}
	var all errgroup.Group
	all.SetLimit(p.config.Concurrency)
	for _, client := range order {
		all.Go(func() error {
			s := sending{plugin: p}
			for one := range slices.Chunk(clients[client], 1) {
				s.send(ctx, one)
			}
			return nil
		})
	}
	_ = all.Wait() // each event knows
}

// sendMany has many events in a request, and one request after another. Events that were in
// doubt before come last. (Of a client's durable events, only one is under way.)
func (p *plugin) sendMany(ctx context.Context, items []item) {
	var first, last []item
	p.mu.Lock()
	for _, i := range items {
		if _, doubted := p.doubted[i.ID]; doubted {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	p.mu.Unlock()
	s := sending{plugin: p}
	for some := range slices.Chunk(slices.Concat(first, last), p.config.Batch) {
		s.send(ctx, some)
	}
}

// sending is requests one after another.
type sending struct {
	*plugin

	away   error // the server is; what is behind must not be there before what failed
	doubts int   // how many single events got no good answer, since the server took one
}

// enough doubts say that it is not the events: a wrong URL is not asked for each of them.
const enough = 3

// send sends events in one request or, if it may be one of them why the server does not take
// them, each half for itself, to find that one.
func (s *sending) send(ctx context.Context, items []item) {
	if s.away != nil {
		fail(items, s.away)
		return
	}
	err := s.post(ctx, items)
	switch {
	case err == nil:
		s.doubts = 0
	case !doubtful(err) && !errors.Is(err, errRefused):
		s.away = sdk.Unavailable(err)
		fail(items, s.away)
	case len(items) > 1:
		s.send(ctx, items[:len(items)/2])
		s.send(ctx, items[len(items)/2:])
	case !doubtful(err):
		fail(items, err)
	default:
		fail(items, s.blamed(items[0].ID, err))
		if s.doubts++; s.doubts == enough {
			s.away = sdk.Unavailable(err)
		}
	}
}

func fail(items []item, err error) {
	for _, i := range items {
		i.Fail(err)
	}
}

// blamed is err as the fault of an event that was alone in a request, if the server has taken
// another since it did not take this one the last time. Else the server may be what is wrong.
func (p *plugin) blamed(id string, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, again := p.doubted[id]
	if len(p.doubted) >= 1<<14 { // most are of dead letters
		clear(p.doubted)
	}
	p.doubted[id] = time.Now()
	if again && p.taken.After(last) {
		return err
	}
	return sdk.Unavailable(err)
}

// tookAll takes down that the server took events.
func (p *plugin) tookAll(items []item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = time.Now()
	for _, i := range items {
		delete(p.doubted, i.ID)
	}
}
