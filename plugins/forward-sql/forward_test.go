package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) { plugintest.Main(m, main) }

// onEach runs a test with an empty database of each kind.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"PostgreSQL": func(t *testing.T) string { return targets.Postgres(t).URL },
		"MariaDB":    func(t *testing.T) string { return targets.MariaDB(t).URL },
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "events.db") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, url(t))
		})
	}
}

func newPlugin(t *testing.T, config string) *plugintest.Plugin {
	t.Helper()
	p := &plugin{config: defaults()}
	plugintest.Configure(t, config, &p.config)
	return plugintest.New(t, p)
}

func open(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// stored is what a query gives, each row with | between its columns.
func stored(t *testing.T, db *sqldb.DB, query string) (lines []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	for rows.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(names))
		for i, v := range values {
			texts[i] = v.String
			if !v.Valid {
				texts[i] = "NULL"
			}
		}
		lines = append(lines, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestUnderHookmux(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		h := plugintest.Run(t, fmt.Sprintf("observe: true\ntimeout: 30s\nconfig: {url: %q, hooks: [message.publish, message.delivered]}", url))
		for i := range 200 {
			client := fmt.Sprint("c", i%7)
			h.Publish(t, client, "a/b", fmt.Sprint(i))
			h.Delivered(t, client, i)
		}
		h.Stop()
		if strings.Contains(h.Log(), targets.Password) {
			t.Error("the password is in the log")
		}
		db := open(t, url)
		next := make(map[string]int)
		for _, line := range stored(t, db, "SELECT client, payload, topic, qos, node, hook, event_id FROM mqtt_events WHERE hook = 'message.publish' ORDER BY seq") {
			client, _, _ := strings.Cut(line, "|")
			i := 7*next[client] + int(client[1]-'0')
			next[client]++
			if want := fmt.Sprintf("%s|%d|a/b|1|emqx@127.0.0.1|message.publish|NULL", client, i); line != want {
				t.Errorf("%s, want %s", line, want)
			}
		}
		got := stored(t, db, "SELECT hook, count(*) FROM mqtt_events GROUP BY hook ORDER BY hook")
		if fmt.Sprint(got) != "[message.delivered|200 message.publish|200]" {
			t.Error(got)
		}
	})
}

// Values are stored as they are, whatever is in them; what a database does not take fails alone.
func TestHostileValues(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		h := newPlugin(t, fmt.Sprintf(`{"url": %q, "hooks": ["message.publish", "client.connected"]}`, url))
		long := strings.Repeat("é", 32_767)
		binary := string([]byte{0, 255, 254, '\'', '\\', 0})
		injection := `'); DROP TABLE mqtt_events; -- \' " $1 :a ?`
		messages := []*sdk.Message{
			{Id: "plain", Topic: "t", Payload: []byte("p")},
			{Id: "injection", Topic: injection, From: injection, Payload: []byte(injection), Headers: map[string]string{"username": injection, "peerhost": injection}},
			{Id: "long", Topic: long, From: long, Payload: []byte(long), Headers: map[string]string{"username": long}},
			{Id: "binary", Topic: "日本\t\r\n", Payload: []byte(binary), Qos: 2},
			{Id: "empty", Headers: map[string]string{"allow_publish": "true"}},
			{Id: "nul", Topic: "a\x00b", Payload: []byte("p")},
			{Id: "future", Topic: "t", Timestamp: 1 << 62},
			{Id: "refused", Topic: "t", Headers: map[string]string{"allow_publish": "false"}},
			{Id: "huge", Topic: "t", Payload: make([]byte, 20<<20)},
		}
		errs := make(chan string, len(messages))
		for _, m := range messages {
			go func() {
				if err := h.Publish(t.Context(), "id-"+m.GetId(), m); err != nil {
					errs <- m.GetId() + ": " + err.Error()
					return
				}
				errs <- ""
			}()
		}
		failed := make(map[string]string)
		for range messages {
			if id, text, ok := strings.Cut(<-errs, ": "); ok {
				failed[id] = text
			}
		}
		db := open(t, url)
		want := map[sqldb.Kind]map[string]string{
			sqldb.Postgres: {"nul": "PostgreSQL has no text with a NUL in it, and the event's topic has one"},
			sqldb.MySQL:    {"huge": "does not take it"},
		}[db.Kind]
		for id, text := range failed {
			if want[id] == "" || !strings.Contains(text, want[id]) {
				t.Errorf("%s: %.200s", id, text)
			}
		}
		if len(failed) != len(want) {
			t.Errorf("failed: %v", failed)
		}
		n := 0
		for _, m := range messages {
			if failed[m.GetId()] != "" || m.GetId() == "refused" {
				continue
			}
			n++
			var topic, client, username, payload sql.NullString
			q := "SELECT topic, client, username, payload FROM mqtt_events WHERE message_id = '" + m.GetId() + "'"
			if err := db.QueryRowContext(t.Context(), q).Scan(&topic, &client, &username, &payload); err != nil {
				t.Fatal(m.GetId(), err)
			}
			if topic.String != m.GetTopic() || client.String != m.GetFrom() || username.String != m.GetHeaders()["username"] || !payload.Valid || payload.String != string(m.GetPayload()) {
				t.Errorf("%s: %.100q %.100q %.100q %.100q", m.GetId(), topic.String, client.String, username.String, payload.String)
			}
		}
		if got := stored(t, db, "SELECT count(*) FROM mqtt_events"); got[0] != fmt.Sprint(n) {
			t.Errorf("%s rows, want %d", got, n)
		}
		// What is no message is stored as JSON, without a password.
		_, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: &sdk.ClientInfo{Clientid: "c", Username: injection, Password: "canary"}})
		got := stored(t, db, "SELECT client, username, topic, payload, request FROM mqtt_events WHERE hook = 'client.connected'")
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "c|"+injection+"|NULL|NULL|{") || strings.Contains(got[0], "canary") {
			t.Errorf("%v %v", got, err)
		}
	})
}

