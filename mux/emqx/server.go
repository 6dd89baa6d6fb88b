package emqx

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Server is an ExHook server as EMQX knows it.
type Server struct {
	Name          string
	Enabled       bool
	URL           string
	FailedAction  string
	PoolSize      int
	Timeout       time.Duration // request_timeout; 0: not to be read
	AutoReconnect time.Duration // 0: off
	SSL           SSL
	Status        map[string]string // connected, connecting, disconnected, disabled or error, by node
	Hooks         []Hook            // what it is sent, by the node that was asked

	raw map[string]any // all of its settings
}

// SSL is a server's TLS.
type SSL struct {
	Enabled  bool
	Verify   bool // verify_peer
	HasCert  bool // EMQX shows a certificate
	KnowsCA  bool // it has a CA to hold the server's certificate against
	NameSent string
}

// Hook is a hookpoint that a server is sent, and of which topics; none: of all.
type Hook struct {
	Name   string
	Topics []string
}

// shown are what EMQX tells of a server that are no settings of it.
var shown = []string{"metrics", "node_metrics", "node_status", "hooks", "status"}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Server) UnmarshalJSON(data []byte) error {
	var v struct {
		Name          string `json:"name"`
		Enable        *bool  `json:"enable"`
		URL           string `json:"url"`
		FailedAction  string `json:"failed_action"`
		PoolSize      int    `json:"pool_size"`
		Timeout       any    `json:"request_timeout"`
		AutoReconnect any    `json:"auto_reconnect"`
		SSL           struct {
			Enable *bool  `json:"enable"`
			Verify string `json:"verify"`
			Cert   string `json:"certfile"`
			CA     string `json:"cacertfile"`
			SNI    string `json:"server_name_indication"`
		} `json:"ssl"`
		Status []struct {
			Node   string `json:"node"`
			Status string `json:"status"`
		} `json:"node_status"`
		Hooks []struct {
			Name   string `json:"name"`
			Params struct {
				Topics []string `json:"topics"`
			} `json:"params"`
		} `json:"hooks"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &s.raw); err != nil {
		return err
	}
	for _, key := range shown {
		delete(s.raw, key)
	}
	s.Name, s.URL, s.FailedAction, s.PoolSize = v.Name, v.URL, v.FailedAction, v.PoolSize
	s.Enabled = v.Enable == nil || *v.Enable
	s.Timeout, _ = duration(v.Timeout)
	s.AutoReconnect, _ = duration(v.AutoReconnect)
	s.SSL = SSL{Enabled: v.SSL.Enable != nil && *v.SSL.Enable, Verify: v.SSL.Verify == "verify_peer", HasCert: v.SSL.Cert != "", KnowsCA: v.SSL.CA != "", NameSent: v.SSL.SNI}
	s.Status = make(map[string]string)
	for _, n := range v.Status {
		s.Status[n.Node] = n.Status
	}
	for _, h := range v.Hooks {
		s.Hooks = append(s.Hooks, Hook{h.Name, h.Params.Topics})
	}
	return nil
}

// duration is a time as EMQX writes it: "5s", milliseconds, or false.
func duration(v any) (time.Duration, bool) {
	switch v := v.(type) {
	case float64:
		return time.Duration(v) * time.Millisecond, true
	case string:
		d, err := time.ParseDuration(strings.ToLower(v))
		return d, err == nil
	}
	return 0, false
}

// connected says whether the server is loaded on all of these nodes.
func (s *Server) connected(nodes []string) bool {
	return len(s.notConnected(nodes)) == 0
}

// notConnected are those of the nodes on which the server is not loaded.
func (s *Server) notConnected(nodes []string) (not []string) {
	for _, n := range nodes {
		if s.Status[n] != "connected" {
			not = append(not, n)
		}
	}
	return not
}

// runs says whether events reach the server, if only from some nodes.
func (s *Server) runs() bool {
	return s.Enabled && slices.Contains(slices.Collect(maps.Values(s.Status)), "connected")
}

// lacks are those of the wanted hooks that the server is not sent, or not of all topics.
func (s *Server) lacks(wanted []Hook) (names []string) {
	for _, w := range wanted {
		i := slices.IndexFunc(s.Hooks, func(h Hook) bool { return h.Name == w.Name })
		switch {
		case i < 0:
			names = append(names, w.Name)
		case len(s.Hooks[i].Topics) == 0:
		case len(w.Topics) == 0 || slices.ContainsFunc(w.Topics, func(t string) bool { return !slices.Contains(s.Hooks[i].Topics, t) }):
			names = append(names, w.Name+" (of more topics)")
		}
	}
	return names
}

// Node is a node of EMQX's cluster.
type Node struct {
	Name    string `json:"node"`
	Version string `json:"version"`
	Status  string `json:"node_status"`
}

// Facts are all that EMQX says.
type Facts struct {
	Servers []*Server // in the order in which they are called
	Nodes   []Node    // those that run
	// Sources are the types of the authorization sources that are switched on, in
	// their order, and NoMatch what follows when none decides; empty: not to be had.
	Sources []string
	NoMatch string
	// Authenticators is how many EMQX has of its own; -1: not to be had.
	Authenticators int
}

// Servers are the ExHook servers, in the order in which they are called.
func (c *Client) Servers(ctx context.Context) (servers []*Server, err error) {
	return servers, c.do(ctx, "GET", "/exhooks", nil, &servers)
}

// Nodes are the nodes that run.
func (c *Client) Nodes(ctx context.Context) (running []Node, err error) {
	var all []Node
	if err := c.do(ctx, "GET", "/nodes", nil, &all); err != nil {
		return nil, err
	}
	for _, n := range all {
		if n.Status == "" || strings.EqualFold(n.Status, "running") {
			running = append(running, n)
		}
	}
	return running, nil
}

// Facts asks for everything. What an EMQX does not tell of authentication and
// authorization is left out.
func (c *Client) Facts(ctx context.Context) (*Facts, error) {
	f := &Facts{Authenticators: -1}
	var err error
	if f.Servers, err = c.Servers(ctx); err != nil {
		return nil, err
	}
	if f.Nodes, err = c.Nodes(ctx); err != nil {
		return nil, err
	}
	var authenticators []struct {
		Enable *bool `json:"enable"`
	}
	if c.do(ctx, "GET", "/authentication", nil, &authenticators) == nil {
		f.Authenticators = 0
		for _, a := range authenticators {
			if a.Enable == nil || *a.Enable {
				f.Authenticators++
			}
		}
	}
	var sources struct {
		Sources []struct {
			Type   string `json:"type"`
			Enable *bool  `json:"enable"`
		} `json:"sources"`
	}
	if c.do(ctx, "GET", "/authorization/sources", nil, &sources) == nil {
		for _, s := range sources.Sources {
			if s.Enable == nil || *s.Enable {
				f.Sources = append(f.Sources, s.Type)
			}
		}
	}
	var settings struct {
		NoMatch string `json:"no_match"`
	}
	if c.do(ctx, "GET", "/authorization/settings", nil, &settings) == nil {
		f.NoMatch = settings.NoMatch
	}
	return f, nil
}

func (c *Client) create(ctx context.Context, settings map[string]any) error {
	return c.do(ctx, "POST", "/exhooks", settings, nil)
}

func (c *Client) update(ctx context.Context, name string, settings map[string]any) error {
	return c.do(ctx, "PUT", "/exhooks/"+url.PathEscape(name), settings, nil)
}

func (c *Client) remove(ctx context.Context, name string) error {
	err := c.do(ctx, "DELETE", "/exhooks/"+url.PathEscape(name), nil, nil)
	if isMissing(err) {
		return nil
	}
	return err
}

// moveBehind has EMQX call a server right after another.
func (c *Client) moveBehind(ctx context.Context, name, other string) error {
	return c.do(ctx, "POST", "/exhooks/"+url.PathEscape(name)+"/move", map[string]string{"position": fmt.Sprintf("after:%s", other)}, nil)
}
