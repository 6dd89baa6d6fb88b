package targets

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

//nolint:gochecknoglobals // a constant
var mariadb = &Program{
	Name:     "MariaDB",
	Binaries: []string{"mariadbd", "mariadb-install-db", "mariadb"},
	Install:  "apt-get install mariadb-server",
	User:     "mysql",
	Env:      []string{"LC_ALL=C", "MYSQL_PWD=" + Password},
	Init: func(s *Server) error {
		// Read at every start, before the server listens.
		first := fmt.Sprintf("CREATE USER IF NOT EXISTS %s@'127.0.0.1' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO %[1]s@'127.0.0.1';\n",
			userName, Password)
		if err := os.WriteFile(s.path("init.sql"), []byte(first), 0o644); err != nil { // the folder is closed to others
			return err
		}
		return s.Run(context.Background(), "mariadb-install-db", "--no-defaults", "--datadir="+s.path("data"),
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M")
	},
	Args: func(s *Server) []string {
		return []string{"--no-defaults", "--datadir=" + s.path("data"), "--socket=" + s.path("socket"),
			"--pid-file=" + s.path("mariadb.pid"), "--tmpdir=" + s.Dir, "--init-file=" + s.path("init.sql"),
			"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", s.Port), "--skip-name-resolve",
			"--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin",
			"--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=2", "--max-connections=200"}
	},
	Ready: func(ctx context.Context, s *Server) error { return mariadbQuery(ctx, s, "SELECT 1") },
}

// MariaDB is an empty database on the MariaDB server of this test binary.
func MariaDB(t testing.TB) *Database { t.Helper(); return newMariaDB(t, Shared(t, mariadb)) }

// NewMariaDB is a MariaDB server of the test's own, with an empty database.
func NewMariaDB(t testing.TB) *Database { t.Helper(); return newMariaDB(t, New(t, mariadb)) }

func newMariaDB(t testing.TB, s *Server) *Database {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := mariadbQuery(ctx, s, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return &Database{s, fmt.Sprintf("mysql://%s:%s@%s/%s", userName, Password, s.Addr, name)}
}

func mariadbQuery(ctx context.Context, s *Server, query string) error {
	return s.Run(ctx, "mariadb", "--no-defaults", "--host=127.0.0.1", fmt.Sprintf("--port=%d", s.Port),
		"--user="+userName, "--connect-timeout=10", "--execute="+query)
}
