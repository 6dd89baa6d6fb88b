// Package targets starts the real servers that plugins talk to, for tests.
//
// # Use
//
//	db := targets.Postgres(t)    // a fresh, empty database
//	sql.Open("pgx", db.URL)
//
//	db := targets.NewPostgres(t) // a server of the test's own
//	db.Kill(t)                   // SIGKILL, all of its processes
//	db.Start(t)                  // the same data, the same address
//
// The first kind of function starts one server for all tests of a test binary, which
// may run in parallel: each gets what is its own there, such as a database. Only a
// server of the test's own may be stopped. Both skip the test where the program is not
// installed, or fail it when HOOKMUX_LANES=all; see package lanes.
//
// # What a server is
//
// A process from the machine's own package, on loopback, with its data in a folder of
// its own below the temporary one. Under root it runs as another user, since most of
// them refuse to be root. Data is not forced to disk: it stands a SIGKILL of
// the server, which is what tests do, not a loss of power.
//
// Nothing is left behind, also when the test binary is killed: a shell that waits for
// its end, however it comes, then stops the server and removes the folder. It needs no
// goroutine, so a package's goleak check does not see it.
//
// # A new one
//
// A Program says what to run and how to see that it answers; postgres.go and mariadb.go
// are examples.
package targets
