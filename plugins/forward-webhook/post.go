package main

import (
	"bytes"
	"context"
	"encoding/base64"
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
)

// errRefused is of what the server will take no other time either.
var errRefused = errors.New("refused")

// doubtfulError is of what the server may not have taken because of what is in it, or because
// it takes nothing.
type doubtfulError struct{ error }

func (e *doubtfulError) Unwrap() error { return e.error }

func doubtful(err error) bool { return errors.As(err, new(*doubtfulError)) }

// post sends events in a request until it is taken, refused, or has failed often enough. Durable
// events come again anyway, and others wait for these.
func (p *plugin) post(ctx context.Context, items []item) error {
	bodies := make([][]byte, len(items))
	tries := uint(3)
	for n, i := range items {
		bodies[n] = i.body
		if i.ID == "" { // it would be lost
			tries = 8
		}
	}
	contentType, body := oneEvent, bodies[0]
	if p.config.Batch > 1 {
		contentType, body = manyEvents, slices.Concat([]byte("["), bytes.Join(bodies, []byte(",")), []byte("]"))
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 100*time.Millisecond, 5*time.Second
	var last error // says more than that the time is over
	tried := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = p.try(ctx, contentType, body)
		if tried++; tried == 2 && len(items) > 1 && doubtful(last) { // perhaps one of them is why
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0))
	switch {
	case err == nil:
		p.tookAll(items)
		return nil
	case errors.Is(last, errRefused):
		return last
	case ctx.Err() != nil: // which leaves no doubt
		return fmt.Errorf("post to %s: %v", p.where, last) //nolint:errorlint // see above
	}
	return fmt.Errorf("post to %s: %w", p.where, last)
}

// try sends a request once, not before the server wants one. Its errors are backoff's, which say
// what is to become of it.
func (p *plugin) try(ctx context.Context, contentType string, body []byte) error {
	if err := p.pause(ctx); err != nil {
		return err
	}
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
		return &doubtfulError{err}
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, int64(shown+p.longestSecret())))
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // so that the connection can be used again
	if res.StatusCode/100 == 2 {
		return nil
	}
	return p.judge(res, fmt.Errorf("it answered %s %q", p.masked(res.Status), p.masked(string(said))))
}

// judge says what is to become of a request that was answered like that.
func (p *plugin) judge(res *http.Response, err error) error {
	switch code := res.StatusCode; {
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return backoff.Permanent(fmt.Errorf("%w by %s: %w", errRefused, p.where, err))
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		p.wantsPause(res.Header.Get("Retry-After"))
		return err
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusGatewayTimeout:
		return err
	case code < 400, code == http.StatusUnauthorized, code == http.StatusProxyAuthRequired, code == http.StatusMisdirectedRequest:
		return backoff.Permanent(err) // a wrong URL or login: it would be the same for others, and soon
	case code < 500:
		return backoff.Permanent(&doubtfulError{err})
	}
	return &doubtfulError{err}
}

// longestPause is what a server may want at most.
const longestPause = time.Hour

// wantsPause has no request sent for so many seconds.
func (p *plugin) wantsPause(retryAfter string) {
	s, err := strconv.ParseInt(retryAfter, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || s <= 0 {
		return
	}
	until := time.Now().Add(time.Duration(min(s, int64(longestPause/time.Second))) * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notBefore = until
}

// pause waits until the server wants a request, or fails if that is too late.
func (p *plugin) pause(ctx context.Context) error {
	p.mu.Lock()
	until := p.notBefore
	p.mu.Unlock()
	left := time.Until(until)
	if left <= 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); !ok || end.After(until) {
		select {
		case <-time.After(left):
			return nil
		case <-ctx.Done():
		}
	}
	return backoff.Permanent(fmt.Errorf("it wants no request (Retry-After) for another %s", left.Round(time.Second)))
}

// shown is how many bytes of an answer an error has.
const shown = 200

// secrets are the values of the headers and what is secret in the URL, the longest first. A server
// may answer with the request.
func secrets(u *url.URL, headers map[string]string) (all []string) {
	add := func(s string) {
		if len(s) >= 4 { // shorter ones are no secrets, and part of many words
			all = append(all, s)
		}
	}
	add(u.RequestURI())
	add(u.RawQuery)
	add(u.EscapedPath())
	add(u.Path)
	for _, values := range u.Query() {
		for _, v := range values {
			add(v)
		}
	}
	for _, value := range headers {
		add(value)
		scheme, credentials, _ := strings.Cut(value, " ")
		add(strings.TrimSpace(credentials))
		if login, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
			add(string(login))
			_, password, _ := strings.Cut(string(login), ":")
			add(password)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

func (p *plugin) longestSecret() int {
	if len(p.secrets) == 0 {
		return 0
	}
	return len(p.secrets[0])
}

// masked is the beginning of what a server said, with a * for each byte of a secret: had a secret
// another length then, a part of one could move to before the end.
func (p *plugin) masked(said string) string {
	for _, s := range p.secrets {
		said = strings.ReplaceAll(said, s, strings.Repeat("*", len(s)))
	}
	return strings.ToValidUTF8(said[:min(len(said), shown)], "…")
}
