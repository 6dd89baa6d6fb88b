package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) { plugintest.Main(m, main) }

// state is what a stream says of itself; its zero value if there is no stream yet.
func state(t *testing.T, url, name string) jetstream.StreamState {
	t.Helper()
	var s jetstream.StreamState
	inStream(t, url, name, func(stream jetstream.Stream) { s = stream.CachedInfo().State })
	return s
}

// stored are the messages of a stream, in its order.
func stored(t *testing.T, url, name string) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	inStream(t, url, name, func(stream jetstream.Stream) {
		s := stream.CachedInfo().State
		for seq := s.FirstSeq; seq <= s.LastSeq && seq > 0; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
	})
	return all
}

func inStream(t *testing.T, url, name string, do func(jetstream.Stream)) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	do(stream)
}

func TestUnderHookmux(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	h := plugintest.Run(t, fmt.Sprintf("observe: true\ntimeout: 30s\nconfig: {servers: [%q], stream: E2E, subject: \"e2e.{hook}.{topic}\", hooks: [message.publish, client.connected]}", server.URL))
	for i := range 200 {
		h.Publish(t, fmt.Sprint("c", i%7), "a/b", fmt.Sprint(i))
	}
	h.Stop()
	messages := stored(t, server.URL, "E2E")
	if len(messages) != 200 {
		t.Fatalf("%d messages", len(messages))
	}
	next := make(map[string]int)
	for _, m := range messages {
		client := m.Header.Get("mqtt-client")
		i := 7*next[client] + int(client[1]-'0')
		next[client]++
		if m.Subject != "e2e.message.publish.a.b" || string(m.Data) != fmt.Sprint(i) || m.Header.Get("mqtt-topic") != "a/b" {
			t.Errorf("%s %s %v, want %d", m.Subject, m.Data, m.Header, i)
		}
	}
}

// Hostile names stay what they are, and reach no other subject.
func TestHostileTopics(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "stream": "HOSTILE", "subject": "hostile.{topic}.{topic.2}.{client}"}`, server.URL), &p.config)
	h := plugintest.New(t, p)
	long := strings.Repeat("é/", 30_000)
	topics := []string{
		"$JS/API/STREAM/DELETE/HOSTILE", "a.b/c", "a/b/c", "*/>", "", "/", "a//b", "a b\tc\r\nPUB x 1\r\nx", "%2E", "x/\x00\x7f", "日本/語", long, long + "x",
	}
	var want []string
	for i, topic := range topics {
		if err := h.Publish(t.Context(), "", &sdk.Message{Topic: topic, From: "c\r\nEvil: 1", Payload: []byte(topic), Headers: map[string]string{"username": "u\nv"}}); err != nil {
			t.Errorf("%.30q: %v", topic, err)
		}
		want = append(want, topic)
		_ = i
	}
	subjects := make(map[string]string)
	messages := stored(t, server.URL, "HOSTILE")
	if len(messages) != len(want) {
		t.Fatalf("%d of %d messages", len(messages), len(want))
	}
	for i, m := range messages {
		if string(m.Data) != want[i] {
			t.Errorf("%d: %.30q, want %.30q", i, m.Data, want[i])
		}
		if other, taken := subjects[m.Subject]; taken {
			t.Errorf("%.30q and %.30q have the subject %s", other, m.Data, m.Subject)
		}
		subjects[m.Subject] = string(m.Data)
		if !strings.HasPrefix(m.Subject, "hostile.") || len(m.Subject) > rules.Longest || m.Header.Get("Evil") != "" {
			t.Errorf("%.30q: subject %s, headers %v", m.Data, m.Subject, m.Header)
		}
		if m.Header.Get("mqtt-client") != "c%0D%0AEvil: 1" || m.Header.Get("mqtt-username") != "u%0Av" {
			t.Errorf("headers %v", m.Header)
		}
	}
	for _, subject := range []string{"hostile.%24JS.API.STREAM.DELETE.HOSTILE.API.c%0D%0AEvil:%201", "hostile.a%2Eb.c.c.c%0D%0AEvil:%201", "hostile.%.%.c%0D%0AEvil:%201"} {
		if _, ok := subjects[subject]; !ok {
			t.Errorf("no %s in %v", subject, subjects)
		}
	}
}

// A message that no server takes fails alone.
func TestTooLargeAMessageFailsAlone(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "stream": "LARGE", "subject": "large.{topic}"}`, server.URL), &p.config)
	h := plugintest.New(t, p)
	payloads := [][]byte{[]byte("a"), make([]byte, 2<<20), []byte("b")}
	errs := make(chan error, len(payloads))
	for i, payload := range payloads {
		go func() {
			errs <- h.Publish(t.Context(), fmt.Sprint("large-", i), &sdk.Message{Topic: "t", Payload: payload})
		}()
	}
	var failed []error
	for range payloads {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "2097152 bytes, the server takes 1048576") {
		t.Error(failed)
	}
	if n := len(stored(t, server.URL, "LARGE")); n != 2 {
		t.Errorf("%d messages are stored", n)
	}
}

