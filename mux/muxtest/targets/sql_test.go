package targets

import (
	"database/sql"
	"net/url"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// What was committed is there after a SIGKILL, at the same address.
func TestDatabaseStandsAKill(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *Database{"postgres": NewPostgres, "mariadb": NewMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			db := open(t, d)
			if _, err := db.Exec("CREATE TABLE kept (n INT)"); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				if _, err := db.Exec("INSERT INTO kept VALUES (1)"); err != nil {
					t.Fatal(err)
				}
				if round == 0 {
					d.Stop(t)
				} else {
					d.Kill(t)
				}
				if err := db.PingContext(t.Context()); err == nil {
					t.Error("it still answers")
				}
				d.Start(t)
				var n int
				if err := db.QueryRow("SELECT COUNT(*) FROM kept").Scan(&n); err != nil || n != round+1 {
					t.Fatalf("%d rows, want %d: %v", n, round+1, err)
				}
			}
		})
	}
}

// Each test has a database of its own on the shared server.
func TestDatabasesOfOneServer(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *Database{"postgres": Postgres, "mariadb": MariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := start(t), start(t)
			if a.Server != b.Server || a.URL == b.URL {
				t.Errorf("%s and %s", a.URL, b.URL)
			}
			for _, d := range []*Database{a, b} {
				if _, err := open(t, d).Exec("CREATE TABLE mine (n INT)"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func open(t *testing.T, d *Database) *sql.DB {
	t.Helper()
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	driver, dsn := "pgx", d.URL
	if u.Scheme == "mysql" {
		c := mysql.NewConfig()
		c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, u.Path[1:]
		c.Passwd, _ = u.User.Password()
		c.Timeout = 30 * time.Second
		driver, dsn = "mysql", c.FormatDSN()
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
