package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	other := "sqlite:" + filepath.Join(t.TempDir(), "other.db")
	db := open(t, other)
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE mqtt_events (event_id text, time text)"); err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{}`:                            "url: is missing",
		`{"url": "redis://u:canary@h"}`: "url: does not begin with",
		`{"url": "sqlite:x", "table": "a; DROP TABLE b"}`:                            `table: "a; DROP TABLE b" is no name`,
		fmt.Sprintf(`{"url": %q}`, other):                                            "no such column: hook",
		fmt.Sprintf(`{"url": %q, "table": "missing", "create_table": false}`, other): "no such table: missing",
	} {
		p := &plugin{config: defaults()}
		plugintest.Configure(t, config, &p.config)
		err := p.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
		if p.db != nil {
			_ = p.Stop(t.Context())
		}
	}
}

// A database that is away is no reason not to start; its events fail, and say why without a
// secret.
func TestWithoutADatabase(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"postgres", "mysql"} {
		h := newPlugin(t, fmt.Sprintf(`{"url": "%s://u:canary@127.0.0.1:1/db"}`, scheme))
		err := h.Publish(t.Context(), "1", &sdk.Message{Topic: "t"})
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "canary") {
			t.Error(err)
		}
	}
}
