package sqldb

import (
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// AboutData tells an error that is some value's fault, which every further try would end
// in, from one that says nothing about the values: an outage, a missing table.
func AboutData(err error) bool {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && len(pg.Code) > 1 {
		switch pg.Code[:2] {
		case "22", "23", "54": // data exceptions, constraints, limits
			return true
		}
	}
	if my := (*mysql.MySQLError)(nil); errors.As(err, &my) {
		switch my.Number {
		case 1048, 1062, 1118, 1153, 1264, 1292, 1366, 1406, 1452, 3819, 4025:
			return true
		case 1105: // any error without a number of its own, such as one parameter above the limit
			return strings.Contains(my.Message, "max_allowed_packet")
		}
	}
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case 18, 19, 20: // too big, constraint, mismatch
			return true
		}
	}
	return errors.Is(err, mysql.ErrPktTooLarge)
}

// Conflict reports whether a transaction was given up in favour of another one, and is
// to be tried again at once.
func Conflict(err error) bool {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		switch pg.Code {
		case "40001", "40P01", "23505": // serialization, deadlock, the other one inserted the same
			return true
		}
	}
	if my := (*mysql.MySQLError)(nil); errors.As(err, &my) {
		switch my.Number {
		case 1205, 1213, 1062:
			return true
		}
	}
	return false
}
