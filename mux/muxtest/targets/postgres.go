package targets

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Database is an SQL server with a database that is the test's alone.
type Database struct {
	*Server
	// URL opens the database: postgres://… or mysql://…, with a user who may do
	// everything in it, and a password, which must not be found in any log.
	URL string
}

// Password is that of the databases' user.
const Password = "canary-of-the-database"

const userName = "hookmux"

//nolint:gochecknoglobals // a constant
var postgres = &Program{
	Name:     "PostgreSQL",
	Binaries: []string{"postgres", "initdb", "createdb", "pg_isready"},
	Places:   []string{"/usr/lib/postgresql/*/bin"},
	Install:  "apt-get install postgresql",
	User:     "postgres",
	Env:      []string{"LC_ALL=C", "PGPASSWORD=" + Password},
	Init: func(s *Server) error {
		secret := s.path("password")
		if err := os.WriteFile(secret, []byte(Password), 0o644); err != nil { // the folder is closed to others
			return err
		}
		return s.Run(context.Background(), "initdb", "--pgdata", s.path("data"), "--encoding", "UTF8", "--no-locale",
			"--username", userName, "--auth", "scram-sha-256", "--pwfile", secret, "--no-sync")
	},
	Args: func(s *Server) []string {
		return []string{"-D", s.path("data"), "-h", "127.0.0.1", "-p", fmt.Sprint(s.Port), "-F",
			"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=32MB",
			"-c", "timezone=UTC", "-c", "log_timezone=UTC"}
	},
	Ready: func(ctx context.Context, s *Server) error {
		return s.Run(ctx, "pg_isready", "-q", "-h", "127.0.0.1", "-p", fmt.Sprint(s.Port), "-t", "10", "-d", "postgres", "-U", userName)
	},
	StopSignal:  syscall.SIGINT,  // "fast": it does not wait for its clients
	QuickSignal: syscall.SIGQUIT, // a SIGKILL would leave a segment of shared memory
	Removed: func(s *Server) {
		// After a SIGKILL the file is there, and so is the shared memory that its seventh line names.
		b, _ := os.ReadFile(s.path("data/postmaster.pid"))
		if lines := strings.Split(string(b), "\n"); len(lines) > 6 {
			if ids := strings.Fields(lines[6]); len(ids) == 2 {
				_ = exec.Command("ipcrm", "-m", ids[1]).Run()
			}
		}
	},
}

// Postgres is an empty database on the PostgreSQL server of this test binary.
func Postgres(t testing.TB) *Database { t.Helper(); return newPostgresDB(t, Shared(t, postgres)) }

// NewPostgres is a PostgreSQL server of the test's own, with an empty database.
func NewPostgres(t testing.TB) *Database { t.Helper(); return newPostgresDB(t, New(t, postgres)) }

func newPostgresDB(t testing.TB, s *Server) *Database {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Run(ctx, "createdb", "-h", "127.0.0.1", "-p", fmt.Sprint(s.Port), "-U", userName, name); err != nil {
		t.Fatal(err)
	}
	return &Database{s, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", userName, Password, s.Addr, name)}
}
