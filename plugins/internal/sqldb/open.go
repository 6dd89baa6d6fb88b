package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Kind is a family of databases, by what its SQL looks like.
type Kind string

// The kinds.
const (
	Postgres Kind = "PostgreSQL"
	MySQL    Kind = "MySQL" // and MariaDB
	SQLite   Kind = "SQLite"
)

// Options of a database. The zero value is for a plugin that writes.
type Options struct {
	// MaxConns is the most connections at a time; 0 is 10.
	MaxConns int
	// ReadOnly is for a plugin that only reads: an SQLite file must be there, and
	// nothing is written to it. Others have users with rights of their own.
	ReadOnly bool
}

const (
	defaultConns   = 10
	connectTimeout = 5 * time.Second
	maxIdle        = 5 * time.Minute
	maxLifetime    = time.Hour // a name that leads elsewhere, a server behind a balancer, is found in time
)

// DB is an open database: a pool of connections, made when they are needed.
type DB struct {
	*sql.DB
	Kind Kind

	where string
	file  *file // of SQLite
}

// String is the database without its user, password and options, for logs.
func (d *DB) String() string { return d.where }

// Open prepares to use a database. It fails if the URL is wrong, and does not yet
// connect.
func Open(rawURL string, o Options) (*DB, error) {
	if o.MaxConns < 0 {
		return nil, fmt.Errorf("%d connections are too few", o.MaxConns)
	}
	scheme, _, ok := strings.Cut(rawURL, ":")
	d := &DB{}
	var err error
	switch {
	case rawURL == "":
		return nil, errors.New("is missing: such as postgres://user:password@host:5432/database, mysql://… or sqlite:FILE")
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		d.Kind = Postgres
		err = d.openPostgres(rawURL)
	case ok && (scheme == "mysql" || scheme == "mariadb"):
		d.Kind = MySQL
		err = d.openMySQL(rawURL)
	case ok && (scheme == "sqlite" || scheme == "sqlite3"):
		d.Kind = SQLite
		err = d.openSQLite(rawURL, o)
	default:
		return nil, errors.New("does not begin with postgres://, mysql://, mariadb:// or sqlite: as a database's URL does")
	}
	if err != nil {
		return nil, err
	}
	n := o.MaxConns
	if n == 0 {
		n = defaultConns
	}
	d.SetMaxOpenConns(n)
	d.SetMaxIdleConns(n) // a login storm needs them all again and again
	if d.file != nil {
		d.file.maxIdle = n
	}
	d.SetConnMaxIdleTime(maxIdle)
	d.SetConnMaxLifetime(maxLifetime)
	if strings.Contains(d.where, ":memory:") { // each connection would have one of its own
		d.SetMaxOpenConns(1)
		d.SetConnMaxIdleTime(0)
		d.SetConnMaxLifetime(0)
	}
	return d, nil
}

// parse reads a URL; net/url's own error would show it. An @ behind the host is the end of a password that has a
// / ? or # in it, a part of which would be taken for the database.
func parse(rawURL, example string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	_, rest, _ := strings.Cut(rawURL, "://")
	if i := strings.IndexAny(rest, "/?#"); err != nil || u.Opaque != "" || i >= 0 && strings.Contains(rest[i:], "@") {
		return nil, fmt.Errorf("is no URL such as %s; write %%3A for :, %%2F for /, %%3F for ?, %%23 for #, %%40 for @, %%25 for %% in a user, password, database or option", example)
	}
	return u, nil
}

// hide takes what must not be shown out of a driver's error.
func hide(err error, u *url.URL) error {
	text := err.Error()
	secrets := []string{u.String(), u.RawQuery}
	if u.User != nil {
		password, _ := u.User.Password()
		secrets = append(secrets, u.User.String(), password, url.PathEscape(password), url.QueryEscape(password))
	}
	for _, values := range u.Query() {
		secrets = append(secrets, values...)
	}
	for _, s := range secrets {
		if len(s) > 1 {
			text = strings.ReplaceAll(text, s, "…")
		}
	}
	return errors.New(text)
}

func (d *DB) openPostgres(rawURL string) error {
	u, err := parse(rawURL, "postgres://user:password@host:5432/database")
	if err != nil {
		return err
	}
	c, err := pgx.ParseConfig(rawURL)
	if err != nil {
		return hide(err, u)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if _, ok := c.RuntimeParams["application_name"]; !ok {
		c.RuntimeParams["application_name"] = "hookmux"
	}
	d.where = fmt.Sprintf("postgres://%s:%d/%s", c.Host, c.Port, c.Database)
	d.DB = stdlib.OpenDB(*c, stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error { return stillOpen(c) }))
	return nil
}

