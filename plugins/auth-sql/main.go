// Auth-sql lets clients in by what PostgreSQL, MySQL, MariaDB or SQLite knows of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"github.com/hookmux/hookmux/plugins/internal/refusal"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Database is its URL; package sqldb has the forms.
	Database string `json:"database"`
	// Connections is the most at a time.
	Connections int `json:"connections"`
	// Query finds the user's row.
	Query string `json:"query"`
	// Algorithm says what the column password_hash is, in EMQX's words.
	Algorithm scheme `json:"password_hash_algorithm"`
	// UnknownUser is what a query without a row means: deny or ignore.
	UnknownUser string `json:"unknown_user"`
	// Superusers answers client.authorize, too.
	Superusers bool `json:"superusers"`
	// Hashing is how many passwords are hashed at a time; 0: one for each CPU.
	Hashing int `json:"hashing"`
	// Cache keeps answers for a while.
	Cache cacheConfig `json:"cache"`
}

// parameters are those of the query, in EMQX's words.
//
//nolint:gochecknoglobals // a constant table
var parameters = []string{"username", "clientid", "peerhost", "cert_common_name", "cert_subject"}

// withoutDeadline bounds a question that came without one.
const withoutDeadline = 5 * time.Second

type plugin struct {
	config config

	db      *sqldb.DB
	users   *users
	hashing *semaphore.Weighted
	cache   *cache
	refused refusal.Log
	dummy   dummy
}

func (p *plugin) Start(ctx context.Context) error {
	c := &p.config
	switch c.UnknownUser {
	case "":
		c.UnknownUser = "deny"
	case "deny", "ignore":
	default:
		return fmt.Errorf(`config: "unknown_user" is %q; allowed: deny, ignore`, c.UnknownUser)
	}
	if c.Connections < 0 || c.Hashing < 0 {
		return errors.New(`config: "connections" and "hashing" are numbers from 1 on`)
	}
	if err := c.Algorithm.check(); err != nil {
		return fmt.Errorf(`config: "password_hash_algorithm": %w`, err)
	}
	if c.Hashing == 0 {
		c.Hashing = runtime.GOMAXPROCS(0)
	}
	p.hashing = semaphore.NewWeighted(int64(c.Hashing))
	var err error
	if p.cache, err = newCache(c.Cache); err != nil {
		return fmt.Errorf(`config: "cache": %w`, err)
	}
	if p.db, err = sqldb.Open(c.Database, sqldb.Options{MaxConns: c.Connections, ReadOnly: true}); err != nil {
		return fmt.Errorf(`config: "database": %w`, err)
	}
	statement, err := p.db.Statement(c.Query, parameters...)
	if err != nil {
		return fmt.Errorf(`config: "query": %w`, err)
	}
	p.users = &users{statement: statement, needSuperuser: c.Superusers}
	return p.try(ctx)
}

// try finds a mistake in the query before the first client does. A database that cannot
// be reached now is an outage like any other.
func (p *plugin) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withoutDeadline)
	defer cancel()
	if err := p.db.Ping(ctx); err != nil {
		slog.Warn("the database cannot be reached; nobody can log in until it can", "database", p.db.String(), "error", err.Error())
		return nil
	}
	somebody := &sdk.ClientInfo{Username: "hookmux", Clientid: "hookmux", Peerhost: "127.0.0.1"}
	switch _, err := p.users.find(ctx, somebody); {
	case sqldb.AboutData(err):
		slog.Warn("the query was tried with the name and client id hookmux, which the database does not take; if it takes no others, nobody can log in", "error", err.Error())
	case err != nil && !errors.As(err, new(rowError)):
		return fmt.Errorf(`config: "query": %w`, err)
	}
	return nil
}

// Stop closes the connections.
func (p *plugin) Stop(context.Context) error { return p.db.Close() }

