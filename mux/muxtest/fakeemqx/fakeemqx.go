// Package fakeemqx stands for an EMQX cluster where none can run: its REST API, as far as
// ExHook servers go, and the chain in which it calls them. It answers with the words and
// statuses of EMQX 5, and calls as it does: one server after another, each over a
// pool of connections of its own.
package fakeemqx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// Key and Secret are the API key that it takes.
const (
	Key    = "test-key"
	Secret = "test-secret-0123456789"
)

// EMQX is a cluster. Set the fields before the first request; Start makes it.
type EMQX struct {
	URL     string // of the API
	Version string
	Nodes   []string

	Authenticators []map[string]any
	Sources        []map[string]any
	NoMatch        string

	// Fail may answer a request itself, with a status that is not 0.
	Fail func(method, path string) (status int, code, message string)
	// Delay is how long a load takes on each node but the first.
	Delay time.Duration

	t       testing.TB
	mu      sync.RWMutex
	servers []*server
	log     []string
	loading sync.WaitGroup
}

// server is an ExHook server in EMQX's config.
type server struct {
	settings map[string]any
	nodes    map[string]*loaded // where it is loaded
	gone     bool
}

// loaded is a server on one node.
type loaded struct {
	broker *muxtest.Broker
	hooks  map[string][]string
}

// Start makes an EMQX of these nodes and serves its API until the test ends.
func Start(t testing.TB, version string, nodes ...string) *EMQX {
	t.Helper()
	e := &EMQX{Version: version, Nodes: nodes, NoMatch: "deny", t: t}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	t.Cleanup(e.loading.Wait)
	e.URL = s.URL
	return e
}

// Log is what changed, in order, such as "POST hookmux" or "load hookmux on emqx@a".
func (e *EMQX) Log() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Clone(e.log)
}

// Names are the servers' names, in the order in which they are called.
func (e *EMQX) Names() (names []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.servers {
		names = append(names, s.name())
	}
	return names
}

// Set changes a setting of a server behind everybody's back.
func (e *EMQX) Set(name, key string, value any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.find(name).settings[key] = value
}

// Change has f change the fields while there are requests.
func (e *EMQX) Change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// Forget has a node lose a server, as when its connections broke.
func (e *EMQX) Forget(name, node string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.find(name).nodes, node)
}

func (s *server) name() string { return s.settings["name"].(string) }

func (e *EMQX) find(name string) *server {
	for _, s := range e.servers {
		if s.name() == name {
			return s
		}
	}
	return nil
}

// load loads a server on every node: the API answers when the first has, and the others
// follow.
func (e *EMQX) load(s *server) {
	if enabled, ok := s.settings["enable"].(bool); ok && !enabled {
		return
	}
	e.loadOn(s, e.Nodes[0])
	for _, node := range e.Nodes[1:] {
		delay := e.Delay
		e.loading.Go(func() {
			time.Sleep(delay)
			e.mu.Lock()
			defer e.mu.Unlock()
			e.loadOn(s, node)
		})
	}
}

func (e *EMQX) loadOn(s *server, node string) {
	u, err := url.Parse(s.settings["url"].(string))
	if err != nil || s.gone {
		return
	}
	b := muxtest.NewBroker(e.t, u.Host, mux.V3)
	b.Node = node
	body, err := muxtest.LoadRequest(node, e.Version)
	if err != nil {
		e.t.Error(err)
		return
	}
	resp, err := b.Call(mux.V3.FullMethod(mux.ProviderLoaded), "", body)
	if err != nil {
		return // it stays connecting
	}
	hooks, err := muxtest.ParseLoaded(resp)
	if err != nil {
		e.t.Error(err)
		return
	}
	s.nodes[node] = &loaded{b, hooks}
	e.log = append(e.log, fmt.Sprintf("load %s on %s", s.name(), node))
}

// unload takes a server out of the chain, and then tells it.
func (e *EMQX) unload(s *server) {
	for _, node := range e.Nodes {
		if l := s.nodes[node]; l != nil {
			delete(s.nodes, node)
			l.broker.Unload(e.t)
			e.log = append(e.log, fmt.Sprintf("unload %s on %s", s.name(), node))
		}
	}
}

// ServeHTTP is the API.
func (e *EMQX) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v5")
	key, secret, _ := r.BasicAuth()
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	case key != Key || secret != Secret:
		fail(w, http.StatusUnauthorized, "BAD_API_KEY_OR_SECRET", "Check api_key/api_secret")
		return
	}
	e.mu.RLock()
	answer := e.Fail
	e.mu.RUnlock()
	if answer != nil {
		if status, code, message := answer(r.Method, path); status != 0 {
			fail(w, status, code, message)
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case path == "/nodes":
		var nodes []any
		for _, n := range e.Nodes {
			nodes = append(nodes, map[string]any{"node": n, "version": e.Version, "node_status": "running", "edition": "Opensource", "uptime": 1000})
		}
		reply(w, 200, nodes)
	case path == "/authentication":
		reply(w, 200, orEmpty(e.Authenticators))
	case path == "/authorization/sources":
		reply(w, 200, map[string]any{"sources": orEmpty(e.Sources)})
	case path == "/authorization/settings":
		reply(w, 200, map[string]any{"no_match": e.NoMatch, "deny_action": "ignore", "cache": map[string]any{"enable": true}})
	case path == "/exhooks" && r.Method == http.MethodGet:
		all := []any{}
		for _, s := range e.servers {
			all = append(all, e.show(s))
		}
		reply(w, 200, all)
	case path == "/exhooks" && r.Method == http.MethodPost:
		e.post(w, r)
	default:
		e.one(w, r, strings.Split(strings.TrimPrefix(path, "/exhooks/"), "/"))
	}
}

