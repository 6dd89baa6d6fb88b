// Package admin is hookmux's face to operators: HTTP with JSON over a unix
// socket that only the user it runs as may open.
//
//	POST /v1/reload                     200 Changes
//	POST /v1/providers/{name}/restart   200 {}
//	GET  /v1/status                     200 Status
//
// A request that fails is answered with an Error; what it did then is nothing. A
// reload and a restart are answered when they are done, which takes as long as the
// plugins take to start; who hangs up before breaks them off.
//
// What it shows and does it declares as Control, so that it can be tested and left
// out.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Control is what an operator can see and do. Its methods are called from many
// goroutines.
type Control interface {
	Status() Status
	// Reload reads the config anew and puts it in place, or changes nothing.
	Reload(ctx context.Context) (*Changes, error)
	// Restart replaces a plugin's process, or changes nothing. The error wraps
	// ErrNoProvider if nobody has that name.
	Restart(ctx context.Context, provider string) error
}

// ErrNoProvider is what Restart wraps when there is no provider of that name.
var ErrNoProvider = errors.New("there is no such provider")

// Changes is what a reload did, by the names of providers; all empty when the
// config was the same.
type Changes struct {
	Added     []string `json:"added,omitempty"`
	Removed   []string `json:"removed,omitempty"`
	Restarted []string `json:"restarted,omitempty"` // a new process or connection has taken over
	Changed   []string `json:"changed,omitempty"`   // treated otherwise, by the same process
	Reordered bool     `json:"reordered,omitempty"`
	Settings  bool     `json:"settings,omitempty"` // what is not a provider's
}

// String is the changes in a line.
func (c *Changes) String() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"restarted", c.Restarted}, {"changed", c.Changed}} {
		if len(p.names) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.names, ", "))
		}
	}
	if c.Reordered {
		parts = append(parts, "another order")
	}
	if c.Settings {
		parts = append(parts, "other settings")
	}
	if parts == nil {
		return "nothing has changed"
	}
	return strings.Join(parts, "; ")
}

// Error is what every request is answered that fails, as {"error": …}.
type Error struct {
	// Code is not_found (HTTP status 404), not_allowed (405) or failed (422).
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Server serves one Control on one socket. Make it with Serve.
type Server struct {
	http   *http.Server
	closed chan struct{}
}

// Serve takes requests from l, in the background, until Close.
func Serve(l net.Listener, c Control) *Server {
	s := &Server{
		http: &http.Server{
			Handler:           newHandler(c),
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    64 << 10,
		},
		closed: make(chan struct{}),
	}
	go func() {
		defer close(s.closed)
		_ = s.http.Serve(l) // only ever ends with Close
	}()
	return s
}

// Close takes no more requests, lets those under way end until ctx does, and
// closes the listener.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.closed
}

func newHandler(c Control) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			switch {
			case errors.Is(err, ErrNoProvider):
				reply(w, http.StatusNotFound, errorBody("not_found", err.Error()))
			case err != nil:
				reply(w, http.StatusUnprocessableEntity, errorBody("failed", err.Error()))
			default:
				reply(w, http.StatusOK, answer)
			}
		})
	}
	handle("GET /v1/status", func(*http.Request) (any, error) { return c.Status(), nil })
	handle("POST /v1/reload", func(r *http.Request) (any, error) { return c.Reload(r.Context()) })
	handle("POST /v1/providers/{name}/restart", func(r *http.Request) (any, error) {
		return struct{}{}, c.Restart(r.Context(), r.PathValue("name"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := mux.Handler(r); pattern == "" {
			// ServeMux's own answer, in our shape: 405 with Allow, or 404.
			probe := &probe{header: w.Header()}
			h.ServeHTTP(probe, r)
			code := "not_found"
			if probe.status == http.StatusMethodNotAllowed {
				code = "not_allowed"
			}
			reply(w, probe.status, errorBody(code, fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, strings.ToLower(http.StatusText(probe.status)))))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// probe is a ResponseWriter that keeps only the status and the headers.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

type errorAnswer struct {
	Error Error `json:"error"`
}

func errorBody(code, message string) errorAnswer { return errorAnswer{Error{code, message}} }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // who asked has gone
}
