package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// urls are empty databases of every kind.
func urls(t *testing.T) map[string]func(testing.TB) string {
	t.Helper()
	return map[string]func(testing.TB) string{
		"postgres": func(t testing.TB) string { return targets.Postgres(t).URL },
		"mariadb":  func(t testing.TB) string { return targets.MariaDB(t).URL },
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "a file #1?%.db") },
	}
}

func open(t testing.TB, url string, o Options) *DB {
	t.Helper()
	if strings.HasPrefix(url, "sqlite:") {
		url = strings.NewReplacer("%", "%25", "?", "%3F").Replace(url)
	}
	d, err := Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// hostile are values that would be found in a statement's text.
var hostile = []string{"alice", "'; DROP TABLE u; --", `" OR ""="`, "\\' OR 1=1 -- ", "x\\", "100%_", "é€𝄞", "?", ":name", "$1", strings.Repeat("x", 64<<10-1)}

// Values come back as they were, whatever is in them, and are found by themselves only.
func TestValuesAreBound(t *testing.T) {
	t.Parallel()
	for name, url := range urls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, url(t), Options{})
			if _, err := d.Exec("CREATE TABLE u (id INT, name TEXT, seen BIGINT)"); err != nil {
				t.Fatal(err)
			}
			insert := statement(t, d, "INSERT INTO u (id, name) VALUES (:id, :name)", "id", "name")
			find := statement(t, d, "SELECT id, name FROM u WHERE name = :name", "name")
			for i, h := range hostile {
				if _, err := insert.Exec(t.Context(), values("id", i, "name", h)); err != nil {
					t.Fatal(err)
				}
			}
			for i, h := range hostile {
				rows, err := find.Query(t.Context(), values("name", h))
				if err != nil {
					t.Fatal(err)
				}
				var ids []int
				for rows.Next() {
					var id int
					var got string
					if err := rows.Scan(&id, &got); err != nil || got != h {
						t.Errorf("%.40q: %.40q %v", h, got, err)
					}
					ids = append(ids, id)
				}
				if err := rows.Close(); err != nil || len(ids) != 1 || ids[0] != i {
					t.Errorf("%.40q: found %v, want %d: %v", h, ids, i, err)
				}
			}
			inTransaction(t, d)
		})
	}
}

// A column more, while connections are in use, costs PostgreSQL one error at most on each.
func TestTableChanges(t *testing.T) {
	t.Parallel()
	for name, url := range urls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, url(t), Options{MaxConns: 1})
			if _, err := d.Exec("CREATE TABLE changes (n INT)"); err != nil {
				t.Fatal(err)
			}
			s := statement(t, d, "SELECT * FROM changes")
			columns := func() int {
				rows, err := s.Query(t.Context(), nil)
				if err != nil {
					return 0
				}
				names, err := rows.Columns()
				if err := errors.Join(err, rows.Close()); err != nil {
					return 0
				}
				return len(names)
			}
			if n := columns(); n != 1 {
				t.Errorf("%d columns", n)
			}
			if _, err := d.Exec("ALTER TABLE changes ADD COLUMN more INT"); err != nil {
				t.Fatal(err)
			}
			if first, second := columns(), columns(); second != 2 {
				t.Errorf("%d and then %d columns", first, second)
			}
		})
	}
}

func inTransaction(t *testing.T, d *DB) {
	t.Helper()
	ctx := t.Context()
	update := statement(t, d, "UPDATE u SET seen = :n WHERE name = :name", "n", "name")
	count := statement(t, d, "SELECT COUNT(*) FROM u WHERE seen = :n", "n")
	for range 2 { // not yet prepared, then prepared
		tx, err := d.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := update.ExecTx(ctx, tx, values("n", 7, "name", hostile[1])); err != nil {
			t.Fatal(err)
		}
		rows, err := count.QueryTx(ctx, tx, values("n", 7))
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if rows.Next() {
			_ = rows.Scan(&n)
		}
		_ = rows.Close()
		if err := tx.Rollback(); err != nil || n != 1 {
			t.Errorf("%d rows changed: %v", n, err)
		}
		if err := errors.Join(update.Check(ctx), count.Check(ctx)); err != nil {
			t.Error(err)
		}
	}
}

