package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) {
	if os.Getenv(envWebServer) != "" {
		fmt.Fprintln(os.Stderr, serveWeb())
		os.Exit(1)
	}
	plugintest.Main(m, main)
}

// cloudEvent is what the server reads.
type cloudEvent struct {
	SpecVersion, ID, Source, Type, Subject, Time, DataContentType string
	Data                                                          json.RawMessage
	DataBase64                                                    []byte `json:"data_base64"`
	MQTTClient, MQTTTopic, MQTTUsername, MQTTQoS                  string
}

// server keeps the CloudEvents that it takes, in their order.
type server struct {
	*httptest.Server

	// answer may answer a request itself; it then says true, and nothing is kept.
	answer func(w http.ResponseWriter, events []cloudEvent) bool

	mu       sync.Mutex
	events   []cloudEvent
	requests int
	header   http.Header
}

func newServer(t *testing.T, answer func(http.ResponseWriter, []cloudEvent) bool) *server {
	t.Helper()
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(s.Close)
	return s
}

func (s *server) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var events []cloudEvent
	switch ct := r.Header.Get("Content-Type"); ct {
	case "application/cloudevents+json; charset=utf-8":
		events = make([]cloudEvent, 1)
		err = json.Unmarshal(body, &events[0])
	case "application/cloudevents-batch+json; charset=utf-8":
		err = json.Unmarshal(body, &events)
	default:
		err = fmt.Errorf("Content-Type %s", ct)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.header = r.Header
	if s.answer != nil && s.answer(w, events) {
		return
	}
	s.events = append(s.events, events...)
	w.WriteHeader(http.StatusAccepted)
}

func newPlugin(t *testing.T, config string) *plugintest.Plugin {
	t.Helper()
	p := &plugin{config: defaults()}
	plugintest.Configure(t, config, &p.config)
	return plugintest.New(t, p)
}

// onBoth runs a test with a request for each event, and with many events in one.
func onBoth(t *testing.T, test func(t *testing.T, batch int)) {
	t.Parallel()
	for name, batch := range map[string]int{"each": 1, "many": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, batch)
		})
	}
}

func TestUnderHookmux(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		s := newServer(t, nil)
		h := plugintest.Run(t, fmt.Sprintf("observe: true\ntimeout: 20s\nconfig: {url: %q, batch: %d, headers: {Authorization: Bearer canary}}", s.URL, batch))
		for i := range 200 {
			h.Publish(t, fmt.Sprint("c", i%7), "a/b", fmt.Sprint(i))
		}
		h.Stop()
		next := make(map[string]int)
		ids := make(map[string]bool)
		for _, e := range s.events {
			i := 7*next[e.MQTTClient] + int(e.MQTTClient[1]-'0')
			next[e.MQTTClient]++
			ids[e.ID] = true
			if string(e.Data) != fmt.Sprint(i) || e.Type != "io.github.hookmux.message.publish" || e.Source != "/emqx/emqx@127.0.0.1" ||
				e.Subject != "a/b" || e.SpecVersion != "1.0" || e.MQTTQoS != "1" {
				t.Errorf("%+v, want %d", e, i)
			}
			if _, err := time.Parse(time.RFC3339Nano, e.Time); err != nil {
				t.Error(err)
			}
		}
		if len(s.events) != 200 || len(ids) != 200 || s.header.Get("Authorization") != "Bearer canary" {
			t.Errorf("%d events, %d ids, header %v", len(s.events), len(ids), s.header)
		}
		if strings.Contains(h.Log(), "canary") {
			t.Error("the secret is in the log")
		}
	})
}

func TestData(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	h := newPlugin(t, fmt.Sprintf(`{"url": %q, "hooks": ["message.publish", "client.connected"]}`, s.URL))
	for payload, want := range map[string]string{
		`{"a": "<&>"}`: `application/json {"a":"<&>"} `, "plain\n": `text/plain "plain\n" `, "\xff\x00": "application/octet-stream  \xff\x00", "": "  ",
		"\xef\xbb\xbf1": "text/plain \"\ufeff1\" ", "1e999": "application/json 1e999 ",
	} {
		s.events = nil
		if err := h.Publish(t.Context(), "e1", &sdk.Message{Topic: "a\x00b\n", Payload: []byte(payload), Headers: map[string]string{"username": "\x7f"}}); err != nil {
			t.Errorf("%q: %v", payload, err)
			continue
		}
		e := s.events[0]
		if got := fmt.Sprintf("%s %s %s", e.DataContentType, e.Data, e.DataBase64); got != want || e.ID != "e1" || e.Subject != "a\ufffdb\ufffd" || e.MQTTUsername != "\ufffd" {
			t.Errorf("%q: %q, want %q; %+v", payload, got, want, e)
		}
	}
	s.events = nil
	if _, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: &sdk.ClientInfo{Clientid: "c", Password: "canary"}}); err != nil {
		t.Fatal(err)
	}
	if e := s.events[0]; string(e.Data) != `{"clientinfo":{"clientid":"c"}}` || e.Subject != "c" {
		t.Errorf("%s %+v", e.Data, e)
	}
}

