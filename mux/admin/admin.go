// Package admin is hookmux's face to operators: HTTP with JSON, and a web page, over
// a unix socket that only the user it runs as may open, or over TCP with a token.
//
//	GET  /v1/status                     200 Status
//	GET  /v1/providers                  200 {"providers": […]}, and …/{name} for one
//	GET  /v1/hooks                      200 {"hooks": […]}
//	POST /v1/reload                     200 Changes
//	POST /v1/providers/{name}/restart   200 Provider; so are drain, disable, enable
//	GET  /v1/decisions?client=…         200 trail.Found
//	GET  /v1/spool                      200 what is stored; see spool.go for dead letters
//	GET  /v1/tail?client=…              200 events, as they happen (text/event-stream)
//	GET  /healthz, /readyz, /metrics, /debug/pprof/, /openapi.yaml, /
//
// openapi.yaml describes all of it. A request that fails is answered with an Error; what
// it did then is nothing. A reload and a restart are answered when they are done, which
// takes as long as the plugins take to start; who hangs up before breaks them off.
//
// # Who may
//
// With a token in Options, a request needs it as "Authorization: Bearer", or the cookie
// that POST /login gives for it. What a browser was made to ask by another site is
// refused: by its Origin, by a Host that is not this machine, and, for changes with the
// cookie, without the header X-Hookmux.
//
// What it shows and does it declares as Control, so that it can be tested and left
// out.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/hookmux/hookmux/mux/trail"
)

// Control is what an operator can see and do. Its methods are called from many
// goroutines. Those that take a provider's name wrap ErrNoProvider if nobody has it.
type Control interface {
	Status() Status
	// Search and Follow are trail.Trail's.
	Search(q trail.Query) *trail.Found
	Follow(f trail.Filter) (*trail.Follower, error)
	// Reload reads the config anew and puts it in place, or changes nothing.
	Reload(ctx context.Context) (*Changes, error)
	// Restart replaces a plugin's process, or changes nothing.
	Restart(ctx context.Context, provider string) error
	// Disable takes a provider out of service, as if it had crashed: its failure policy
	// decides, and notifications wait in its lane.
	Disable(ctx context.Context, provider string) error
	// Drain does the same, once what waits in the lane has been delivered. It
	// returns at once.
	Drain(ctx context.Context, provider string) error
	// Enable undoes both, and returns when the provider has had its first chance to
	// start.
	Enable(ctx context.Context, provider string) error
	// ExpectDoubles and Doubles are mux.Mux's.
	ExpectDoubles(during time.Duration) Doubles
	Doubles() Doubles
}

// ErrNoProvider is what Control wraps when there is no provider of that name.
var ErrNoProvider = errors.New("there is no such provider")

// Changes is what a reload did, by the names of providers; all empty when the
// config was the same.
type Changes struct {
	Added     []string `json:"added,omitempty"`
	Removed   []string `json:"removed,omitempty"`
	Restarted []string `json:"restarted,omitempty"` // a new process or connection has taken over
	Changed   []string `json:"changed,omitempty"`   // treated otherwise, by the same process
	Reordered bool     `json:"reordered,omitempty"`
	Settings  []string `json:"settings,omitempty"` // keys of the config that are not a provider's
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
	if len(c.Settings) > 0 {
		parts = append(parts, "other settings: "+strings.Join(c.Settings, ", "))
	}
	if parts == nil {
		return "nothing has changed"
	}
	return strings.Join(parts, "; ")
}

// Options are how a Server is to be reached.
type Options struct {
	// Token is what a request over TCP must have; empty on a unix socket, which has an
	// owner.
	Token string
	// OpenMetrics has /metrics answer without the token.
	OpenMetrics bool
	// Metrics answers /metrics; nil: there are none.
	Metrics http.Handler
	// Spool is what is delivered durably; it answers nil while nothing is.
	Spool func() Spool
	// TLS is what who connects meets; nil: there is none, and the address is this
	// machine's own.
	TLS *tls.Config
}

// maxConns bounds the connections at a time; more wait.
const maxConns = 128

// maxBody bounds what a request may say, in bytes.
const maxBody = 64 << 10

// Server serves one Control at one address. Make it with Serve.
type Server struct {
	http     *http.Server
	guard    *guard
	stopping chan struct{} // closed when Close begins
	closed   chan struct{}
}

// Serve takes requests from l, in the background, until Close.
func Serve(l net.Listener, c Control, opts Options) *Server {
	s := &Server{stopping: make(chan struct{}), closed: make(chan struct{})}
	h := newHandler(c, opts, s.stopping)
	s.guard = h.guard
	if l = netutil.LimitListener(l, maxConns); opts.TLS != nil {
		l = tls.NewListener(l, opts.TLS)
	}
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	go func() {
		defer close(s.closed)
		_ = s.http.Serve(l) // only ever ends with Close
	}()
	return s
}

// SetToken has another token count from now on. Who has logged in with the old one has to
// do so again.
func (s *Server) SetToken(token string) { s.guard.set(token) }

// Close takes no more requests, ends those that follow events, lets others under way
// end until ctx does, and closes the listener.
func (s *Server) Close(ctx context.Context) {
	close(s.stopping)
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.closed
}
