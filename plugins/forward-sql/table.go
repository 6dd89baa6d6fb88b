package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/hookmux/hookmux/plugins/internal/sqldb"
)

// table is the table in one kind of database.
type table struct {
	db     *sqldb.DB
	name   string   // quoted
	schema []string // the parts of the name, not quoted
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

func newTable(name string, db *sqldb.DB) (*table, error) {
	if !tableName.MatchString(name) {
		return nil, fmt.Errorf("%q is no name of letters, digits and _, perhaps with a schema and a dot before it", name)
	}
	t := &table{db: db, schema: strings.Split(name, ".")}
	quote := `"`
	if db.Kind == sqldb.MySQL {
		quote = "`"
	}
	t.name = quote + strings.Join(t.schema, quote+"."+quote) + quote
	return t, nil
}

// definitions of the table. Events are in the order of seq; event_id is unique, so that
// an event that comes again is not there again.
//
//nolint:gochecknoglobals // a constant table
var definitions = map[sqldb.Kind]string{
	sqldb.Postgres: `CREATE TABLE IF NOT EXISTS %s (
		seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text UNIQUE, time timestamptz NOT NULL, hook text NOT NULL,
		node text, client text, username text, peerhost text, topic text, qos smallint, payload bytea, message_id text, reason text, request jsonb)`,
	sqldb.MySQL: `CREATE TABLE IF NOT EXISTS %s (
		seq bigint AUTO_INCREMENT PRIMARY KEY, event_id varchar(64) CHARACTER SET ascii COLLATE ascii_bin UNIQUE, time datetime(6) NOT NULL,
		hook varchar(64) NOT NULL, node text, client mediumtext, username mediumtext, peerhost text, topic mediumtext, qos tinyint,
		payload longblob, message_id text, reason text, request longtext)
		CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ENGINE InnoDB`,
	sqldb.SQLite: `CREATE TABLE IF NOT EXISTS %s (
		seq integer PRIMARY KEY, event_id text UNIQUE, time text NOT NULL, hook text NOT NULL,
		node text, client text, username text, peerhost text, topic text, qos integer, payload blob, message_id text, reason text, request text)`,
}

func (t *table) create(ctx context.Context) error {
	if _, err := t.db.ExecContext(ctx, fmt.Sprintf(definitions[t.db.Kind], t.name)); err != nil {
		return fmt.Errorf("make the table %s in %s: %w", t.name, t.db, err)
	}
	return nil
}

// check reports whether the table is there and has the columns.
func (t *table) check(ctx context.Context) error {
	rows, err := t.db.QueryContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+t.name+" WHERE 1 = 0") //nolint:gosec // names that were checked
	if err == nil {
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err != nil {
		return fmt.Errorf("the table %s in %s: %w", t.name, t.db, err)
	}
	return nil
}

// refuses is why a row cannot be stored, if that is known without asking.
func (t *table) refuses(r *row) error {
	if t.db.Kind != sqldb.Postgres {
		return nil
	}
	for i, v := range r.values {
		if s, ok := v.(string); ok && strings.Contains(s, "\x00") {
			return fmt.Errorf("PostgreSQL has no text with a NUL in it, and the event's %s has one", columns[i])
		}
	}
	return nil
}

// insert stores all rows or none, leaving out those that are there.
func (t *table) insert(ctx context.Context, rows []row) error {
	if t.db.Kind == sqldb.Postgres {
		return t.copyRows(ctx, rows)
	}
	return t.insertRows(ctx, rows)
}

// Bounds on a statement: SQLite has at most 32,766 parameters, and a server of MySQL
// takes 16 MiB and more.
const (
	maxRows  = 1000
	maxBytes = 8 << 20
)

// insertRows is for MySQL and SQLite: statements with many rows, in one transaction.
func (t *table) insertRows(ctx context.Context, rows []row) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it says so, and before it there is another error
	for len(rows) > 0 {
		n, bytes := 0, 0
		for n < len(rows) && n < maxRows && (n == 0 || bytes+rows[n].bytes <= maxBytes) {
			bytes += rows[n].bytes
			n++
		}
		args := make([]any, 0, n*len(columns))
		for i := range rows[:n] {
			if at, ok := rows[i].values[atTime].(time.Time); ok && t.db.Kind == sqldb.SQLite { // which has no type for it
				rows[i].values[atTime] = at.Format("2006-01-02T15:04:05.000000Z")
			}
			args = append(args, rows[i].values[:]...)
		}
		if _, err := tx.ExecContext(ctx, t.statement(n), args...); err != nil {
			if my := (*mysql.MySQLError)(nil); errors.As(err, &my) && my.Number == manyRows {
				return fmt.Errorf("another event has the same in a column whose values must differ (a unique index of %s): %w", t.name, err)
			}
			return err
		}
		rows = rows[n:]
	}
	return tx.Commit()
}

// manyRows is MySQL's error for a subquery that gives two rows where one is wanted.
const manyRows = 1242

// statement inserts n rows but those whose event_id is there. MySQL's IGNORE would also pass over
// what does not fit, and cut it; and its ON DUPLICATE KEY is about all unique indexes, so what is no
// event that is there already is made an error.
func (t *table) statement(n int) string {
	values := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
	s := "INSERT INTO " + t.name + " (" + strings.Join(columns, ", ") + ") VALUES " + values + strings.Repeat(", "+values, n-1)
	if t.db.Kind == sqldb.MySQL {
		return s + " ON DUPLICATE KEY UPDATE seq = IF(" + t.name + ".event_id = VALUES(event_id), " + t.name + ".seq, (SELECT 1 UNION ALL SELECT 2))"
	}
	return s + " ON CONFLICT (event_id) DO NOTHING"
}
