package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Spool is what an operator can see and do of what is delivered durably.
type Spool interface {
	List(ctx context.Context) ([]Stored, error)
	// Dead are a provider's dead letters, oldest first.
	Dead(ctx context.Context, provider string, most int) ([]DeadLetter, error)
	DeadLetter(ctx context.Context, id string) (*DeadLetter, error)
	// Retry has a dead letter delivered once more, or all of a provider when id is
	// empty, and says how many.
	Retry(ctx context.Context, provider, id string) (int, error)
	// Drop removes a dead letter, or all of a provider when id is empty.
	Drop(ctx context.Context, provider, id string) (int, error)
	// DropOrphan removes all that is stored for a provider that is gone.
	DropOrphan(ctx context.Context, provider string) (int, error)
}

// Stored is what is stored for one provider.
type Stored struct {
	Provider   string     `json:"provider"`
	Orphaned   bool       `json:"orphaned"` // nobody delivers it
	Events     uint64     `json:"events"`
	Bytes      uint64     `json:"bytes"`
	Oldest     *time.Time `json:"oldest,omitempty"`
	Dead       uint64     `json:"dead"`
	DeadBytes  uint64     `json:"dead_bytes"`
	OldestDead *time.Time `json:"oldest_dead,omitempty"`
}

// DeadLetter is an event that a provider did not handle in all its tries.
type DeadLetter struct {
	ID       string    `json:"id"`
	Provider string    `json:"provider"`
	Hook     string    `json:"hook"`
	Client   string    `json:"client"`
	Topic    string    `json:"topic"`
	Time     time.Time `json:"time"` // when the broker told it
	Died     time.Time `json:"died"`
	Tries    int       `json:"tries"`
	Error    string    `json:"error"` // of the last try
	Bytes    int       `json:"bytes,omitempty"`
	Request  []byte    `json:"request,omitempty"` // only if it was asked for
}

// Moved is how many events a request was about.
type Moved struct {
	Events int `json:"events"`
}

// NotFound is what a Control or Spool answers with when there is nothing of that name.
func NotFound(err error) error { return &Error{"not_found", err.Error()} }

// storeAnswers is how long a status waits for the store, which may be another machine's.
const storeAnswers = 500 * time.Millisecond

func (h *handler) status(r *http.Request) (any, error) {
	s := h.control.Status()
	if h.opts.Spool == nil {
		return s, nil
	}
	if spool := h.opts.Spool(); spool != nil {
		ctx, cancel := context.WithTimeout(r.Context(), storeAnswers)
		defer cancel()
		var err error
		if s.Stored, err = spool.List(ctx); err != nil {
			s.StoredError = err.Error()
		}
	}
	return s, nil
}

const (
	defaultDead = 100
	maxDead     = 10_000
)

// spoolRoutes adds the routes about what is delivered durably. spool answers nil while
// there is none.
func (h *handler) spoolRoutes(spool func() Spool) {
	with := func(f func(s Spool, r *http.Request) (any, error)) func(*http.Request) (any, error) {
		return func(r *http.Request) (any, error) {
			if spool != nil {
				if s := spool(); s != nil {
					return f(s, r)
				}
			}
			return nil, &Error{"not_found", "nothing is delivered durably: no provider of the config has delivery: durable"}
		}
	}
	h.answer("GET /v1/spool", with(func(s Spool, r *http.Request) (any, error) {
		list, err := s.List(r.Context())
		if list == nil {
			list = []Stored{}
		}
		return map[string][]Stored{"providers": list}, err
	}))
	h.answer("GET /v1/spool/{provider}/dead", with(func(s Spool, r *http.Request) (any, error) {
		v, err := parameters(r, "limit")
		if err != nil {
			return nil, err
		}
		most := defaultDead
		if text := v.Get("limit"); text != "" {
			if most, err = strconv.Atoi(text); err != nil || most < 1 || most > maxDead {
				return nil, &Error{"bad_request", fmt.Sprintf("limit: %q is not a number from 1 to %d", text, maxDead)}
			}
		}
		dead, err := s.Dead(r.Context(), r.PathValue("provider"), most)
		if dead == nil {
			dead = []DeadLetter{}
		}
		return map[string][]DeadLetter{"dead": dead}, err
	}))
	h.answer("GET /v1/dead/{id}", with(func(s Spool, r *http.Request) (any, error) {
		v, err := parameters(r, "request")
		if err != nil {
			return nil, err
		}
		l, err := s.DeadLetter(r.Context(), r.PathValue("id"))
		if err == nil && v.Get("request") != "true" {
			l.Request = nil
		}
		return l, err
	}))
	moved := func(n int, err error) (any, error) { return Moved{n}, err }
	for name, f := range map[string]func(Spool, context.Context, string, string) (int, error){"retry": Spool.Retry, "drop": Spool.Drop} {
		h.answer("POST /v1/dead/{id}/"+name, with(func(s Spool, r *http.Request) (any, error) {
			return moved(f(s, r.Context(), "", r.PathValue("id")))
		}))
		h.answer("POST /v1/spool/{provider}/dead/"+name, with(func(s Spool, r *http.Request) (any, error) {
			return moved(f(s, r.Context(), r.PathValue("provider"), ""))
		}))
	}
	h.answer("POST /v1/spool/{provider}/drop", with(func(s Spool, r *http.Request) (any, error) {
		return moved(s.DropOrphan(r.Context(), r.PathValue("provider")))
	}))
}

// Stored asks what is stored.
func (c *Client) Stored(ctx context.Context) ([]Stored, error) {
	var answer struct{ Providers []Stored }
	err := c.do(ctx, http.MethodGet, "/v1/spool", &answer)
	return answer.Providers, err
}

// Dead asks for a provider's dead letters.
func (c *Client) Dead(ctx context.Context, provider string, most int) ([]DeadLetter, error) {
	var answer struct{ Dead []DeadLetter }
	err := c.do(ctx, http.MethodGet, "/v1/spool/"+url.PathEscape(provider)+"/dead?limit="+strconv.Itoa(most), &answer)
	return answer.Dead, err
}

// DeadLetter asks for one, with its request if that is wanted.
func (c *Client) DeadLetter(ctx context.Context, id string, request bool) (*DeadLetter, error) {
	l := new(DeadLetter)
	return l, c.do(ctx, http.MethodGet, "/v1/dead/"+url.PathEscape(id)+"?request="+strconv.FormatBool(request), l)
}

// MoveDead retries or drops a dead letter, or, when id is empty, all of a provider.
func (c *Client) MoveDead(ctx context.Context, verb, provider, id string) (int, error) {
	path := "/v1/dead/" + url.PathEscape(id) + "/" + verb
	if id == "" {
		path = "/v1/spool/" + url.PathEscape(provider) + "/dead/" + verb
	}
	var m Moved
	err := c.do(ctx, http.MethodPost, path, &m)
	return m.Events, err
}

// DropOrphan drops all that is stored for a provider that is gone.
func (c *Client) DropOrphan(ctx context.Context, provider string) (int, error) {
	var m Moved
	err := c.do(ctx, http.MethodPost, "/v1/spool/"+url.PathEscape(provider)+"/drop", &m)
	return m.Events, err
}
