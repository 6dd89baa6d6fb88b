package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newFile is a database with one number in it; nobody uses it.
func newFile(t *testing.T, file string, n int) string {
	t.Helper()
	d, err := Open("sqlite:"+file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Exec("CREATE TABLE u (n INT)")
	_, err2 := d.Exec("INSERT INTO u VALUES (?)", n)
	if err := errors.Join(err, err2, d.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// A reader reads what has the file's name now, also with connections in use and prepared statements.
func TestReaderFollowsTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := newFile(t, filepath.Join(dir, "users.db"), 1)
	d := open(t, "sqlite:"+name, Options{ReadOnly: true})
	s := statement(t, d, "SELECT n FROM u")
	read := func() (n int, err error) {
		rows, err := s.Query(t.Context(), nil)
		if err != nil {
			return 0, err
		}
		defer rows.Close()
		for rows.Next() {
			err = rows.Scan(&n)
		}
		return n, errors.Join(err, rows.Err())
	}
	fillPool(t, d)
	for want := 1; want < 5; want++ {
		if n, err := read(); n != want || err != nil {
			t.Errorf("%d %v, want %d", n, err, want)
		}
		fillPool(t, d)
		inUse, err := d.QueryContext(t.Context(), "SELECT n FROM u")
		if err != nil || !inUse.Next() {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if n, err := read(); err == nil {
			t.Errorf("of a file that is gone: %d", n)
		}
		if err := os.Rename(newFile(t, filepath.Join(dir, "new.db"), want+1), name); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits := make(chan error, 1)
		go func() {
			var n int
			waits <- d.QueryRowContext(ctx, "SELECT n FROM u").Scan(&n)
		}()
		if want%2 == 0 { // one that waits for the others may give up
			cancel()
			if err := <-waits; err == nil {
				t.Error("it did not wait for the connection that is in use")
			}
		}
		var n int
		if err := errors.Join(inUse.Scan(&n), inUse.Close()); n != want || err != nil {
			t.Errorf("in use: %d %v", n, err)
		}
		if want%2 == 1 {
			if err := <-waits; err != nil {
				t.Error(err)
			}
		}
		cancel()
	}
}

// A writer does not write what nobody finds.
func TestWriterStaysWithItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := newFile(t, filepath.Join(dir, "events.db"), 1)
	d := open(t, "sqlite:"+name, Options{})
	s := statement(t, d, "INSERT INTO u VALUES (:n)", "n")
	write := func(n int) error {
		_, err := s.Exec(t.Context(), values("n", n))
		tx, err2 := d.BeginTx(t.Context(), nil)
		if err2 == nil {
			_, err2 = s.ExecTx(t.Context(), tx, values("n", n))
			err2 = errors.Join(err2, tx.Commit())
		}
		if (err == nil) != (err2 == nil) {
			t.Errorf("%v, in a transaction %v", err, err2)
		}
		return err
	}
	fillPool(t, d)
	if err := write(2); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	for _, other := range []bool{false, true} {
		if other {
			newFile(t, filepath.Join(dir, "new.db"), 7)
			if err := os.Rename(filepath.Join(dir, "new.db"), name); err != nil {
				t.Fatal(err)
			}
		}
		if err := write(3); err == nil || !strings.Contains(err.Error(), "put that back, or restart the provider") || AboutData(err) {
			t.Errorf("another file %v: %v", other, err)
		}
	}
	if err := os.Rename(name+".old", name); err != nil {
		t.Fatal(err)
	}
	if err := write(4); err != nil {
		t.Error(err)
	}
	var sum sql.NullInt64
	if err := d.QueryRow("SELECT sum(n) FROM u").Scan(&sum); err != nil || sum.Int64 != 1+2+2+4+4 {
		t.Errorf("%d %v", sum.Int64, err)
	}
}