// OnClientAuthenticate answers by name and password. No answer of the database is an
// error, and never a wrong password.
func (p *plugin) OnClientAuthenticate(ctx context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c := r.GetClientinfo()
	key := p.cache.key("login", c, c.GetPassword())
	outcome, ok := p.cache.get(key)
	if !ok {
		var err error
		if outcome, err = p.login(ctx, c); err != nil {
			return 0, err
		}
		p.cache.put(key, outcome)
	}
	switch {
	case outcome == good:
		return sdk.Allow, nil
	case (outcome == unknown || outcome == oddName) && p.config.UnknownUser == "ignore":
		return sdk.NoOpinion, nil
	case outcome == unknown || outcome == wrong: // of the others that has been said, with the reason
		p.refused.Deny(string(outcome), c)
	}
	return sdk.Deny.Final(), nil
}

// outcome of a question; a refusal's is what the log says.
type outcome string

const (
	good      outcome = "good"
	superuser outcome = "superuser"
	unknown   outcome = "unknown user"
	wrong     outcome = "wrong password"
	noHash    outcome = "user without a password hash that is understood"
	unclear   outcome = "user whose row is not clear"
	oddName   outcome = "user name or other value that the database does not take"
)

func (p *plugin) login(ctx context.Context, c *sdk.ClientInfo) (outcome, error) {
	u, none, err := p.find(ctx, c)
	if err != nil {
		return "", err
	}
	if err := p.hashing.Acquire(ctx, 1); err != nil {
		return "", fmt.Errorf("too many passwords to check at a time (\"hashing\": %d): %w", p.config.Hashing, err)
	}
	defer p.hashing.Release(1)
	password := []byte(c.GetPassword())
	if u == nil {
		// As much work as for a user who is known, or time would tell who is.
		p.dummy.verify(p.config.Algorithm, password)
		return none, nil
	}
	ok, err := p.config.Algorithm.verify(*u, password)
	switch {
	case err != nil:
		p.refused.Deny(string(noHash), c, "error", err.Error())
		p.dummy.verify(p.config.Algorithm, password)
		return noHash, nil
	case !ok || len(password) == 0:
		p.dummy.learn(*u)
		return wrong, nil
	}
	p.dummy.learn(*u)
	return good, nil
}

// find gives the user, or none: the outcome without one. An error is an outage, or a mistake in the
// query; no name that a client may choose leads to one.
func (p *plugin) find(ctx context.Context, c *sdk.ClientInfo) (u *user, none outcome, err error) {
	for _, name := range parameters {
		v := parameter(c, name)
		if strings.Contains(v, "\x00") || !utf8.ValidString(v) {
			return nil, unknown, nil // PostgreSQL has an error for it, which is no outage
		}
	}
	switch u, err = p.users.find(ctx, c); {
	case errors.As(err, new(rowError)):
		p.refused.Deny(string(unclear), c, "error", err.Error())
		return nil, unclear, nil
	case sqldb.AboutData(err): // such as a character that the column has none for, or letters where a number is
		if p.config.UnknownUser != "ignore" {
			p.refused.Deny(string(oddName), c, "error", err.Error())
		}
		return nil, oddName, nil
	case err != nil:
		return nil, "", fmt.Errorf("ask %s: %w", p.db, err)
	case u == nil:
		return nil, unknown, nil
	}
	return u, "", nil
}

// superusers is the plugin that also lets superusers do everything.
type superusers struct{ *plugin }

// OnClientAuthorize asks the database again, so that it is right after a restart of the
// plugin, too.
func (p superusers) OnClientAuthorize(ctx context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c := r.GetClientinfo()
	key := p.cache.key("superuser", c, "")
	outcome, ok := p.cache.get(key)
	if !ok {
		u, none, err := p.find(ctx, c)
		if err != nil {
			return 0, err
		}
		outcome = none
		if u != nil && u.superuser {
			outcome = superuser
		}
		p.cache.put(key, outcome)
	}
	if outcome == superuser {
		return sdk.Allow.Final(), nil
	}
	return sdk.NoOpinion, nil
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, withoutDeadline)
}

func main() {
	p := new(plugin)
	sdk.MustConfig(&p.config)
	if p.config.Superusers {
		sdk.Serve(superusers{p})
	}
	sdk.Serve(p)
}
