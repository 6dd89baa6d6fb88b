package main

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// uniqueViolation is PostgreSQL's code for a row that is there already.
const uniqueViolation = "23505"

// copyRows is for PostgreSQL: COPY, which is all or nothing, and when some event is there
// already, INSERT, which can leave it out.
func (t *table) copyRows(ctx context.Context, rows []row) error {
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	return conn.Raw(func(driver any) error {
		c := driver.(*stdlib.Conn).Conn()
		_, err := c.CopyFrom(ctx, t.schema, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			return rows[i].values[:], nil
		}))
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == uniqueViolation {
			return t.insertNew(ctx, c, rows)
		}
		return err
	})
}

// insertNew sends all statements at once; they are one transaction.
func (t *table) insertNew(ctx context.Context, c *pgx.Conn, rows []row) error {
	statement := "INSERT INTO " + t.name + " (" + strings.Join(columns, ", ") +
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (event_id) DO NOTHING"
	var all pgx.Batch
	for i := range rows {
		all.Queue(statement, rows[i].values[:]...)
	}
	return c.SendBatch(ctx, &all).Close()
}
