package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The tables of the bench in the user's database. Both are of the plugin's making; plain has what
// COPY by itself stores.
const (
	eventsTable = "hookmux_bench_events"
	plainTable  = "hookmux_bench_plain"
)

// errNoPostgres is why there is no ratio with COPY.
const errNoPostgres notHere = "it needs a database: --postgres URL"

// drained is how quickly forward-sql stores what waits for it: messages are published, and
// stored durably by hookmux, while the plugin is stopped. What is measured begins when it goes on.
func drained(ctx context.Context, l *lab, d time.Duration) (sample, error) {
	s, err := l.forwardSQL(ctx)
	if err != nil {
		return sample{}, err
	}
	if _, err := l.psql(ctx, "TRUNCATE "+eventsTable); err != nil {
		return sample{}, err
	}
	plugin, err := findPlugin(s.roots[0].pid(), "p0")
	if err != nil {
		return sample{}, err
	}
	if err := syscall.Kill(plugin, syscall.SIGSTOP); err != nil {
		return sample{}, err
	}
	defer func() { _ = syscall.Kill(plugin, syscall.SIGCONT) }()
	ld := l.load()
	published(&ld)
	ld.duration = d
	sent, err := ld.run(ctx, s)
	if err != nil {
		return sample{}, err
	}
	before, beforeOwn := s.cpu()
	start := time.Now()
	if err := syscall.Kill(plugin, syscall.SIGCONT); err != nil {
		return sample{}, err
	}
	if err := l.awaitRows(ctx, sent.Events); err != nil {
		return sample{}, err
	}
	out := sample{Events: sent.Events, Elapsed: time.Since(start)}
	after, afterOwn := s.cpu()
	out.CPU, out.Hookmux = after-before, afterOwn-beforeOwn
	return out, nil
}

// awaitRows waits until the plugin has stored so many messages, and fails unless it is just so many.
// The database itself looks, so that nothing but the end of one query is waited for.
func (l *lab) awaitRows(ctx context.Context, n int) error {
	_, err := l.psql(ctx, fmt.Sprintf("SET statement_timeout = '%d s'", int(patience.Seconds())), fmt.Sprintf(
		"DO $$ BEGIN WHILE (SELECT count(*) FROM %s) < %d LOOP PERFORM pg_sleep(0.005); END LOOP; END $$", eventsTable, n))
	if err != nil {
		return fmt.Errorf("wait for the messages in PostgreSQL: %w", err)
	}
	text, err := l.psql(ctx, "SELECT count(*) FROM "+eventsTable)
	if err != nil {
		return err
	}
	if got, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || got != n {
		return fmt.Errorf("the sums are wrong: %d messages were published, PostgreSQL has %q", n, text)
	}
	return nil
}

// copied is how quickly psql's COPY stores the very rows that forward-sql has stored, in a table of the
// same kind.
func copied(ctx context.Context, l *lab, _ time.Duration) (sample, error) {
	if l.opts.Postgres == "" {
		return sample{}, errNoPostgres
	}
	file := filepath.Join(l.dir, "rows")
	const columns = "event_id, time, hook, node, client, username, peerhost, topic, qos, payload, message_id, reason, request"
	if _, err := l.psql(ctx,
		"DROP TABLE IF EXISTS "+plainTable,
		"CREATE TABLE "+plainTable+" (LIKE "+eventsTable+" INCLUDING ALL)",
		`\copy (SELECT `+columns+" FROM "+eventsTable+" ORDER BY seq) TO '"+file+"' (FORMAT binary)"); err != nil {
		return sample{}, err
	}
	out, err := l.psql(ctx, `\timing on`, `\copy `+plainTable+" ("+columns+") FROM '"+file+"' (FORMAT binary)", `\timing off`, "SELECT count(*) FROM "+plainTable)
	if err != nil {
		return sample{}, err
	}
	return readTiming(out)
}

// readTiming reads what psql prints of a timed COPY, and the count of its rows.
func readTiming(out string) (sample, error) {
	var s sample
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if t, ok := strings.CutPrefix(line, "Time: "); ok {
			ms, _, _ := strings.Cut(t, " ")
			v, err := strconv.ParseFloat(ms, 64)
			if err != nil {
				return s, fmt.Errorf("psql says %q", line)
			}
			s.Elapsed = time.Duration(v * float64(time.Millisecond))
		} else if n, err := strconv.Atoi(line); err == nil {
			s.Events = n
		}
	}
	if s.Elapsed <= 0 || s.Events == 0 {
		return s, fmt.Errorf("psql does not tell how long COPY took, and how many rows there are, but %q", out)
	}
	return s, nil
}

// forwardSQL is hookmux with forward-sql, which stores published messages durably.
func (l *lab) forwardSQL(ctx context.Context) (*system, error) {
	if s := l.sql; s != nil {
		return s, nil
	}
	if l.opts.Postgres == "" {
		return nil, errNoPostgres
	}
	if _, err := exec.LookPath("psql"); err != nil {
		return nil, notHere("psql is not installed")
	}
	program := filepath.Join(filepath.Dir(l.opts.Self[0]), "forward-sql")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("forward-sql"); err != nil {
			return nil, notHere("forward-sql is neither beside this program nor in PATH")
		}
	}
	if _, err := l.psql(ctx, "SET client_min_messages = error", "DROP TABLE IF EXISTS "+eventsTable+", "+plainTable); err != nil {
		return nil, fmt.Errorf("--postgres: %w", err)
	}
	config, err := json.Marshal(map[string]any{"url": l.opts.Postgres, "table": eventsTable})
	if err != nil {
		return nil, err
	}
	s, err := l.hookmux(ctx, 1, func(_ int, p *providerConfig) {
		*p = providerConfig{Name: p.Name, Command: []string{program}, Config: config, Observe: true, Delivery: "durable", Timeout: patience.String()}
	})
	if err != nil {
		return nil, err
	}
	for _, c := range s.plugins { // of the built-in one, which is not there
		c.Close()
	}
	s.plugins, s.name, l.sql = nil, "hookmux with forward-sql", s
	return s, nil
}

// psql runs commands in the user's database, and gives what they print: bare values.
func (l *lab) psql(ctx context.Context, commands ...string) (string, error) {
	args := []string{"--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "--set=ON_ERROR_STOP=1"}
	for _, c := range commands {
		args = append(args, "--command="+c)
	}
	cmd := exec.CommandContext(ctx, "psql", append(args, l.opts.Postgres)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCONNECT_TIMEOUT=5")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("psql: %s", strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// closePostgres stops what used the database, and leaves nothing in it.
func (l *lab) closePostgres() {
	if l.sql == nil {
		return
	}
	l.sql.stop()
	_, _ = l.psql(context.Background(), "DROP TABLE IF EXISTS "+eventsTable+", "+plainTable)
}
