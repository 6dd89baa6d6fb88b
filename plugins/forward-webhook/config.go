package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/hookmux/hookmux/plugins/internal/tlsfiles"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// URL is where the events are posted.
	URL string `json:"url"`
	// Headers are sent with every request, such as Authorization.
	Headers map[string]string `json:"headers"`
	// Batch is how many events a request may have; 1: each has one of its own.
	Batch int `json:"batch"`
	// Concurrency is how many requests there may be at a time, with one event each.
	Concurrency int `json:"concurrency"`
	// Timeout of one request.
	Timeout sdk.Duration `json:"timeout"`
	// Hooks whose events are forwarded; message.publish if empty.
	Hooks []sdk.Hook `json:"hooks"`
	// TLS is for https.
	TLS tlsfiles.Config `json:"tls"`
}

func defaults() config {
	return config{Batch: 1, Concurrency: 16, Timeout: sdk.Duration(10 * time.Second)}
}

// client checks the config; errors name the key and never a secret.
func (c *config) client() (*http.Client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("url: it must be there, such as https://example.com/events")
	case u.User != nil:
		return nil, errors.New("url: it has a user; write it as a header: Authorization: Basic …")
	case c.Batch < 1 || c.Batch > 2048:
		return nil, fmt.Errorf("batch: %d is not from 1 to 2048", c.Batch)
	case c.Concurrency < 1 || c.Concurrency > 1024:
		return nil, fmt.Errorf("concurrency: %d is not from 1 to 1024", c.Concurrency)
	case c.Timeout <= 0:
		return nil, fmt.Errorf("timeout: %s is not more than 0", time.Duration(c.Timeout))
	}
	for name, value := range c.Headers {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("headers: %q is no name of a header", name)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("headers: what %s has is no value of a header", name)
		}
		if http.CanonicalHeaderKey(name) == "Content-Type" {
			return nil, errors.New("headers: the Content-Type is that of CloudEvents")
		}
	}
	conf, err := c.TLS.Load()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: time.Duration(c.Timeout),
		Transport: &http.Transport{
			TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: c.Concurrency, IdleConnTimeout: time.Minute,
			Proxy: http.ProxyFromEnvironment,
		},
		// A redirection would make a GET of some POSTs, and lose the event.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
