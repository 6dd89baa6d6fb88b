package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
)

// What status says is wrong with durable delivery.
func TestBacklog(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	for name, test := range map[string]struct {
		stored admin.Stored
		failed *admin.Failure
		want   string
	}{
		"all is handled":         {},
		"a moment ago":           {stored: admin.Stored{Events: 3, Oldest: ago(time.Second)}},
		"behind":                 {stored: admin.Stored{Events: 3, Bytes: 2048, Oldest: ago(3 * time.Minute)}, want: "is behind: 3 events (2.0 KiB) stored for it, the oldest for 3m"},
		"failing":                {stored: admin.Stored{Events: 1, Oldest: ago(5 * time.Second)}, failed: &admin.Failure{Time: *ago(time.Second), Error: "no\x1bdatabase"}, want: "does not handle what is stored for it (1 event, the oldest 5s ago), and is tried again: no\uFFFDdatabase"},
		"failed, and well again": {failed: &admin.Failure{Time: *ago(time.Second), Error: "no database"}},
		"failed long ago":        {stored: admin.Stored{Events: 1, Oldest: ago(time.Second)}, failed: &admin.Failure{Time: *ago(time.Hour), Error: "no database"}},
		"dead letters":           {stored: admin.Stored{Dead: 2}, want: "has 2 dead letters: hookmux spool list p shows why, hookmux spool retry --all p has them delivered again"},
	} {
		test.stored.Provider = "p"
		s := &admin.Status{Stored: []admin.Stored{{Provider: "other", Events: 9, Dead: 9, Oldest: ago(time.Hour)}, test.stored}}
		if got := strings.Join(backlog(s, &admin.Provider{Name: "p", LastFailure: test.failed}, now), "\n"); got != test.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, test.want)
		}
	}
}
