package sqldb

import (
	"slices"
	"strings"
	"testing"
)

func TestBind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind        Kind
		query, want string
		names       string
	}{
		{Postgres, "SELECT a FROM u WHERE n = :name AND c = :client OR x = :name", "SELECT a FROM u WHERE n = $1 AND c = $2 OR x = $1", "name client"},
		{MySQL, "SELECT a FROM u WHERE n = :name AND c = :client OR x = :name", "SELECT a FROM u WHERE n = ? AND c = ? OR x = ?", "name client name"},
		{SQLite, "SELECT :a_1,:b", "SELECT ?,?", "a_1 b"},
		{Postgres, "SELECT ':no', \":no\", 'it''s :no' -- :no ' \n, :a::text /* :no ' */", "SELECT ':no', \":no\", 'it''s :no' -- :no ' \n, $1::text /* :no ' */", "a"},
		{Postgres, `SELECT '\', :a, E'\':no', e'\\', :b`, `SELECT '\', $1, E'\':no', e'\\', $2`, "a b"},
		{Postgres, "SELECT $$ :no ' $$, $x$ :no $$ $x$, :a", "SELECT $$ :no ' $$, $x$ :no $$ $x$, $1", "a"},
		{Postgres, "SELECT data ? 'key', :a", "SELECT data ? 'key', $1", "a"},
		{MySQL, "SELECT '\\':no', `:no`, \"\\\":no\" # :no\n, :a", "SELECT '\\':no', `:no`, \"\\\":no\" # :no\n, ?", "a"},
		{MySQL, "SET @n := :a", "SET @n := ?", "a"},
		{SQLite, `SELECT '\', :a -- :no`, `SELECT '\', ? -- :no`, "a"},
		{SQLite, "SELECT '12:30', 1 : 2", "SELECT '12:30', 1 : 2", ""},
	} {
		text, names, err := tt.kind.bind(tt.query)
		if err != nil || text != tt.want || strings.Join(names, " ") != tt.names {
			t.Errorf("%s: %s\n got %s %q %v\nwant %s %q", tt.kind, tt.query, text, names, err, tt.want, tt.names)
		}
	}
}

func TestBindErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind        Kind
		query, want string
	}{
		{Postgres, "SELECT ${username}", "written :name"},
		{MySQL, "SELECT ?", "written :name, and not ?"},
		{SQLite, "SELECT ?1", "written :name"},
		{Postgres, "SELECT $1", "written :name, and not $1"},
		{Postgres, "SELECT 'x", "does not end"},
		{Postgres, "SELECT /* x", "comment that does not end"},
		{Postgres, "SELECT $a$ x", "does not end"},
		{MySQL, `SELECT 'x\'`, "does not end"},
		{Postgres, "SELECT :passwort", "no parameter :passwort; there are :username, :clientid"},
		{Postgres, " \n", "is empty"},
	} {
		_, err := (&DB{Kind: tt.kind}).Statement(tt.query, "username", "clientid")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.query, err, tt.want)
		}
	}
}

// Whatever the text, no byte of it is lost, and no parameter is made up.
func FuzzBind(f *testing.F) {
	f.Add("SELECT 'a', :b, $x$ :c $x$ -- d\n")
	f.Add("E'\\'':x")
	f.Fuzz(func(t *testing.T, query string) {
		for _, k := range []Kind{Postgres, MySQL, SQLite} {
			text, names, err := k.bind(query)
			if err == nil && k == SQLite {
				for _, n := range names {
					text = strings.Replace(text, "?", ":"+n, 1)
				}
				if text != query && !strings.ContainsAny(query, "?'\"`-*") {
					t.Errorf("%q became %q", query, text)
				}
			}
			if err == nil && slices.Contains(names, "") {
				t.Errorf("%q has a parameter without a name", query)
			}
		}
	})
}
