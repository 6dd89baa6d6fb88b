// Package sqldb opens the databases of the plugins that use SQL, by URL:
//
//	postgres://user:password@host:5432/database?sslmode=verify-full
//	mysql://user:password@host:3306/database?tls=true    (or mariadb://)
//	sqlite:/var/lib/hookmux/users.db                     (relative: sqlite:users.db)
//
// What stands behind the ? is the driver's own: pgx (libpq's words),
// go-sql-driver/mysql, SQLite's URI parameters and modernc.org/sqlite's _pragma. For MySQL, ssl-ca,
// ssl-cert and ssl-key name PEM files.
//
// Statements come from a config and have named parameters, :username. They become the
// driver's bound parameters: no value is ever part of the text of a statement.
//
// No error of this package shows a URL or a password.
package sqldb
