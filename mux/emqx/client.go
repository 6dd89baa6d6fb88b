// Package emqx is EMQX's side of hookmux, by EMQX's REST API: the ExHook servers that it
// knows, what is wrong with them, and how hookmux gets in and renews its registration.
//
//	c, err := emqx.NewClient(emqx.Options{URL: "http://127.0.0.1:18083", Key: key, Secret: secret})
//	facts, err := c.Facts(ctx)
//	findings := emqx.Examine(facts, ours)
//
// It knows nothing of hookmux but what Ours says.
package emqx

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Options say where EMQX's API is and who asks.
type Options struct {
	URL string // of the dashboard, such as http://127.0.0.1:18083
	// Key and Secret are an API key's. They are never shown.
	Key, Secret string
	// TLS is for https; nil: the system's certificates.
	TLS *tls.Config
}

// Client asks one EMQX. Make it with NewClient.
type Client struct {
	http        http.Client
	base        string
	key, secret string
}

// slowest is how long EMQX may take for an answer: a change of an ExHook server waits for
// its request timeout, on each node.
const slowest = 90 * time.Second

// NewClient makes no connection yet.
func NewClient(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("EMQX's URL must be that of its dashboard, such as http://127.0.0.1:18083")
	case u.User != nil:
		return nil, errors.New("EMQX's URL must have no user name or password in it: the API key has its own place")
	case o.Key == "" || o.Secret == "":
		return nil, errors.New("EMQX's API needs a key and its secret")
	}
	path := strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v5")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.TLS
	transport.DisableKeepAlives = true
	return &Client{
		http: http.Client{
			Transport: transport, Timeout: slowest,
			// The key is for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: u.Scheme + "://" + u.Host + path + "/api/v5", key: o.Key, secret: o.Secret,
	}, nil
}

// Error is an answer of EMQX that is none.
type Error struct {
	Doing   string // such as GET /exhooks
	Status  int
	Code    string // EMQX's, such as BAD_REQUEST
	Message string
}

func (e *Error) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "EMQX does not take the API key and secret: make one in its dashboard under System, API Key, or see whether it has expired"
	case e.Status == http.StatusForbidden:
		return fmt.Sprintf("EMQX does not allow the API key to %s: it needs the role Administrator", e.Doing)
	case e.Status >= 300 && e.Status < 400:
		return fmt.Sprintf("EMQX answers %s with a redirection (%d): is the URL that of its dashboard, with https if it has TLS?", e.Doing, e.Status)
	case e.Code == "" && e.Status == http.StatusNotFound:
		return fmt.Sprintf("%s: what answers there has no such path: is it the dashboard of an EMQX 5 or later?", e.Doing)
	}
	return strings.TrimSuffix(fmt.Sprintf("EMQX answers %s with %d %s: %s", e.Doing, e.Status, e.Code, e.Message), ": ")
}

// isMissing says that EMQX has no ExHook server of that name. Its versions differ in how
// they say so.
func isMissing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code != "" && (e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(e.Message), "not found"))
}

// maxAnswer is more than EMQX says of as many nodes and servers as there can be.
const maxAnswer = 64 << 20

// do makes a request. send and into may be nil.
func (c *Client) do(ctx context.Context, method, path string, send, into any) error {
	var body io.Reader
	if send != nil {
		data, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(c.key, c.secret)
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("EMQX went away during %s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		e := &Error{Doing: method + " " + path, Status: resp.StatusCode}
		var answer struct {
			Code    string `json:"code"`
			Message any    `json:"message"`
		}
		if json.Unmarshal(data, &answer) == nil && answer.Code != "" {
			e.Code = answer.Code
			if s, ok := answer.Message.(string); ok {
				e.Message = s
			} else {
				m, _ := json.Marshal(answer.Message)
				e.Message = string(m)
			}
		}
		return e
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("what %s answers to %s %s is not EMQX's: %w", c.base, method, path, err)
	}
	return nil
}

// unreachable is err in words that say what to do.
func (c *Client) unreachable(err error) error {
	var wrong *tls.CertificateVerificationError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("the certificate of %s is not to be trusted: %w; name its CA with --emqx-ca", c.base, wrong.Err)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS"):
		return fmt.Errorf("%s answers without TLS: write http://", c.base)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s: is EMQX running, and is this its dashboard?", c.base)
	case errors.As(err, &dns):
		return fmt.Errorf("%s: there is no host %s", c.base, dns.Name)
	case errors.Is(err, context.Canceled):
		return err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%s does not answer in time", c.base)
	}
	return fmt.Errorf("EMQX cannot be asked: %w", err)
}
