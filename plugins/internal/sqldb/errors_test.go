package sqldb

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestAboutData(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"22001": true, "22P02": true, "23505": true, "23514": true, "54000": true, "P0001": true, "21000": true, "44000": true, "45000": true,
		"08006": false, "0A000": false, "25006": false, "28P01": false, "3D000": false, "40001": false, "42P01": false, "42501": false,
		"53100": false, "53300": false, "55P03": false, "57014": false, "57P01": false, "58030": false, "XX000": false, "26000": false,
	} {
		if got := AboutData(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("PostgreSQL %s: %v", code, got)
		}
	}
	if !AboutData(&pgconn.PgError{Code: "42501", Routine: "ExecWithCheckOptions"}) {
		t.Error("PostgreSQL: a policy for rows")
	}
	for code, want := range map[string]bool{
		"1048 23000": true, "1062 23000": true, "1118 42000": true, "1153 08S01": true, "1264 22003": true, "1267 HY000": true, "1366 22007": true,
		"1406 22001": true, "1526 HY000": true, "1644 45000": true, "1644 42000": true, "3140 22032": true, "3819 HY000": true, "4025 23000": true,
		"1040 ": false, "1044 42000": false, "1045 28000": false, "1047 08S01": false, "1053 08S01": false, "1054 42S22": false, "1105 HY000": false, "1142 42000": false,
		"1146 42S02": false, "1205 HY000": false, "1213 40001": false, "1290 HY000": false, "1317 70100": false, "1792 25006": false, "1836 HY000": false,
		"1927 70100": false, "2013 HY000": false, "3100 HY000": false, "4031 HY000": false, "9001 HY000": false, "1114 HY000": false,
	} {
		e := new(mysql.MySQLError)
		var state string
		_, _ = fmt.Sscan(code, &e.Number, &state)
		copy(e.SQLState[:], state)
		if got := AboutData(e); got != want {
			t.Errorf("MySQL %s: %v", code, got)
		}
	}
	if AboutData(context.DeadlineExceeded) || !AboutData(mysql.ErrPktTooLarge) {
		t.Error("what no server has said")
	}
	file := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	d, reader := open(t, file, Options{}), open(t, file, Options{})
	for _, q := range []string{"CREATE TABLE j (a TEXT CHECK (json_extract(a, '$.x') > 0))", "CREATE TABLE n (a TEXT NOT NULL, b INTEGER PRIMARY KEY)"} {
		if _, err := d.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := reader.Exec("PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	reader.SetMaxOpenConns(1)
	for query, want := range map[string]bool{
		"INSERT INTO j VALUES ('no JSON')": true, "INSERT INTO n VALUES (NULL, 1)": true, "INSERT INTO n VALUES ('a', 'b')": true,
		"INSERT INTO j VALUES ('{}'), (abs(-9223372036854775808))": true,
		"INSERT INTO gone VALUES (1)":                              false, "INSERT INTO n (c) VALUES (1)": false, "INSERT INTO": false,
		"INSERT INTO n VALUES ('a', 1) ON CONFLICT (a) DO NOTHING": false,
	} {
		if _, err := d.Exec(query); err == nil || AboutData(err) != want {
			t.Errorf("SQLite: %s: %v, want %v", query, err, want)
		}
	}
	if _, err := reader.Exec("INSERT INTO n VALUES ('a', 1)"); err == nil || AboutData(err) {
		t.Errorf("SQLite: %v", err)
	}
}
