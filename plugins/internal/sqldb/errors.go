package sqldb

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// AboutData tells an error that is some value's fault, which every further try would end
// in, from one that says nothing about the values: an outage, a missing table, no right to write.
// It is what the database has answered to a statement, unless that is known to be something else:
// what triggers, checks and types can find wrong with a value has no end.
func AboutData(err error) bool {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && len(pg.Code) > 1 {
		if pg.Code == "42501" { // no right: to the table, or a policy for rows that this one is against
			return pg.Routine == "ExecWithCheckOptions"
		}
		return !slices.Contains(postgresElse, pg.Code[:2])
	}
	if my := (*mysql.MySQLError)(nil); errors.As(err, &my) {
		switch my.Number {
		case 1118, 1153, 1644: // a row or packet that is too large; what a trigger says, with a state of its choice
			return true
		case 1105: // any error without a number of its own, such as one parameter above the limit
			return strings.Contains(my.Message, "max_allowed_packet")
		}
		return !slices.Contains(mysqlElse, my.Number) && !slices.Contains(mysqlStatesElse, string(my.SQLState[:2])) &&
			my.Number/1000 != 2 && my.Number < 9000 // a client's, as proxies say them, and those of proxies
	}
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		code := lite.Code() & 0xff
		if code == 1 { // any error of a statement: also in JSON that a check looks into
			return !slices.ContainsFunc(sqliteElse, func(s string) bool { return strings.Contains(lite.Error(), s) })
		}
		return !slices.Contains(sqliteCodesElse, code)
	}
	return errors.Is(err, mysql.ErrPktTooLarge)
}

// What databases answer that says nothing about the values.
//
//nolint:gochecknoglobals // constant tables
var (
	// postgresElse are classes of SQLSTATE: connection, feature not supported (a plan that is out of date, too),
	// transaction initiation, cursor, transaction, statement name, authorization, transaction
	// termination, cursor name, savepoint, no such database or schema, rollback, syntax or access, resources, not
	// in the state for it, operator, system, snapshot, config file, foreign servers, internal.
	postgresElse = []string{
		"08", "0A", "0B", "24", "25", "26", "28", "2D", "34", "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX",
	}
	// mysqlStatesElse are the same, as far as MySQL knows them; 70 is a query that was interrupted.
	mysqlStatesElse = []string{"07", "08", "0A", "25", "28", "3D", "40", "42", "70", "XA"}
	// mysqlElse are those whose state says nothing, or that come before there is one.
	mysqlElse = []uint16{
		1004, 1005, 1009, 1014, 1015, 1016, 1017, 1020, 1021, 1023, 1024, 1026, 1030, 1033, 1034, 1035, 1036, 1037, 1038, 1039, 1040, // files, memory
		1041, 1042, 1043, 1044, 1045, 1046, 1047, 1049, 1053, 1054, 1064, 1077, 1078, 1079, 1094, 1099, 1100, // shutdown, rights, names
		1114, 1129, 1130, 1135, 1136, 1142, 1143, 1146, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, // table full, hosts, threads, network
		1180, 1181, 1184, 1194, 1195, 1203, 1205, 1206, 1207, 1213, 1223, 1226, 1227, 1243, 1286, 1290, 1295, 1296, 1297, // commit, crashed, locks, limits
		1317, 1356, 1364, 1370, 1436, 1449, 1461, 1524, 1548, 1568, 1613, 1614, 1615, 1637, 1665, 1785, 1792, 1812, 1814, 1815, 1820, 1836, 1862, 1877, // read only
		1927, 1932, 1969, 3019, 3024, 3032, 3098, 3100, 3101, 3118, 3159, 3168, 3169, 3170, 3185, 3572, 4031, 4151, // killed, too long, replication
	}
	// sqliteCodesElse: internal, perm, abort, busy, locked, nomem, readonly, interrupt, ioerr,
	// corrupt, notfound, full, cantopen, protocol, schema, misuse, nolfs, auth, notadb.
	sqliteCodesElse = []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 21, 22, 23, 26}
	sqliteElse      = []string{"no such ", "has no column", "syntax error", "incomplete input", "ON CONFLICT clause", "may not be", "transaction", "malformed database"}
)

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
