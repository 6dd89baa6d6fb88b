package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// Whatever a database finds wrong with an event, that event fails alone, and the others are stored.
func TestPoisonedEventFailsAlone(t *testing.T) {
	t.Parallel()
	postgres := func(t *testing.T) string { return targets.Postgres(t).URL }
	mariadb := func(t *testing.T) string { return targets.MariaDB(t).URL }
	sqlite := func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/events.db" }
	for name, tt := range map[string]struct {
		url  func(t *testing.T) string
		sql  []string
		want string
	}{
		"PostgreSQL trigger": {postgres, []string{
			"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.topic = 'bad' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$",
			"CREATE TRIGGER no BEFORE INSERT ON mqtt_events FOR EACH ROW EXECUTE FUNCTION no()",
		}, "not this one"},
		"PostgreSQL index": {postgres, []string{"CREATE UNIQUE INDEX one ON mqtt_events (message_id)"}, "duplicate key"},
		"MariaDB trigger": {mariadb, []string{
			"CREATE TRIGGER no BEFORE INSERT ON mqtt_events FOR EACH ROW BEGIN IF NEW.topic = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF; END",
		}, "not this one"},
		"MariaDB partition": {mariadb, []string{
			"ALTER TABLE mqtt_events DROP PRIMARY KEY, DROP KEY event_id, ADD KEY (seq)",
			"ALTER TABLE mqtt_events PARTITION BY LIST (qos) (PARTITION p VALUES IN (0, 1))",
		}, "no partition"},
		"MariaDB check":         {mariadb, []string{"ALTER TABLE mqtt_events ADD CHECK (topic <> 'bad')"}, "CONSTRAINT"},
		"MariaDB index":         {mariadb, []string{"ALTER TABLE mqtt_events ADD UNIQUE KEY one (message_id(50))"}, "another event has"},
		"MariaDB index, no ids": {mariadb, []string{"ALTER TABLE mqtt_events ADD UNIQUE KEY one (message_id(50))"}, "another event has"},
		"SQLite trigger": {sqlite, []string{
			"CREATE TRIGGER no BEFORE INSERT ON mqtt_events WHEN NEW.topic = 'bad' BEGIN SELECT RAISE(ABORT, 'not this one'); END",
		}, "not this one"},
		"SQLite index":  {sqlite, []string{"CREATE UNIQUE INDEX one ON mqtt_events (message_id)"}, "UNIQUE"},
		"SQLite column": {sqlite, []string{"CREATE INDEX value ON mqtt_events (json_extract(topic, '$.value'))"}, "malformed JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := tt.url(t)
			h := newPlugin(t, fmt.Sprintf(`{"url": %q}`, url))
			db := open(t, url)
			for _, s := range tt.sql {
				if _, err := db.Exec(s); err != nil {
					t.Fatal(err)
				}
			}
			const poisoned = 5
			publish := func(i int) {
				m, id := &sdk.Message{Topic: `{"value": 1}`, Id: fmt.Sprint(i), From: fmt.Sprint("c", i)}, fmt.Sprint("id", i)
				if i == poisoned {
					m.Topic, m.Id, m.Qos = "bad", "1", 2
				}
				if strings.HasSuffix(name, "no ids") {
					id = ""
				}
				if err := h.Publish(t.Context(), id, m); i != poisoned && err != nil {
					t.Errorf("event %d: %v", i, err)
				} else if i == poisoned && (err == nil || !strings.Contains(err.Error(), "does not take it") || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("the poisoned event: %v, want %s", err, tt.want)
				}
			}
			publish(1)
			var others sync.WaitGroup
			for i := range 20 {
				if i != 1 {
					others.Go(func() { publish(i) })
				}
			}
			others.Wait()
			if !strings.HasSuffix(name, "no ids") && !strings.HasSuffix(name, "partition") { // they are known when they come again
				publish(1)
				publish(poisoned)
			}
			if got := stored(t, db, "SELECT count(*), count(DISTINCT message_id) FROM mqtt_events"); got[0] != "19|19" {
				t.Error(got)
			}
		})
	}
}
