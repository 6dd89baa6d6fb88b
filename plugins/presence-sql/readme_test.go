package main

import (
	"os"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/plugins/internal/sqldb"
)

// The queries in the README, which are those of this file, are right in each database.
func TestQueries(t *testing.T) {
	text, err := os.ReadFile("testdata/queries.sql")
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, url string) {
		newPlugin(t, url) // makes the tables
		db, err := sqldb.Open(url, sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for query := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			rows, err := db.QueryContext(t.Context(), query)
			if err != nil {
				t.Errorf("%s: %v", query, err)
				continue
			}
			_ = rows.Close()
		}
	})
}
