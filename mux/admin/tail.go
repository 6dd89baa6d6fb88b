package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hookmux/hookmux/mux/trail"
)

const (
	// tailPace is how often a follower is sent what has happened. With what may wait for
	// it, it bounds the events per second, and so what somebody who follows everything
	// costs: people do not read faster.
	tailPace = 100 * time.Millisecond
	// tailAlive is how often a follower is sent something when nothing happens, to notice
	// that it has gone.
	tailAlive = 15 * time.Second
	// tailWrite is how long one write may take.
	tailWrite = 10 * time.Second
)

// Lost says that a follower was too slow for some events.
type Lost struct {
	Events int64 `json:"events"`
}

// tail sends events as they happen, as server-sent events: decision, notification and
// lost.
func (h *handler) tail(w http.ResponseWriter, r *http.Request) {
	v, err := parameters(r, "client", "hook", "provider", "topic")
	filter := trail.Filter{Client: v.Get("client"), Hook: v.Get("hook"), Provider: v.Get("provider"), Topic: v.Get("topic")}
	if err == nil {
		err = filter.Check()
	}
	if err != nil {
		fail(w, "bad_request", err.Error())
		return
	}
	f, err := h.control.Follow(filter)
	switch {
	case errors.Is(err, trail.ErrTooMany):
		fail(w, "busy", err.Error())
		return
	case err != nil:
		fail(w, "failed", err.Error())
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies
	out := &sender{w: w, c: http.NewResponseController(w)}
	out.text(": following\n\n")
	alive := time.NewTicker(tailAlive)
	defer alive.Stop()
	for out.flush() == nil {
		pace := time.After(tailPace)
		select {
		case e := <-f.Events():
			out.event(e)
			for range len(f.Events()) {
				out.event(<-f.Events())
			}
			if n := f.Lost(); n > 0 {
				out.send("lost", Lost{n})
			}
		case <-alive.C:
			out.text(": still here\n\n")
		case <-r.Context().Done():
			return
		case <-h.stopping:
			return
		}
		select {
		case <-pace:
		case <-r.Context().Done():
			return
		case <-h.stopping:
			return
		}
	}
}

// sender writes server-sent events, and remembers the first failure.
type sender struct {
	w   http.ResponseWriter
	c   *http.ResponseController
	err error
}

func (s *sender) text(t string) {
	if s.err == nil {
		_ = s.c.SetWriteDeadline(time.Now().Add(tailWrite))
		_, s.err = s.w.Write([]byte(t))
	}
}

func (s *sender) event(e trail.Event) {
	if e.Decision != nil {
		s.send("decision", e.Decision)
	} else {
		s.send("notification", e.Notification)
	}
}

func (s *sender) send(event string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // there is nothing in it that JSON has not
	}
	s.text(fmt.Sprintf("event: %s\ndata: %s\n\n", event, text))
}

func (s *sender) flush() error {
	if s.err == nil {
		s.err = s.c.Flush()
	}
	return s.err
}
