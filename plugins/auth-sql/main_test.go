package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

const (
	byName = "SELECT password_hash, salt, is_superuser FROM mqtt_user WHERE username = :username"
	secret = "canary of a password"
)

// databases are one of each kind, with users: alice, and root who is a superuser.
var databases = map[string]func(testing.TB) string{
	"PostgreSQL": func(t testing.TB) string { return targets.Postgres(t).URL },
	"MariaDB":    func(t testing.TB) string { return targets.MariaDB(t).URL },
	"SQLite":     func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "users.db") },
}

// hashOf is quick; that others are right is hash_test.go's business.
func hashOf(password string) string {
	h, _ := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	return string(h)
}

// fill makes the table that EMQX's documentation has.
func fill(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec("CREATE TABLE mqtt_user (username VARCHAR(100), password_hash VARCHAR(200), salt VARCHAR(40), is_superuser BOOLEAN)"); err != nil {
		t.Fatal(err)
	}
	addUser(t, db, "alice", hashOf(secret), false)
	addUser(t, db, "root", hashOf(secret), true)
	addUser(t, db, "nohash", "", false)
	addUser(t, db, "nohash null", nil, false)
	addUser(t, db, "locked", "!"+hashOf(secret), false)
	return db
}

func addUser(t testing.TB, db *sqldb.DB, name string, hash any, super bool) {
	t.Helper()
	s, err := db.Statement("INSERT INTO mqtt_user VALUES (:name, :hash, 'salt', :super)", "name", "hash", "super")
	if err == nil {
		_, err = s.Exec(t.Context(), func(p string) any { return map[string]any{"name": name, "hash": hash, "super": super}[p] })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start gives a plugin that has started, as the broker sees it.
func start(t testing.TB, c config) (*plugin, func(c *sdk.ClientInfo) (string, error)) {
	t.Helper()
	p := &plugin{config: c}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, func(c *sdk.ClientInfo) (string, error) {
		res, err := h.OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{Clientinfo: c})
		return plugintest.Verdict(res), err
	}
}

func client(user, password string) *sdk.ClientInfo {
	return &sdk.ClientInfo{Username: user, Password: password, Clientid: "car", Peerhost: "10.0.0.1", Cn: "car.example", Dn: "CN=car.example"}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			fill(t, url)
			_, denies := start(t, config{Database: url, Query: byName})
			_, ignores := start(t, config{Database: url, Query: byName, UnknownUser: "ignore"})
			for _, tt := range []struct{ user, password, want string }{
				{"alice", secret, "allow"},
				{"alice", secret + "x", "deny"},
				{"alice", "", "deny"},
				{"nohash", "", "deny"},
				{"nohash", secret, "deny"},
				{"nohash null", "", "deny"},
				{"locked", secret, "deny"},
				{"mallory", secret, "unknown"},
				{"", "", "unknown"},
				{"' OR '1'='1", secret, "unknown"},
				{"alice' --", secret, "unknown"},
				{"alice'; DROP TABLE mqtt_user; --", secret, "unknown"},
				{`\' OR 1=1 #`, secret, "unknown"},
				{"%", secret, "unknown"},
				{"alice\x00", secret, "unknown"},
				{"\xff\xfe", secret, "unknown"},
				{"$1", secret, "unknown"},
				{":username", secret, "unknown"},
				{strings.Repeat("a", 64<<10), strings.Repeat("b", 64<<10), "unknown"},
				{"alice", secret, "allow"}, // the table is still there
			} {
				for _, ask := range []struct {
					login   func(*sdk.ClientInfo) (string, error)
					unknown string
				}{{denies, "deny"}, {ignores, "ignore"}} {
					want := tt.want
					if want == "unknown" {
						want = ask.unknown
					}
					if got, err := ask.login(client(tt.user, tt.password)); got != want || err != nil {
						t.Errorf("%.20q with %.20q: %s %v, want %s", tt.user, tt.password, got, err, want)
					}
				}
			}
		})
	}
}

// Whatever the query asks by is bound, and a cached answer is for just these values.
func TestEveryParameter(t *testing.T) {
	t.Parallel()
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			fill(t, url)
			_, login := start(t, config{
				Database: url, Query: byName + " AND :clientid = 'car' AND :peerhost = '10.0.0.1' AND :cert_common_name = 'car.example' AND :cert_subject = 'CN=car.example'",
				Cache: cacheConfig{TTL: sdk.Duration(1e12), NegativeTTL: sdk.Duration(1e12)},
			})
			for range 2 {
				for i, change := range []func(*sdk.ClientInfo){
					func(*sdk.ClientInfo) {},
					func(c *sdk.ClientInfo) { c.Clientid += "'" },
					func(c *sdk.ClientInfo) { c.Peerhost = "" },
					func(c *sdk.ClientInfo) { c.Cn += "x" },
					func(c *sdk.ClientInfo) { c.Dn += "x" },
					func(c *sdk.ClientInfo) { c.Password += "x" },
				} {
					c := client("alice", secret)
					change(c)
					want := "deny"
					if i == 0 {
						want = "allow"
					}
					if got, err := login(c); got != want || err != nil {
						t.Errorf("change %d: %s %v, want %s", i, got, err, want)
					}
				}
			}
		})
	}
}

