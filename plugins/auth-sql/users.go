package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// user is a row of the query.
type user struct {
	hash, salt []byte
	superuser  bool
}

// rowError is something wrong with what the query gives for this client, and not for others. It must not be
// answered as an outage is: who logs in chooses the name.
type rowError string

func (e rowError) Error() string { return string(e) }

const (
	errSeveral rowError = "the query gives more than one row, so it is not clear who this is; make the column unique, or the query more exact"
	errNoBool  rowError = "the column is_superuser is neither true nor false"
)

// users finds users in the database.
type users struct {
	statement     *sqldb.Statement
	needSuperuser bool
}

// find runs the query; without a row, the user is nil.
func (u *users) find(ctx context.Context, c *sdk.ClientInfo) (*user, error) {
	rows, err := u.statement.Query(ctx, func(name string) any { return parameter(c, name) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has told
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(columns, "password_hash") {
		return nil, fmt.Errorf("no column is called password_hash (write: SELECT … AS password_hash); there are %q", columns)
	}
	if u.needSuperuser && !slices.Contains(columns, "is_superuser") {
		return nil, fmt.Errorf("\"superusers\" needs a column is_superuser; there are %q", columns)
	}
	var found *user
	for rows.Next() {
		row := new(user)
		switch another, err := row.scan(rows.Scan, columns, c); {
		case err != nil:
			return nil, err
		case another:
		case found != nil:
			return nil, errSeveral
		default:
			found = row
		}
	}
	return found, rows.Err()
}

// scan reads a row. It is another user's if it has a name of its own that is not just the client's: what a
// database compares as equal may differ in case, in accents, in spaces at the end.
func (u *user) scan(scan func(...any) error, columns []string, c *sdk.ClientInfo) (another bool, err error) {
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range into {
		into[i] = &values[i]
	}
	if err := scan(into...); err != nil {
		return false, err
	}
	for i, v := range values {
		if own := columns[i]; (own == "username" || own == "clientid") && (v == nil || string(asBytes(v)) != parameter(c, own)) {
			return true, nil
		}
	}
	for i, v := range values {
		switch columns[i] {
		case "password_hash":
			u.hash = asBytes(v)
		case "salt":
			u.salt = asBytes(v)
		case "is_superuser":
			if u.superuser, err = asBool(v); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// asBytes is a text or binary column; SQL's NULL is nil.
func asBytes(v any) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return v
	case string:
		return []byte(v)
	default: // a number: a plain password of digits, perhaps
		return fmt.Append(nil, v)
	}
}

// asBool reads what stands for true in a database: true, a number, '1', 't', 'true'.
func asBool(v any) (bool, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	}
	if b := asBytes(v); len(b) == 1 && b[0] <= 1 { // MySQL's BIT
		return b[0] == 1, nil
	}
	yes, err := strconv.ParseBool(string(asBytes(v)))
	if err != nil {
		return false, errNoBool
	}
	return yes, nil
}

func parameter(c *sdk.ClientInfo, name string) string {
	switch name {
	case "username":
		return c.GetUsername()
	case "clientid":
		return c.GetClientid()
	case "peerhost":
		return c.GetPeerhost()
	case "cert_common_name":
		return c.GetCn()
	case "cert_subject":
		return c.GetDn()
	}
	return ""
}
