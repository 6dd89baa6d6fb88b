package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
)

// Whoever is killed, each message that was answered is in the table, once.
func TestKill(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func() (url string, kill, restart func()){
		"PostgreSQL": func() (string, func(), func()) {
			s := targets.NewPostgres(t)
			return s.URL, func() { s.Kill(t) }, func() { s.Start(t) }
		},
		"MariaDB": func() (string, func(), func()) {
			s := targets.NewMariaDB(t)
			return s.URL, func() { s.Kill(t) }, func() { s.Start(t) }
		},
		"SQLite": func() (string, func(), func()) {
			return "sqlite:" + filepath.Join(t.TempDir(), "events.db"), func() {}, func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, kill, restart := target()
			plugintest.KillTest(t, fmt.Sprintf("config: {url: %q}", url), true, kill, restart, func() []plugintest.Stored { return all(t, url) })
		})
	}
}

func all(t *testing.T, url string) (messages []plugintest.Stored) {
	t.Helper()
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT client, payload, coalesce(event_id, '') FROM mqtt_events ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var m plugintest.Stored
		var payload []byte
		if err := rows.Scan(&m.Client, &payload, &m.EventID); err != nil {
			t.Fatal(err)
		}
		m.N, _ = strconv.Atoi(string(payload))
		messages = append(messages, m)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return messages
}