func TestSuperusers(t *testing.T) {
	t.Parallel()
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			db := fill(t, url)
			p, _ := start(t, config{Database: url, Query: byName, Superusers: true, Cache: cacheConfig{TTL: sdk.Duration(1e12)}})
			h, err := sdk.NewHandler(superusers{p})
			if err != nil {
				t.Fatal(err)
			}
			may := func(user string) string {
				res, err := h.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Clientinfo: client(user, ""), Topic: "a/b"})
				if err != nil {
					t.Error(err)
				}
				return plugintest.Verdict(res)
			}
			for user, want := range map[string]string{"root": "allow", "alice": "ignore", "mallory": "ignore", "root\x00": "ignore"} {
				if got := may(user); got != want {
					t.Errorf("%q: %s, want %s", user, got, want)
				}
			}
			if _, err := db.Exec("DELETE FROM mqtt_user"); err != nil {
				t.Fatal(err)
			}
			if got := may("root"); got != "allow" {
				t.Errorf("cached: %s", got)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	file := databases["SQLite"](t)
	fill(t, file)
	for want, c := range map[string]config{
		`"database": is missing`:                                    {Query: byName},
		`"database": does not begin with`:                           {Database: secret + "://"},
		`"query": is empty`:                                         {Database: file},
		`"query": there is no parameter :user; there are :username`: {Database: file, Query: "SELECT password_hash FROM mqtt_user WHERE username = :user"},
		`"query": a parameter is written :name, and not ${name}`:    {Database: file, Query: "SELECT password_hash FROM mqtt_user WHERE username = ${username}"},
		`"query": no column is called password_hash`:                {Database: file, Query: "SELECT salt FROM mqtt_user WHERE username = :username"},
		`"superusers" needs a column is_superuser`:                  {Database: file, Query: "SELECT password_hash FROM mqtt_user WHERE username = :username", Superusers: true},
		`no such table: users`:                                      {Database: file, Query: "SELECT password_hash FROM users WHERE username = :username"},
		`"unknown_user" is "allow"; allowed: deny, ignore`:          {Database: file, Query: byName, UnknownUser: "allow"},
		`"password_hash_algorithm": "name" is "rot13"`:              {Database: file, Query: byName, Algorithm: scheme{Name: "rot13"}},
		`"hashing"`:                     {Database: file, Query: byName, Hashing: -1},
		`"cache": must not be negative`: {Database: file, Query: byName, Cache: cacheConfig{TTL: -1}},
	} {
		p := &plugin{config: c}
		if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want %s", err, want)
		}
		if p.db != nil {
			_ = p.Stop(t.Context())
		}
	}
}

// A database that is away is an error, and never a wrong password; what is cached is answered,
// and what comes after the outage is not.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, start1 := range map[string]func(testing.TB) *targets.Database{"PostgreSQL": targets.NewPostgres, "MariaDB": targets.NewMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start1(t)
			db := fill(t, server.URL)
			server.Kill(t)
			_, login := start(t, config{
				Database: server.URL, Query: byName,
				Cache: cacheConfig{TTL: sdk.Duration(1e12), NegativeTTL: sdk.Duration(1e12)},
			})
			for range 2 {
				if got, err := login(client("alice", secret)); err == nil {
					t.Errorf("without a database: %s", got)
				} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), targets.Password) {
					t.Errorf("shows a password: %v", err)
				}
			}
			server.Start(t)
			for user, want := range map[string]string{"alice": "allow", "mallory": "deny"} {
				if got, err := login(client(user, secret)); got != want || err != nil {
					t.Errorf("%s, first after the outage: %s %v", user, got, err)
				}
			}
			addUser(t, db, "mallory", hashOf(secret), false)
			server.Kill(t)
			for user, want := range map[string]string{"alice": "allow", "mallory": "deny"} {
				if got, err := login(client(user, secret)); got != want || err != nil {
					t.Errorf("%s, cached: %s %v", user, got, err)
				}
			}
			if got, err := login(client("bob", secret)); err == nil {
				t.Errorf("not cached, without a database: %s", got)
			}
		})
	}
}

// What does not end within the client's time is an error.
func TestHungDatabase(t *testing.T) {
	t.Parallel()
	server := targets.NewPostgres(t)
	fill(t, server.URL)
	p, _ := start(t, config{Database: server.URL, Query: byName})
	server.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200e6)
	defer cancel()
	if a, err := p.OnClientAuthenticate(ctx, &sdk.ClientAuthenticateRequest{Clientinfo: client("alice", secret)}); err == nil {
		t.Errorf("%v", a)
	}
	server.Resume(t)
	if a, err := p.OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{Clientinfo: client("alice", secret)}); err != nil || a != sdk.Allow {
		t.Errorf("after it: %v %v", a, err)
	}
}