// An event that comes again, in the same batch or a later one, is there once.
func TestRepetitions(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		h := newPlugin(t, fmt.Sprintf(`{"url": %q}`, url))
		publish := func(client, n, times int) {
			errs := make(chan error, times)
			for range times {
				go func() {
					errs <- h.Publish(t.Context(), fmt.Sprintf("%d-%d", client, n), &sdk.Message{From: fmt.Sprint(client), Payload: fmt.Append(nil, n)})
				}()
			}
			for range times {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		}
		for n := range 20 {
			publish(1, n, 1+n%3)
			publish(2, n, 1)
			publish(1, n/2, 2)
		}
		if got := stored(t, open(t, url), "SELECT count(*), count(DISTINCT event_id), max(event_id) FROM mqtt_events"); got[0] != "40|40|2-9" {
			t.Error(got)
		}
	})
}

// TestOutages kills, stops and freezes the database under load: nothing is lost, nothing is there
// twice, and each client's messages are in order.
func TestOutages(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(testing.TB) *targets.Database{"PostgreSQL": targets.NewPostgres, "MariaDB": targets.NewMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := target(t)
			h := newPlugin(t, fmt.Sprintf(`{"url": %q}`, server.URL))
			load(t, h, server.URL, func(until func(int64)) {
				until(500)
				server.Kill(t)
				server.Start(t)
				until(3000)
				server.Stop(t)
				server.Start(t)
				until(6000)
				server.Pause(t)
				time.Sleep(3 * time.Second) // longer than an event has: it must end in errors, not in a wait
				server.Resume(t)
			})
		})
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		url := "sqlite:" + filepath.Join(t.TempDir(), "events.db")
		h := newPlugin(t, fmt.Sprintf(`{"url": %q}`, url))
		db := open(t, url)
		load(t, h, url, func(until func(int64)) {
			until(3000)
			tx, err := db.BeginTx(t.Context(), nil) // which locks the file
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second) // longer than an event has
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
		})
	})
}

// load delivers events of many clients while trouble is made, and looks at what is stored.
func load(t *testing.T, h *plugintest.Plugin, url string, trouble func(until func(stored int64))) {
	t.Helper()
	const clients, each = 40, 250
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
			err := h.Publish(ctx, fmt.Sprintf("%d-%d", e.client, e.n), &sdk.Message{Topic: "t", From: fmt.Sprint(e.client), Payload: fmt.Append(nil, e.n)})
			if err == nil {
				taken.Add(1)
			}
			return err
		})
	}()
	trouble(func(n int64) {
		plugintest.Eventually(t, fmt.Sprint(n, " events are stored"), func() bool { return taken.Load() >= n })
	})
	if failed := <-done; len(failed) > 0 {
		t.Errorf("%d were never taken, such as %v", len(failed), failed[0])
	}
	next := make(map[string]int)
	for _, line := range stored(t, open(t, url), "SELECT client, payload, event_id FROM mqtt_events ORDER BY seq") {
		client, _, _ := strings.Cut(line, "|")
		if want := fmt.Sprintf("%s|%d|%[1]s-%[2]d", client, next[client]); line != want {
			t.Fatalf("%s, want %s", line, want)
		}
		next[client]++
	}
	for c := range clients {
		if n := next[fmt.Sprint(c)]; n != each {
			t.Errorf("client %d: %d events of %d", c, n, each)
		}
	}
}
