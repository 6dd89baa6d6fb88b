package main

import (
	"os"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
)

// The table that the README begins with, which is this file's, lets its user in.
func TestTableOfTheReadme(t *testing.T) {
	t.Parallel()
	url := targets.Postgres(t).URL
	text, err := os.ReadFile("testdata/table.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	_, login := start(t, config{Database: url, Query: "SELECT username, password_hash FROM mqtt_user WHERE username = :username"})
	for password, want := range map[string]string{"its password": "allow", "another": "deny"} {
		if got, err := login(client("car-7", password)); got != want || err != nil {
			t.Errorf("%s: %s %v", password, got, err)
		}
	}
}
