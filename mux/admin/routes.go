package admin

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hookmux/hookmux/mux/admin/page"
	"github.com/hookmux/hookmux/mux/trail"
)

// Error is what every request is answered that fails, as {"error": …}.
type Error struct {
	// Code is bad_request (HTTP status 400), unauthorized (401), forbidden (403),
	// not_found (404), not_allowed (405), failed (422) or busy (503).
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

var statusOf = map[string]int{
	"bad_request": http.StatusBadRequest, "unauthorized": http.StatusUnauthorized, "forbidden": http.StatusForbidden,
	"not_found": http.StatusNotFound, "not_allowed": http.StatusMethodNotAllowed, "failed": http.StatusUnprocessableEntity,
	"busy": http.StatusServiceUnavailable,
}

//go:embed openapi.yaml
var description []byte

// handler answers all requests.
type handler struct {
	control  Control
	opts     Options
	guard    *guard
	stopping <-chan struct{}
	mux      *http.ServeMux
	outer    http.Handler // mux behind all that is around it
	routes   []string     // the patterns of all but the page's files
}

func newHandler(c Control, opts Options, stopping <-chan struct{}) *handler {
	h := &handler{control: c, opts: opts, guard: newGuard(opts.Token, opts.TLS != nil), stopping: stopping, mux: http.NewServeMux()}
	h.answer("GET /v1/status", h.status)
	h.answer("GET /v1/hooks", func(*http.Request) (any, error) { return map[string][]Hook{"hooks": c.Status().Hooks}, nil })
	h.answer("GET /v1/providers", func(*http.Request) (any, error) {
		return map[string][]Provider{"providers": c.Status().Providers}, nil
	})
	h.answer("GET /v1/providers/{name}", func(r *http.Request) (any, error) { return h.provider(r.PathValue("name")) })
	h.answer("POST /v1/reload", func(r *http.Request) (any, error) { return c.Reload(r.Context()) })
	for _, verb := range Verbs() {
		h.answer("POST /v1/providers/{name}/"+verb.Name, func(r *http.Request) (any, error) {
			name := r.PathValue("name")
			if err := verb.do(c, r.Context(), name); err != nil {
				return nil, err
			}
			return h.provider(name)
		})
	}
	h.answer("GET /v1/doubles", func(*http.Request) (any, error) { return c.Doubles(), nil })
	h.answer("POST /v1/doubles", h.expectDoubles)
	h.answer("GET /v1/decisions", h.decisions)
	h.spoolRoutes(opts.Spool)
	h.handle("GET /v1/tail", http.HandlerFunc(h.tail))
	if opts.Metrics != nil {
		if opts.OpenMetrics {
			h.open("GET /metrics", opts.Metrics.ServeHTTP)
		} else {
			h.handle("GET /metrics", opts.Metrics)
		}
	}
	h.handle("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
	h.handle("GET /debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline))
	h.handle("GET /debug/pprof/profile", http.HandlerFunc(pprof.Profile))
	h.handle("GET /debug/pprof/symbol", http.HandlerFunc(pprof.Symbol))
	h.handle("GET /debug/pprof/trace", http.HandlerFunc(pprof.Trace))

	// These are for everybody.
	h.open("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, map[string]bool{"alive": true}) })
	h.open("GET /readyz", h.ready)
	h.open("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(description)
	})
	h.open("POST /login", h.guard.login)
	h.open("POST /logout", h.guard.logout)
	page.Routes(h.mux)
	h.outer = http.MaxBytesHandler(impatient(h.guard.outer(http.HandlerFunc(h.route))), maxBody)
	return h
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.outer.ServeHTTP(w, r)
}

// open has a route answered for everybody.
func (h *handler) open(pattern string, answer http.HandlerFunc) {
	h.routes = append(h.routes, pattern)
	h.mux.HandleFunc(pattern, answer)
}

// handle has a route answered for who may ask.
func (h *handler) handle(pattern string, answer http.Handler) {
	h.open(pattern, h.guard.inner(answer).ServeHTTP)
}

// answer has a route answered with JSON.
func (h *handler) answer(pattern string, f func(r *http.Request) (any, error)) {
	h.handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := f(r)
		var known *Error
		switch {
		case errors.As(err, &known):
			fail(w, known.Code, known.Message)
		case errors.Is(err, ErrNoProvider):
			fail(w, "not_found", err.Error())
		case err != nil:
			fail(w, "failed", err.Error())
		default:
			reply(w, http.StatusOK, answer)
		}
	}))
}

func (h *handler) provider(name string) (*Provider, error) {
	all := h.control.Status().Providers
	i := slices.IndexFunc(all, func(p Provider) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoProvider, name)
	}
	return &all[i], nil
}

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	status, ready := http.StatusOK, h.control.Status().Ready
	if !ready {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]bool{"ready": ready})
}

func (h *handler) decisions(r *http.Request) (any, error) {
	v, err := parameters(r, "client", "hook", "provider", "topic", "answer", "limit", "before")
	if err != nil {
		return nil, err
	}
	q := trail.Query{Client: v.Get("client"), Hook: v.Get("hook"), Provider: v.Get("provider"), Topic: v.Get("topic"), Answer: v.Get("answer")}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return nil, &Error{"bad_request", fmt.Sprintf("limit: %q is not a number from 1 to %d", s, trail.MaxLimit)}
		}
	}
	if s := v.Get("before"); s != "" {
		if q.Before, err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, &Error{"bad_request", fmt.Sprintf("before: %q is not the id of a decision", s)}
		}
	}
	if err := q.Check(); err != nil {
		return nil, &Error{"bad_request", err.Error()}
	}
	return h.control.Search(q), nil
}

// parameters are those of the request's query. One that is misspelt is refused: it
// would find everything.
func parameters(r *http.Request, allowed ...string) (url.Values, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &Error{"bad_request", "the query cannot be read: " + err.Error()}
	}
	for name := range v {
		if !slices.Contains(allowed, name) {
			return nil, &Error{"bad_request", fmt.Sprintf("there is no parameter %q: use %s", name, strings.Join(allowed, ", "))}
		}
	}
	return v, nil
}

// route answers what is not there in our shape.
func (h *handler) route(w http.ResponseWriter, r *http.Request) {
	if handler, pattern := h.mux.Handler(r); pattern == "" {
		// ServeMux's own answer: 405 with Allow, or 404, or a redirect to a clean path.
		probe := &probe{header: w.Header()}
		handler.ServeHTTP(probe, r)
		code := "not_found"
		if probe.status == http.StatusMethodNotAllowed {
			code = "not_allowed"
		}
		fail(w, code, fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, strings.ToLower(http.StatusText(statusOf[code]))))
		return
	}
	h.mux.ServeHTTP(w, r)
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

func fail(w http.ResponseWriter, code, message string) {
	reply(w, statusOf[code], errorAnswer{Error{code, message}})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // who asked has gone
}