func (d *DB) openMySQL(rawURL string) error {
	const example = "mysql://user:password@host:3306/database"
	u, err := parse(rawURL, example)
	if err != nil {
		return err
	}
	if u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return fmt.Errorf("has no host or no database: such as %s", example)
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	query := u.Query()
	files := [3]string{query.Get("ssl-ca"), query.Get("ssl-cert"), query.Get("ssl-key")}
	for _, name := range []string{"ssl-ca", "ssl-cert", "ssl-key"} {
		query.Del(name)
	}
	addr := u.Hostname() + ":" + port
	if strings.Contains(u.Hostname(), ":") {
		addr = "[" + u.Hostname() + "]:" + port
	}
	c, err := mysql.ParseDSN("tcp(" + addr + ")/?" + query.Encode())
	if err != nil {
		return hide(err, u)
	}
	if c.InterpolateParams {
		return errors.New("interpolateParams would write values into the text of statements; leave it out")
	}
	if c.User = u.User.Username(); u.User != nil {
		c.Passwd, _ = u.User.Password()
	}
	c.DBName = strings.Trim(u.Path, "/")
	c.ParseTime = true
	c.Logger = quiet{}
	if !query.Has("maxAllowedPacket") {
		c.MaxAllowedPacket = 0 // the server is asked: one that is sent more hangs up, which looks like an outage
	}
	if c.Timeout == 0 {
		c.Timeout = connectTimeout
	}
	if files != [3]string{} {
		if c.TLS, err = tlsFromFiles(u.Hostname(), files); err != nil {
			return err
		}
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return hide(err, u)
	}
	d.where = "mysql://" + addr + "/" + c.DBName
	d.DB = sql.OpenDB(connector)
	return nil
}

// quiet is for a driver that logs what it also returns.
type quiet struct{}

func (quiet) Print(...any) {}

func tlsFromFiles(host string, files [3]string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if ca := files[0]; ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ssl-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl-ca: no certificate in %s", ca)
		}
	}
	if files[1] != "" || files[2] != "" {
		pair, err := tls.LoadX509KeyPair(files[1], files[2])
		if err != nil {
			return nil, fmt.Errorf("ssl-cert and ssl-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (d *DB) openSQLite(rawURL string, o Options) error {
	_, rest, _ := strings.Cut(rawURL, ":")
	path, options, _ := strings.Cut(rest, "?")
	if after, ok := strings.CutPrefix(path, "//"); ok {
		if path = after; !strings.HasPrefix(path, "/") {
			return fmt.Errorf("sqlite://%s has a host; write sqlite:%[1]s for a file beside hookmux.yaml, sqlite:/… for another", path)
		}
	}
	if path == "" {
		return errors.New("names no file: sqlite:/var/lib/hookmux/users.db")
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return errors.New("has a % in its file that is none: write %25")
	}
	query, err := url.ParseQuery(options)
	if err != nil {
		return errors.New("has options that cannot be read")
	}
	query.Add("_pragma", "busy_timeout(5000)")
	switch {
	case path == ":memory:":
	case o.ReadOnly:
		query.Set("mode", "rw") // a reader of a WAL file writes beside it; the pragma keeps it from more
		query.Add("_pragma", "query_only(1)")
	default:
		query.Set("mode", "rwc")
		query.Add("_pragma", "journal_mode(WAL)")
		query.Add("_pragma", "synchronous(FULL)")
		query.Set("_txlock", "immediate")
	}
	if o.ReadOnly && path != ":memory:" {
		if info, err := os.Stat(path); err != nil {
			return err
		} else if info.IsDir() {
			return fmt.Errorf("%s is a folder", path)
		}
	}
	escaped := (&url.URL{Path: path}).EscapedPath()
	d.where = "sqlite:" + path
	dsn := "file:" + escaped + "?" + query.Encode()
	if path == ":memory:" {
		d.DB, err = sql.Open("sqlite", dsn)
	} else if d.file, err = openFile(path, dsn, o.ReadOnly); err == nil {
		d.DB = d.file.pool
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.where, err)
	}
	return nil
}

// Ping tries to reach the database, once.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.PingContext(ctx); err != nil {
		return fmt.Errorf("reach %s: %w", d, err)
	}
	return nil
}
