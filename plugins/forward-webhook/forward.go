package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct {
	config config
	client *http.Client
	where  string // the URL's host, for errors: the rest of it may be a secret
}

func (p *plugin) Start(context.Context) (err error) {
	if p.client, err = p.config.client(); err != nil {
		return err
	}
	u, _ := url.Parse(p.config.URL) // which has been checked
	p.where = u.Host
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
			var away error
			for _, i := range clients[client] {
				if away == nil {
					away = p.post(ctx, oneEvent, i.body)
					if away == nil {
						continue
					}
				}
				i.Fail(away) // what is behind it must not be there before
				if errors.Is(away, errRefused) {
					away = nil
				}
			}
			return nil
		})
	}
	_ = all.Wait() // each event knows
}

// sendMany has many events in a request, and one request after another.
func (p *plugin) sendMany(ctx context.Context, items []item) {
	var away error
	for some := range slices.Chunk(items, p.config.Batch) {
		if away == nil {
			away = p.sendSome(ctx, some)
			continue
		}
		for _, i := range some {
			i.Fail(away)
		}
	}
}

// sendSome sends events in one request or, if the server refuses them, each half for itself,
// to find the one that it refuses.
func (p *plugin) sendSome(ctx context.Context, items []item) (away error) {
	bodies := make([][]byte, len(items))
	for n, i := range items {
		bodies[n] = i.body
	}
	err := p.post(ctx, manyEvents, slices.Concat([]byte("["), bytes.Join(bodies, []byte(",")), []byte("]")))
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, errRefused):
		for _, i := range items {
			i.Fail(err)
		}
		return err
	case len(items) == 1:
		items[0].Fail(err)
		return nil
	}
	first, second := items[:len(items)/2], items[len(items)/2:]
	if away = p.sendSome(ctx, first); away == nil {
		return p.sendSome(ctx, second)
	}
	for _, i := range second {
		i.Fail(away)
	}
	return away
}

// errRefused is of what the server will take no other time either.
var errRefused = errors.New("refused")

// post sends a request until it is taken, refused, or out of time.
func (p *plugin) post(ctx context.Context, contentType string, body []byte) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 100*time.Millisecond, 5*time.Second
	var last error // says more than that the time is over
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = p.try(ctx, contentType, body)
		return struct{}{}, last
	}, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(0))
	if err == nil || errors.Is(err, errRefused) {
		return err
	}
	return fmt.Errorf("post to %s: %w", p.where, last)
}

// try sends a request once. Its errors are backoff's, which say what is to become of it.
func (p *plugin) try(ctx context.Context, contentType string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.URL, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(errors.New("the URL is none"))
	}
	for name, value := range p.config.Headers {
		req.Header.Set(name, value)
	}
	if host := p.config.Headers["Host"]; host != "" {
		req.Host = host
	}
	req.Header.Set("Content-Type", contentType)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "hookmux")
	}
	res, err := p.client.Do(req)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return err
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 200))
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // so that the connection can be used again
	if res.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("it answered %s %q", res.Status, strings.ToValidUTF8(string(said), "…"))
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return backoff.Permanent(fmt.Errorf("%w by %s: %w", errRefused, p.where, err))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if s, e := strconv.Atoi(res.Header.Get("Retry-After")); e == nil && s > 0 {
			return errors.Join(err, backoff.RetryAfter(s))
		}
		return err
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return err
	}
	if res.StatusCode < 500 { // a wrong URL or login: it would be the same for others, and soon
		return backoff.Permanent(err)
	}
	return err
}
