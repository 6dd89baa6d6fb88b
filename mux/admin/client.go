package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// Client asks a hookmux by its socket. Make it with NewClient.
type Client struct {
	http http.Client
	path string
}

// NewClient is for the socket at path.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	return c
}

// Status asks what Control.Status says.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/status", &s)
}

// Reload asks for Control.Reload and waits for it.
func (c *Client) Reload(ctx context.Context) (*Changes, error) {
	changes := new(Changes)
	return changes, c.do(ctx, http.MethodPost, "/v1/reload", changes)
}

// Restart asks for Control.Restart and waits for it.
func (c *Client) Restart(ctx context.Context, provider string) error {
	return c.do(ctx, http.MethodPost, "/v1/providers/"+url.PathEscape(provider)+"/restart", new(struct{}))
}

// do makes a request. An error that hookmux answered is an *Error.
func (c *Client) do(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://hookmux"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no hookmux serves %s: is it running, with this config?", c.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s may be opened only by the user that hookmux runs as", c.path)
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("hookmux went away: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var answer errorAnswer
		if json.Unmarshal(body, &answer) != nil || answer.Error.Message == "" {
			return fmt.Errorf("%s: answered with status %s", c.path, resp.Status)
		}
		return &answer.Error
	}
	return json.Unmarshal(body, into)
}