// No more passwords than that are hashed at a time, and who waits too long has no answer.
func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	url := databases["SQLite"](t)
	fill(t, url)
	p, login := start(t, config{Database: url, Query: byName, Hashing: 1})
	if err := p.hashing.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50e6)
	defer cancel()
	for _, user := range []string{"alice", "mallory"} {
		if a, err := p.OnClientAuthenticate(ctx, &sdk.ClientAuthenticateRequest{Clientinfo: client(user, secret)}); err == nil {
			t.Errorf("%s: %v", user, a)
		}
	}
	p.hashing.Release(1)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := login(client("alice", secret)); got != "allow" || err != nil {
				t.Errorf("%s %v", got, err)
			}
		})
	}
	wg.Wait()
}

// Under a real hookmux: the answers, and nothing secret in any log at any level.
func TestUnderHookmux(t *testing.T) {
	t.Parallel()
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := url(t)
			db := fill(t, url)
			h := plugintest.RunWith(t, map[string]any{
				"database": url, "query": byName, "superusers": true, "unknown_user": "deny",
				"cache": map[string]any{"ttl": "1m", "negative_ttl": "1s"},
			})
			for range 2 {
				for user, want := range map[string]string{"alice": "allow", "mallory": "deny", "locked": "deny"} {
					if got := plugintest.Verdict(h.Login(t, client(user, secret))); got != want {
						t.Errorf("%s: %s, want %s", user, got, want)
					}
				}
				if got := plugintest.Verdict(h.Login(t, client("alice", secret+"x"))); got != "deny" {
					t.Errorf("wrong password: %s", got)
				}
				if got := plugintest.Verdict(h.May(t, client("root", ""), sdk.Publish, "a")); got != "allow" {
					t.Errorf("superuser: %s", got)
				}
			}
			for _, user := range []string{
				"' OR '1'='1", "alice' --", "alice'; DROP TABLE mqtt_user; --", `\' OR 1=1 #`, "alice\x00", "\xff\xfe", "alice\xc0\x80", "%", "",
				strings.Repeat("a", 65535),
			} {
				for _, password := range []string{secret, "' OR '1'='1", "\x00", "\xff", strings.Repeat("b", 65535)} {
					if got := plugintest.Verdict(h.LoginWithBytes(t, []byte(user), []byte(password))); got != "deny" {
						t.Errorf("%.20q with %.20q: %s", user, password, got)
					}
				}
			}
			if got := plugintest.Verdict(h.LoginWithBytes(t, []byte("alice"), []byte(secret))); got != "allow" {
				t.Errorf("after all that: %s", got)
			}
			if _, err := db.Exec("DROP TABLE mqtt_user"); err != nil {
				t.Fatal(err)
			}
			if got := plugintest.Verdict(h.Login(t, client("bob", secret))); got != "deny" {
				t.Errorf("without a table, the failure policy answers: %s", got)
			}
			h.Logs(t, `user=mallory why="unknown user"`)
			h.Logs(t, `why="wrong password"`)
			h.Logs(t, `why="user without a password hash`)
			for _, canary := range []string{secret, targets.Password, "$2a$"} {
				if strings.Contains(h.Log(), canary) {
					t.Errorf("%q is in the log:\n%s", canary, h.Log())
				}
			}
			if n := strings.Count(h.Log(), `why="wrong password"`); n != 1 {
				t.Errorf("the same wrong password is logged %d times", n)
			}
		})
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	url := databases["SQLite"](t)
	fill(t, url)
	plugintest.Conformance(t, map[string]any{"database": url, "query": byName, "password_hash_algorithm": map[string]any{"name": "sha256"}})
}

// The configs in the README are taken, and open a database.
func TestReadme(t *testing.T) {
	t.Parallel()
	for _, raw := range plugintest.Readme(t, "auth-sql") {
		var c config
		plugintest.Configure(t, raw, &c)
		if err := c.Algorithm.check(); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		db, err := sqldb.Open(strings.Replace(c.Database, "sqlite:users.db", "sqlite::memory:", 1), sqldb.Options{})
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if _, err := db.Statement(c.Query, parameters...); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		_ = db.Close()
	}
}

// A storm of wrong passwords is a few lines.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	var b bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewJSONHandler(&b, nil)))
	url := databases["SQLite"](t)
	fill(t, url)
	_, login := start(t, config{Database: url, Query: byName, Algorithm: scheme{Name: "plain"}})
	for i := range 300 {
		_, _ = login(client("alice", fmt.Sprint(secret, i)))
	}
	if n := strings.Count(b.String(), "\n"); n != 1 || strings.Contains(b.String(), secret) {
		t.Errorf("%d lines: %s", n, b.String())
	}
}
