package main

import (
	"bytes"
	"database/sql"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A small fleet, with real programs, a real broker and kills.
func TestFleet(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/hookmux", "./plugins/auth-sql", "./plugins/authz-rules", "./plugins/presence-sql", "./plugins/forward-sql")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"--devices", "60", "--messages", "10", "--programs", bin, "--config", "hookmux.yaml", "--dir", t.TempDir()}, &stdout, &stderr)
	if err != nil || !strings.Contains(stdout.String(), "messages stored") || !strings.HasSuffix(stdout.String(), "every session's history is right.\n") {
		t.Errorf("%v\n%s\n%s", err, &stdout, &stderr)
	}
	if !strings.Contains(stderr.String(), "60 devices") {
		t.Errorf("no progress was shown: %q", stderr.String())
	}
}

// The database is found wrong when it is: of two devices with two messages each, one is
// there twice, one is missing, two are out of order, and a session never ended.
func TestWhatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, stmt := range []string{
		"CREATE TABLE mqtt_events (seq integer PRIMARY KEY, client text, topic text, payload text)",
		"CREATE TABLE mqtt_sessions (id integer PRIMARY KEY, client text, connected_at text, disconnected_at text, reason text)",
		"CREATE VIEW mqtt_online AS SELECT * FROM mqtt_sessions WHERE disconnected_at IS NULL",
		`INSERT INTO mqtt_events (client, topic, payload) VALUES ('device-0000', 'fleet/device-0000/data', '{"n":1}'), ('device-0000', 'fleet/device-0000/data', '{"n":0}'),
			('device-0001', 'fleet/device-0000/data', '{"n":0}'), ('device-0001', 'fleet/device-0001/data', '{"n":0}')`,
		`INSERT INTO mqtt_sessions (client, connected_at, disconnected_at, reason) VALUES ('device-0000', '2', '1', 'normal'), ('device-0001', '1', NULL, ''),
			('device-0001', '1', '5', 'normal'), ('device-0001', '2', '6', 'normal')`,
	} {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	done := new(tally)
	done.messages.Store(4)
	done.sessions.Store(4)
	var out bytes.Buffer
	err = ask(t.Context(), db, options{devices: 2, messages: 2}, done, &out)
	if err == nil || err.Error() != "7 things are not as they should be" {
		t.Errorf("%v\n%s", err, &out)
	}
}