func statement(t *testing.T, d *DB, query string, names ...string) *Statement {
	t.Helper()
	s, err := d.Statement(query, names...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func values(pairs ...any) Value {
	return func(name string) any {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		panic("no " + name)
	}
}

// A statement works as soon as the database does, and again after an outage; while it
// is away, that is an error, within the time that the caller gives.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *targets.Database{"postgres": targets.NewPostgres, "mariadb": targets.NewMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			server.Stop(t)
			d := open(t, server.URL, Options{})
			s := statement(t, d, "SELECT 1")
			query := func(within time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				rows, err := s.Query(ctx, nil)
				if err != nil {
					return err
				}
				return rows.Close()
			}
			if err := query(time.Minute); err == nil || strings.Contains(err.Error(), targets.Password) {
				t.Errorf("without a server: %v", err)
			}
			server.Start(t)
			if err := query(time.Minute); err != nil {
				t.Errorf("with the server: %v", err)
			}
			server.Kill(t)
			if err := query(time.Minute); err == nil {
				t.Error("no error from a server that was killed")
			}
			server.Start(t)
			if err := query(time.Minute); err != nil {
				t.Errorf("first query after the restart: %v", err)
			}
			server.Pause(t)
			if err := query(100 * time.Millisecond); err == nil {
				t.Error("no error from a server that hangs")
			}
			server.Resume(t)
			if err := query(time.Minute); err != nil {
				t.Errorf("after the hang: %v", err)
			}
		})
	}
}

// Connections that the server has closed while they were idle cost no query an error.
func TestIdleConnectionsAreFound(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]string{
		"postgres": "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
		"mariadb":  "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := urls(t)[name](t)
			d, admin := open(t, url, Options{}), open(t, url, Options{MaxConns: 1})
			fillPool(t, d)
			fillPool(t, d)             // pgx pings a connection that was not used within the last second
			for left := 5; left > 0; { // until the server has closed them all
				if name == "mariadb" {
					killMariaDB(t, admin)
				}
				if err := admin.QueryRow(kill).Scan(&left); err != nil {
					t.Fatal(err)
				}
			}
			s := statement(t, d, "SELECT 1")
			for i := range 5 {
				rows, err := s.Query(t.Context(), nil)
				if err != nil {
					t.Errorf("query %d: %v", i, err)
					continue
				}
				if !rows.Next() {
					t.Errorf("query %d: no row: %v", i, rows.Err())
				}
				_ = rows.Close()
			}
		})
	}
}

// The look at a connection waits for nothing, also while somebody reads from it, as pgx does in the background
// after a write that took long.
func TestLookDoesNotWait(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), targets.Postgres(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	read, looked := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(read)
		_, _ = conn.PgConn().Conn().Read(make([]byte, 1))
	}()
	go func() {
		var err error
		for range 10_000 { // until the other one reads
			err = errors.Join(err, stillOpen(conn))
		}
		looked <- err
	}()
	select {
	case err := <-looked:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits")
	}
	_ = conn.PgConn().Conn().Close()
	<-read
	_ = conn.Close(t.Context())
}

func killMariaDB(t *testing.T, admin *DB) {
	t.Helper()
	rows, err := admin.Query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	_ = rows.Close()
	for _, id := range ids {
		_, _ = admin.Exec(fmt.Sprint("KILL ", id))
	}
}

