package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Statement is a statement with named parameters. It is prepared on each connection
// once; for PostgreSQL pgx does that, which also finds out when a table has changed and
// works with a pooler in between. Its methods may be called from many goroutines.
type Statement struct {
	db    *DB
	text  string   // with the driver's parameters
	names []string // of the driver's parameters, in their order

	mu       sync.Mutex
	prepared *sql.Stmt // nil until a connection could be had
}

// Value gives the value of a named parameter: a string, []byte, integer, bool, time.Time
// or nil.
type Value func(name string) any

// Statement reads one statement. A parameter that is not among names is an error that
// lists them.
func (d *DB) Statement(query string, names ...string) (*Statement, error) {
	if strings.TrimSpace(query) == "" {
		return nil, errors.New("is empty")
	}
	s := &Statement{db: d}
	var err error
	s.text, s.names, err = d.Kind.bind(query)
	if err != nil {
		return nil, err
	}
	for _, n := range s.names {
		if !slices.Contains(names, n) {
			return nil, fmt.Errorf("there is no parameter :%s; there are :%s", n, strings.Join(names, ", :"))
		}
	}
	return s, nil
}

// Names are the parameters that the statement has, each once.
func (s *Statement) Names() []string {
	names := slices.Clone(s.names)
	slices.Sort(names)
	return slices.Compact(names)
}

// Text is the statement as the database gets it.
func (s *Statement) Text() string { return s.text }

// Query runs the statement and gives its rows.
func (s *Statement) Query(ctx context.Context, v Value) (*sql.Rows, error) {
	if s.db.Kind == Postgres {
		return s.db.QueryContext(ctx, s.text, s.args(v)...)
	}
	st, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, s.args(v)...)
}

// Exec runs the statement for what it does.
func (s *Statement) Exec(ctx context.Context, v Value) (sql.Result, error) {
	if s.db.Kind == Postgres {
		return s.db.ExecContext(ctx, s.text, s.args(v)...)
	}
	st, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, s.args(v)...)
}

// ExecTx is Exec within a transaction. It takes no connection beside the transaction's, so
// it is prepared only if Query, Exec or Check has prepared it before.
func (s *Statement) ExecTx(ctx context.Context, tx *sql.Tx, v Value) (sql.Result, error) {
	if st := s.ready(); st != nil {
		return tx.StmtContext(ctx, st).ExecContext(ctx, s.args(v)...)
	}
	return tx.ExecContext(ctx, s.text, s.args(v)...)
}

// QueryTx is Query within a transaction, as ExecTx is Exec.
func (s *Statement) QueryTx(ctx context.Context, tx *sql.Tx, v Value) (*sql.Rows, error) {
	if st := s.ready(); st != nil {
		return tx.StmtContext(ctx, st).QueryContext(ctx, s.args(v)...)
	}
	return tx.QueryContext(ctx, s.text, s.args(v)...)
}

// Check has the database read the statement, if it can be reached, so that a mistake in
// it is found before the first event.
func (s *Statement) Check(ctx context.Context) error {
	st, err := s.prepare(ctx)
	if err == nil && s.db.Kind == Postgres {
		return st.Close()
	}
	return err
}

func (s *Statement) args(v Value) []any {
	args := make([]any, len(s.names))
	for i, n := range s.names {
		args[i] = v(n)
	}
	return args
}

// prepare is tried again by every call until it has worked once: a database that is
// away at the start must not spoil the statement for good.
func (s *Statement) prepare(ctx context.Context) (*sql.Stmt, error) {
	if st := s.ready(); st != nil {
		return st, nil
	}
	st, err := s.db.PrepareContext(ctx, s.text) // may take long, so not under the lock
	if err != nil {
		return nil, err
	}
	if s.db.Kind == Postgres {
		return st, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prepared != nil {
		return s.prepared, st.Close()
	}
	s.prepared = st
	return st, nil
}

func (s *Statement) ready() *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared
}
