package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// poisoned answers what has poison in it with that status.
func poisoned(status int) func(http.ResponseWriter, []cloudEvent) bool {
	return func(w http.ResponseWriter, events []cloudEvent) bool {
		for _, e := range events {
			if strings.Contains(string(e.Data), "UNION SELECT") {
				w.WriteHeader(status)
				return true
			}
		}
		return false
	}
}

// An event that a firewall or a bug in the server does not like fails alone.
func TestPoison(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		for _, code := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusInternalServerError, http.StatusBadGateway} {
			s := newServer(t, poisoned(code))
			h := newPlugin(t, fmt.Sprintf(`{"url": %q, "batch": %d}`, s.URL, batch))
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					payload := fmt.Sprint(i)
					if i%10 == 3 {
						payload = "1 UNION SELECT 2"
					}
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					err := h.Publish(ctx, fmt.Sprint("id", i), &sdk.Message{From: fmt.Sprint(i), Payload: []byte(payload)})
					if i%10 == 3 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("it answered %d", code))) || i%10 != 3 && err != nil {
						t.Errorf("%d: client %d: %v", code, i, err)
					}
				})
			}
			all.Wait()
			if len(s.events) != 18 {
				t.Errorf("%d: %d events", code, len(s.events))
			}
		}
	})
}

// A poisoned event becomes a dead letter while the server takes others. One that takes nothing, such as
// behind a wrong URL, makes none, and is not asked for each event.
func TestDeadLetters(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		s := newServer(t, poisoned(http.StatusForbidden))
		const keys = "observe: true\ndelivery: durable\ntimeout: 2m\nconfig: {url: %q, batch: %d}"
		h := plugintest.RunTop(t, "spool: {tries: 2}", fmt.Sprintf(keys, s.URL, batch))
		h.Publish(t, "bad", "a/b", "1 UNION SELECT 2")
		n := 0
		plugintest.Eventually(t, "it is a dead letter", func() bool {
			n++
			h.Publish(t, fmt.Sprint("good", n%10), "a/b", fmt.Sprint(n))
			return strings.Contains(h.Log(), "dead letter")
		})
		var wrong atomic.Bool
		wrong.Store(true)
		s = newServer(t, func(w http.ResponseWriter, _ []cloudEvent) bool {
			if wrong.Load() {
				w.WriteHeader(http.StatusNotFound)
			}
			return wrong.Load()
		})
		h = plugintest.RunTop(t, "spool: {tries: 1}", fmt.Sprintf(keys, s.URL, batch))
		for n := range 50 {
			h.Publish(t, fmt.Sprint(n), "a/b", fmt.Sprint(n))
		}
		plugintest.Eventually(t, "some are tried", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.requests > 60 })
		wrong.Store(false)
		plugintest.Eventually(t, "all are taken", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.events) == 50 })
	})
}

// What takes nothing gets a handful of requests for a batch, not two for each event.
func TestAwayIsSoonKnown(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, _ []cloudEvent) bool { w.WriteHeader(http.StatusNotFound); return true })
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"url": %q, "batch": 1000}`, s.URL), &p.config)
	plugintest.New(t, p)
	items := make([]item, 1000)
	for i := range items {
		items[i] = item{&event.Event{BatchEvent: &sdk.BatchEvent{ID: fmt.Sprint(i)}}, []byte("{}")}
	}
	p.sendMany(t.Context(), items)
	if s.requests > 20 {
		t.Errorf("%d requests", s.requests)
	}
}

// A server that wants a pause gets one, also by the next batch, and a pause for ever is one of an hour.
func TestRetryAfter(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		for _, seconds := range []string{"9223372037", "99999999999999999999", "60"} {
			s := newServer(t, func(w http.ResponseWriter, _ []cloudEvent) bool {
				w.Header().Set("Retry-After", seconds)
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			})
			h := newPlugin(t, fmt.Sprintf(`{"url": %q, "batch": %d}`, s.URL, batch))
			for n := range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				err := h.Publish(ctx, fmt.Sprint(n), &sdk.Message{From: "c"})
				cancel()
				if err == nil || !strings.Contains(err.Error(), "Retry-After") {
					t.Errorf("%s: %v", seconds, err)
				}
			}
			if s.requests != 1 {
				t.Errorf("%s: %d requests", seconds, s.requests)
			}
		}
	})
}

// A server that answers with the request brings no secret into errors, and so into the log.
func TestEcho(t *testing.T) {
	t.Parallel()
	const secret = "canary-canary-canary"
	for _, header := range []string{secret, "Bearer " + secret, "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret))} {
		for _, before := range []int{0, 100, 190, 199} {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, password, _ := r.BasicAuth()
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, strings.Repeat(".", before)+r.Header.Get("Authorization")+password+r.URL.String())
			}))
			h := newPlugin(t, fmt.Sprintf(`{"url": %q, "headers": {"Authorization": %q}}`, s.URL+"/?token="+secret, header))
			err := h.Publish(t.Context(), "1", &sdk.Message{From: "c"})
			s.Close()
			if err == nil || strings.Contains(err.Error(), "can") || strings.Contains(err.Error(), "Basic") || !strings.Contains(err.Error(), "*") {
				t.Errorf("%s after %d: %v", header, before, err)
			}
		}
	}
}
