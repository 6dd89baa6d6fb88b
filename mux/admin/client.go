package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hookmux/hookmux/mux/trail"
)

// Client asks a hookmux at its admin address. Make it with NewClient.
type Client struct {
	http    http.Client
	address string // for people
	base    string
	token   string
}

// NewClient is for an address: http://host:port or https://host:port, for which it has
// the token, or the path of a socket.
func NewClient(address, token string) *Client {
	c := &Client{address: address, base: strings.TrimSuffix(address, "/"), token: token}
	transport := &http.Transport{DisableKeepAlives: true}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		c.base = "http://hookmux"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		}
	}
	c.http.Transport = transport
	// The token is for nobody else.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Trust has the client take exactly this certificate of an https address, whatever its name
// and who signed it: who reads the config has it from where hookmux has it.
func (c *Client) Trust(pemFile string) error {
	data, err := os.ReadFile(pemFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("there is no certificate in %s", pemFile)
	}
	c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return fmt.Errorf("%s has another certificate than %s", c.address, pemFile)
			}
			return nil
		},
	}
	return nil
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

// Do does one of Verbs to a provider, waits for it, and says how the provider is then.
func (c *Client) Do(ctx context.Context, verb, provider string) (*Provider, error) {
	p := new(Provider)
	return p, c.do(ctx, http.MethodPost, "/v1/providers/"+url.PathEscape(provider)+"/"+verb, p)
}

// Provider asks for one provider.
func (c *Client) Provider(ctx context.Context, name string) (*Provider, error) {
	p := new(Provider)
	return p, c.do(ctx, http.MethodGet, "/v1/providers/"+url.PathEscape(name), p)
}

// Search asks for decisions.
func (c *Client) Search(ctx context.Context, q trail.Query) (*trail.Found, error) {
	v := values(q.Client, q.Hook, q.Provider, q.Topic)
	if q.Answer != "" {
		v.Set("answer", q.Answer)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Before != 0 {
		v.Set("before", strconv.FormatUint(q.Before, 10))
	}
	found := new(trail.Found)
	return found, c.do(ctx, http.MethodGet, "/v1/decisions?"+v.Encode(), found)
}

func values(client, hook, provider, topic string) url.Values {
	v := make(url.Values)
	for name, value := range map[string]string{"client": client, "hook": hook, "provider": provider, "topic": topic} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// do makes a request and reads the answer. An error that hookmux answered is an *Error.
func (c *Client) do(ctx context.Context, method, path string, into any) error {
	body, err := c.open(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, 64<<20))
	if err != nil {
		return fmt.Errorf("hookmux went away: %w", err)
	}
	return json.Unmarshal(data, into)
}

// open makes a request whose answer is to be read from body.
func (c *Client) open(ctx context.Context, method, path string) (body io.ReadCloser, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no hookmux serves %s: is it running, with this config?", c.address)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s may be opened only by the user that hookmux runs as", c.address)
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var answer errorAnswer
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(data, &answer) != nil || answer.Error.Message == "" {
		return nil, fmt.Errorf("%s: answered with status %s", c.address, resp.Status)
	}
	if answer.Error.Code == "unauthorized" {
		answer.Error.Message = "hookmux at " + c.address + " wants its token: set HOOKMUX_TOKEN to it, or name the config that has it"
		if c.token != "" {
			answer.Error.Message = "hookmux at " + c.address + " wants its token, and this was another: set HOOKMUX_TOKEN to it, or unset that and name the config that has it"
		}
	}
	return nil, &answer.Error
}