// A connection that is lost is the end of all that waits for an answer on it, at once.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	server := targets.NewNATS(t)
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "stream": "LOST", "subject": "lost.{topic}"}`, server.URL), &p.config)
	plugintest.New(t, p)
	server.Pause(t)
	var batch []*sdk.BatchEvent
	for n := range 5 {
		batch = append(batch, &sdk.BatchEvent{
			ID: fmt.Sprint(n), Hook: sdk.MessagePublish, Request: &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: "a", Payload: []byte("x")}},
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error)
	go func() { done <- p.OnBatch(ctx, batch) }()
	plugintest.Eventually(t, "all are under way", func() bool { return p.js.PublishAsyncPending() == len(batch) })
	server.Kill(t)
	if err := <-done; err != nil || ctx.Err() != nil {
		t.Error(err, ctx.Err())
	}
}

// Killed, stopped and frozen under load, nothing is lost, nothing is there twice, and each client's
// messages are in order.
func TestOutages(t *testing.T) {
	t.Parallel()
	server := targets.NewNATS(t)
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "stream": "OUTAGE", "subject": "outage.{client}"}`, server.URL), &p.config)
	h := plugintest.New(t, p)
	const clients, each = 40, 300
	type numbered struct{ client, n int }
	events := make([][]numbered, clients)
	for c := range events {
		for n := range each {
			events[c] = append(events[c], numbered{c, n})
		}
	}
	done := make(chan []error)
	go func() {
		done <- plugintest.Deliver(t, events, 5000, func(ctx context.Context, e numbered) error {
			return h.Publish(ctx, fmt.Sprintf("%d-%d", e.client, e.n), &sdk.Message{Topic: "t", From: fmt.Sprint(e.client), Payload: fmt.Append(nil, e.n)})
		})
	}()
	count := func(atLeast int) {
		plugintest.Eventually(t, fmt.Sprint(atLeast, " messages"), func() bool { return state(t, server.URL, "OUTAGE").Msgs >= uint64(atLeast) })
	}
	count(500)
	server.Kill(t)
	server.Start(t)
	count(2000)
	server.Stop(t)
	server.Start(t)
	count(4000)
	server.Pause(t)
	time.Sleep(3 * time.Second) // longer than an event has: it must end in errors, not in a wait
	server.Resume(t)
	if failed := <-done; len(failed) > 0 {
		t.Errorf("%d were never taken, such as %v", len(failed), failed[0])
	}
	next := make(map[string]int)
	for _, m := range stored(t, server.URL, "OUTAGE") {
		client := m.Header.Get("mqtt-client")
		if string(m.Data) != fmt.Sprint(next[client]) {
			t.Errorf("client %s: %s, want %d", client, m.Data, next[client])
		}
		next[client]++
	}
	for c := range clients {
		if n := next[fmt.Sprint(c)]; n != each {
			t.Errorf("client %d: %d messages of %d", c, n, each)
		}
	}
}