// fillPool leaves several idle connections that have been in use.
func fillPool(t *testing.T, d *DB) {
	t.Helper()
	var conns []*sql.Conn
	for range 5 {
		c, err := d.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		rows, err := c.QueryContext(t.Context(), "SELECT 1") // which is then prepared
		if err != nil {
			t.Fatal(err)
		}
		_ = rows.Close()
		_ = c.Close()
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	const canary = "c4nary"
	for _, tt := range []struct{ url, want string }{
		{"", "is missing"},
		{"oracle://x", "does not begin with"},
		{"postgres://u:" + canary + "@:x/y", "is no URL such as postgres://user"},
		{"postgres://u:a/" + canary + "@host/db", "%2F for /"},
		{"postgres://u:/" + canary + "@host/db", "%2F for /"},
		{"postgres://u:7/" + canary + "@host/db", "%2F for /"},
		{"postgres://u:7#" + canary + "@host/db", "%23 for #"},
		{"postgres://u:?" + canary + "@host/db", "%3F for ?"},
		{"postgres://u:a@b/" + canary + "@host/db", "%40 for @"},
		{"postgres://u:a@b?" + canary + "@host/db", "%40 for @"},
		{"postgresql:u:" + canary + "@host/db", "is no URL such as"},
		{"mysql://u:/" + canary + "@host/db", "%2F for /"},
		{"mysql://u:7/" + canary + "@host/db", "%2F for /"},
		{"mysql://u:7?" + canary + "@host/db", "%3F for ?"},
		{"mysql://u:7#" + canary + "@host/db", "%23 for #"},
		{"mysql:u:" + canary + "@host/db", "is no URL such as"},
		{"postgres://u:" + canary + "@host/db?sslmode=" + canary, "sslmode"},
		{"postgres://u:" + canary + "@host/db?sslrootcert=/no/such/file&sslmode=verify-full", "CA file"},
		{"mysql://u:" + canary + "@host/", "no database"},
		{"mysql://u:" + canary + "@/db", "no host"},
		{"mysql://u:" + canary + "@host/db?interpolateParams=true", "leave it out"},
		{"mysql://u:" + canary + "@host/db?tls=nonsense" + canary, "unknown config name"},
		{"mysql://u:" + canary + "@host/db?ssl-ca=/no/such/file", "ssl-ca: open /no/such/file"},
		{"mysql://u:" + canary + "@host/db?timeout=" + canary, "duration"},
		{"sqlite:", "names no file"},
		{"sqlite://host/x.db", "write sqlite:host/x.db"},
		{"sqlite:/no/such/file.db", "no such file"},
		{"sqlite:/", "is a folder"},
	} {
		d, err := Open(tt.url, Options{ReadOnly: true})
		if err == nil {
			t.Errorf("%s: opened %s", tt.url, d)
		} else if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %q", tt.url, err, tt.want)
		}
	}
}

func TestWhereShowsNoSecret(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:secret@h:1/d?password=secret": "postgres://h:1/d",
		"mysql://u:secret@[::1]/d?tls=true":         "mysql://[::1]:3306/d",
		"mariadb://u:p%40%2F@h:1/d":                 "mysql://h:1/d",
		"sqlite:x%20y.db?cache=shared":              "sqlite:x y.db",
	} {
		if d := open(t, url, Options{}); fmt.Sprint(d) != want && !strings.HasPrefix(url, "sqlite") {
			t.Errorf("%s: %s, want %s", url, d, want)
		}
	}
}

// A wrong password is an error like an outage, and does not show it.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *targets.Database{"postgres": targets.Postgres, "mariadb": targets.MariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(start(t).URL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("hookmux", "wr0ng:/@#%")
			err = open(t, u.String(), Options{}).Ping(t.Context())
			if err == nil || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReadOnlySQLite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.db")
	w := open(t, "sqlite:"+file, Options{})
	if _, err := w.Exec("CREATE TABLE u (n INT)"); err != nil {
		t.Fatal(err)
	}
	r := open(t, "sqlite:"+file, Options{ReadOnly: true})
	var n int
	if err := r.QueryRow("SELECT COUNT(*) FROM u").Scan(&n); err != nil {
		t.Error(err)
	}
	if _, err := r.Exec("INSERT INTO u VALUES (1)"); err == nil {
		t.Error("it writes")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestMemoryIsOneDatabase(t *testing.T) {
	t.Parallel()
	d := open(t, "sqlite::memory:", Options{})
	if _, err := d.Exec("CREATE TABLE u (n INT)"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 8 {
		go func() {
			var n sql.NullInt64
			done <- d.QueryRow("SELECT MAX(n) FROM u").Scan(&n)
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