// settings reads and checks a body.
func settings(w http.ResponseWriter, r *http.Request) map[string]any {
	var m map[string]any
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		fail(w, 400, "BAD_REQUEST", "invalid JSON")
		return nil
	}
	for key, v := range m {
		ok := slices.Contains([]string{"name", "enable", "url", "request_timeout", "failed_action", "auto_reconnect", "pool_size", "ssl", "socket_options"}, key)
		if key == "request_timeout" || key == "auto_reconnect" {
			_, text := v.(string)
			ok = ok && text
		}
		if !ok {
			fail(w, 400, "BAD_REQUEST", fmt.Sprintf(`{"kind":"validation_error","path":"exhook.servers.1","unknown":%q}`, key))
			return nil
		}
	}
	if m["name"] == nil || m["url"] == nil {
		fail(w, 400, "BAD_REQUEST", "Bad Arguments: required_field")
		return nil
	}
	// EMQX keeps a PEM text in a file, and tells its path.
	if ssl, ok := m["ssl"].(map[string]any); ok {
		for key, v := range ssl {
			if s, ok := v.(string); ok && strings.Contains(s, "-----BEGIN") {
				ssl[key] = "data/certs/exhook/" + m["name"].(string) + "/" + key
			}
		}
	}
	for key, v := range map[string]any{"enable": true, "request_timeout": "5s", "failed_action": "deny", "auto_reconnect": "60s", "pool_size": 8.0} {
		if m[key] == nil {
			m[key] = v
		}
	}
	return m
}

func (e *EMQX) post(w http.ResponseWriter, r *http.Request) {
	m := settings(w, r)
	if m == nil {
		return
	}
	if e.find(m["name"].(string)) != nil {
		fail(w, 400, "BAD_REQUEST", "Already exists")
		return
	}
	s := &server{settings: m, nodes: make(map[string]*loaded)}
	e.log = append(e.log, "POST "+s.name())
	e.servers = append(e.servers, s)
	e.load(s)
	reply(w, 200, e.show(s))
}

func (e *EMQX) one(w http.ResponseWriter, r *http.Request, path []string) {
	i := slices.IndexFunc(e.servers, func(s *server) bool { return s.name() == path[0] })
	if i < 0 {
		fail(w, 404, "NOT_FOUND", "Server not found")
		return
	}
	s := e.servers[i]
	if r.Method != http.MethodGet {
		e.log = append(e.log, strings.Join(append([]string{r.Method}, path...), " "))
	}
	switch {
	case len(path) == 2 && path[1] == "move":
		var body struct{ Position string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		other, ok := strings.CutPrefix(body.Position, "after:")
		if !ok || e.find(other) == nil {
			fail(w, 400, "BAD_REQUEST", "Invalid Position")
			return
		}
		e.servers = slices.Delete(e.servers, i, i+1)
		at := slices.IndexFunc(e.servers, func(s *server) bool { return s.name() == other })
		e.servers = slices.Insert(e.servers, at+1, s)
		w.WriteHeader(http.StatusNoContent)
	case len(path) == 2 && path[1] == "hooks":
		reply(w, 200, e.show(s)["hooks"])
	case r.Method == http.MethodGet:
		reply(w, 200, e.show(s))
	case r.Method == http.MethodPut:
		m := settings(w, r)
		if m == nil {
			return
		}
		e.unload(s)
		s.settings = m
		e.load(s)
		reply(w, 200, e.show(s))
	case r.Method == http.MethodDelete:
		s.gone = true
		e.unload(s)
		e.servers = slices.Delete(e.servers, i, i+1)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// show is a server as the API does.
func (e *EMQX) show(s *server) map[string]any {
	m := map[string]any{"metrics": map[string]int{"succeed": 0, "failed": 0, "rate": 0, "max_rate": 0}, "node_metrics": []any{}}
	for key, v := range s.settings {
		m[key] = v
	}
	var status []any
	hooks := []any{}
	for _, node := range e.Nodes {
		word := "connecting"
		if s.nodes[node] != nil {
			word = "connected"
		}
		if enabled, ok := s.settings["enable"].(bool); ok && !enabled {
			word = "disabled"
		}
		status = append(status, map[string]any{"node": node, "status": word})
	}
	if l := s.nodes[e.Nodes[0]]; l != nil {
		for name, topics := range l.hooks {
			params := map[string]any{}
			if strings.HasPrefix(name, "message.") {
				params["topics"] = append([]string{}, topics...)
			}
			hooks = append(hooks, map[string]any{"name": name, "params": params})
		}
	}
	m["node_status"], m["hooks"] = status, hooks
	return m
}

func orEmpty(list []map[string]any) any {
	if list == nil {
		return []any{}
	}
	return list
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]string{"code": code, "message": message})
}
