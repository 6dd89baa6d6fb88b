package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// finding is one thing that the database is asked.
type finding struct {
	what  string
	query string
	want  int64
}

// findings is what must be in the database after the devices' lives.
func findings(o options, t *tally) []finding {
	return []finding{
		{"messages stored", `SELECT count(*) FROM mqtt_events`, t.messages.Load()},
		{"… different ones, by device and number", `SELECT count(*) FROM (SELECT DISTINCT client, payload ->> 'n' FROM mqtt_events)`, t.messages.Load()},
		{"… devices of which one is missing", `SELECT count(*) FROM (SELECT client FROM mqtt_events GROUP BY client HAVING count(*) <> ` + fmt.Sprint(o.messages) + `)`, 0},
		{"… devices that stored them out of order", `SELECT count(DISTINCT client) FROM (
			SELECT client, CAST(payload ->> 'n' AS integer) AS n, lag(CAST(payload ->> 'n' AS integer)) OVER (PARTITION BY client ORDER BY seq) AS before FROM mqtt_events
		) WHERE n <> coalesce(before, -1) + 1`, 0},
		{"… under another one's topic", `SELECT count(*) FROM mqtt_events WHERE topic <> 'fleet/' || client || '/data'`, 0},
		{"sessions in the history", `SELECT count(*) FROM mqtt_sessions`, t.sessions.Load()},
		{"… devices without their two", `SELECT count(*) FROM (SELECT client FROM mqtt_sessions GROUP BY client HAVING count(*) <> 2)`, 0},
		{"… that have not ended", `SELECT count(*) FROM mqtt_online`, 0},
		// Who is replaced is told to be gone a moment after the one who takes over has come.
		{"… that overlap with the one before, takeovers apart", `SELECT count(*) FROM mqtt_sessions a JOIN mqtt_sessions b ON a.client = b.client AND a.id < b.id
			WHERE a.reason NOT IN ('discarded', 'takenover') AND max(a.connected_at, b.connected_at) < min(a.disconnected_at, b.disconnected_at)`, 0},
		{"… that ended before they began", `SELECT count(*) FROM mqtt_sessions WHERE disconnected_at < connected_at`, 0},
	}
}

// check waits until all that was acknowledged is in the database, and says what is not.
func check(ctx context.Context, o options, t *tally, stdout io.Writer) (err error) {
	db, err := sql.Open("sqlite", "file:"+fleetFile(o)+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := settled(ctx, db, t); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%d devices published %d messages in %s; %d wrong passwords and %d trespasses were refused; %d plugins were killed meanwhile.\n\n",
		o.devices, t.messages.Load(), t.took.Round(100*time.Millisecond), t.wrongPasswords.Load(), t.trespasses.Load(), t.killed)
	return ask(ctx, db, o, t, stdout)
}

// ask asks the database all questions.
func ask(ctx context.Context, db *sql.DB, o options, t *tally, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	wrong := 0
	for _, f := range findings(o, t) {
		var got int64
		if err := db.QueryRowContext(ctx, f.query).Scan(&got); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
		verdict := "ok"
		if got != f.want {
			verdict = fmt.Sprintf("WRONG, not %d", f.want)
			wrong++
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", f.what, got, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d things are not as they should be", wrong)
	}
	fmt.Fprintln(stdout, "\nEvery message is there exactly once, in order, and every session's history is right.")
	return nil
}

// settled waits for what is on its way: as long as there is more, or until all is there.
func settled(ctx context.Context, db *sql.DB, t *tally) error {
	var last int64
	for since := time.Now(); time.Since(since) < patience; {
		var messages, sessions, online int64
		err := db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM mqtt_events), (SELECT count(*) FROM mqtt_sessions), (SELECT count(*) FROM mqtt_online)`).Scan(&messages, &sessions, &online)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && messages >= t.messages.Load() && sessions >= t.sessions.Load() && online == 0 {
			return nil
		}
		if sum := messages + sessions - online; sum != last {
			since, last = time.Now(), sum
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil // the findings tell what is missing
}
