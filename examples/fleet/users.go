package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// users.db has the devices' passwords, as auth-sql reads them; fleet.db is what
// presence-sql and forward-sql write.
func usersFile(o options) string { return filepath.Join(o.dir, "users.db") }
func fleetFile(o options) string { return filepath.Join(o.dir, "fleet.db") }

func deviceID(i int) string { return fmt.Sprintf("device-%04d", i) }

// password of a device. In a real fleet it would be random.
func password(i int) string { return fmt.Sprintf("secret of %d", i) }

// makeUsers makes the table of the devices anew.
func makeUsers(ctx context.Context, o options) (err error) {
	db, err := sql.Open("sqlite", usersFile(o))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it says so
	for _, stmt := range []string{
		"DROP TABLE IF EXISTS mqtt_user",
		"CREATE TABLE mqtt_user (username text PRIMARY KEY, password_hash text NOT NULL, salt text NOT NULL)",
	} {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("make the devices' table: %w", err)
		}
	}
	for i := range o.devices {
		salt := rand.Text()
		sum := sha256.Sum256([]byte(password(i) + salt))
		if _, err := tx.ExecContext(ctx, "INSERT INTO mqtt_user VALUES (?, ?, ?)", deviceID(i), hex.EncodeToString(sum[:]), salt); err != nil {
			return fmt.Errorf("make the devices' table: %w", err)
		}
	}
	return tx.Commit()
}