// A refused event fails alone; what only failed for the moment is tried again.
func TestAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		tries := make(map[string]int)
		s := newServer(t, func(w http.ResponseWriter, events []cloudEvent) bool {
			for _, e := range events {
				tries[e.ID]++
				switch first := tries[e.ID] == 1; {
				case e.ID == "bad":
					http.Error(w, "what is <this>?", http.StatusUnprocessableEntity)
				case e.ID == "busy" && first:
					w.Header().Set("Retry-After", "1")
					http.Error(w, "", http.StatusTooManyRequests)
				case e.ID == "broken" && first:
					http.Error(w, "", http.StatusBadGateway)
				case e.ID == "cut" && first:
					panic(http.ErrAbortHandler)
				default:
					continue
				}
				return true
			}
			return false
		})
		h := newPlugin(t, fmt.Sprintf(`{"url": %q, "batch": %d}`, s.URL, batch))
		var all sync.WaitGroup
		for _, id := range []string{"a", "bad", "b", "busy", "broken", "cut", "c"} {
			all.Go(func() {
				err := h.Publish(t.Context(), id, &sdk.Message{From: id, Payload: []byte(id)})
				if id == "bad" {
					if err == nil || !strings.Contains(err.Error(), `it answered 422 Unprocessable Entity "what is <this>?`) {
						t.Error(err)
					}
				} else if err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		all.Wait()
		if len(s.events) != 6 {
			t.Errorf("%+v", s.events)
		}
	})
}

// What is wrong with the config is an error that says so, without a secret.
func TestWrongServers(t *testing.T) {
	t.Parallel()
	moved := newServer(t, func(w http.ResponseWriter, _ []cloudEvent) bool {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
		return true
	})
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	for url, want := range map[string]string{
		moved.URL + "/?token=canary":  "it answered 302 Found",
		secure.URL + "/?token=canary": "certificate signed by unknown authority",
		"http://127.0.0.1:1/canary":   "connection refused",
	} {
		h := newPlugin(t, fmt.Sprintf(`{"url": %q}`, url))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := h.Publish(ctx, "1", &sdk.Message{Topic: "t"})
		cancel()
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "deadline") {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newPlugin(t, fmt.Sprintf(`{"url": %q, "tls": {"ca": %q}}`, secure.URL, ca))
	if err := h.Publish(t.Context(), "1", &sdk.Message{Topic: "t"}); err == nil || !strings.Contains(err.Error(), "it answered 404 Not Found") {
		t.Error(err)
	}
}

// A server that fails, hangs and goes away under load loses nothing, and gets each client's
// events in order; what comes twice has the same id.
func TestOutages(t *testing.T) {
	onBoth(t, func(t *testing.T, batch int) {
		var mode atomic.Int32
		hang := make(chan struct{})
		s := newServer(t, func(w http.ResponseWriter, _ []cloudEvent) bool {
			switch mode.Load() {
			case 1:
				w.WriteHeader(http.StatusInternalServerError)
			case 2:
				<-hang
			default:
				return false
			}
			return true
		})
		h := newPlugin(t, fmt.Sprintf(`{"url": %q, "batch": %d}`, s.URL, batch))
		const clients, each = 20, 100
		type numbered struct{ client, n int }
		events := make([][]numbered, clients)
		for c := range events {
			for n := range each {
				events[c] = append(events[c], numbered{c, n})
			}
		}
		var taken atomic.Int64
		done := make(chan []error)
		go func() {
			done <- plugintest.Deliver(t, events, 5000, func(ctx context.Context, e numbered) error {
				err := h.Publish(ctx, fmt.Sprintf("%d-%d", e.client, e.n), &sdk.Message{From: fmt.Sprint(e.client), Payload: fmt.Append(nil, e.n)})
				if err == nil {
					taken.Add(1)
				}
				return err
			})
		}()
		until := func(n int64) {
			plugintest.Eventually(t, fmt.Sprint(n, " events are taken"), func() bool { return taken.Load() >= n })
		}
		until(300)
		mode.Store(1)
		time.Sleep(time.Second)
		mode.Store(0)
		until(800)
		mode.Store(2)
		time.Sleep(3 * time.Second) // longer than an event has
		mode.Store(0)
		close(hang)
		until(1200)
		s.CloseClientConnections()
		if failed := <-done; len(failed) > 0 {
			t.Errorf("%d were never taken, such as %v", len(failed), failed[0])
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		next, seen := make(map[string]int), make(map[string]bool)
		for _, e := range s.events {
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			if string(e.Data) != fmt.Sprint(next[e.MQTTClient]) {
				t.Errorf("client %s: %s, want %d", e.MQTTClient, e.Data, next[e.MQTTClient])
			}
			next[e.MQTTClient]++
		}
		if len(seen) != clients*each {
			t.Errorf("%d events", len(seen))
		}
	})
}

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                                                    "url: it must be there",
		`{"url": "example.com"}`:                                "url: it must be there, such as https://",
		`{"url": "https://u:canary@h"}`:                         "url: it has a user",
		`{"url": "http://h", "batch": 0}`:                       "batch: 0 is not from 1",
		`{"url": "http://h", "concurrency": 0}`:                 "concurrency: 0 is not from 1",
		`{"url": "http://h", "timeout": "0s"}`:                  "timeout: 0s is not more than 0",
		`{"url": "http://h", "headers": {"a b": "c"}}`:          `headers: "a b" is no name`,
		`{"url": "http://h", "headers": {"a": "canary\n"}}`:     "headers: what a has is no value",
		`{"url": "http://h", "headers": {"content-type": "x"}}`: "headers: the Content-Type is that of CloudEvents",
		`{"url": "http://h", "tls": {"ca": "/nowhere"}}`:        "tls.ca: open /nowhere",
	} {
		p := &plugin{config: defaults()}
		plugintest.Configure(t, config, &p.config)
		err := p.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
