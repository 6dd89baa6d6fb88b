package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
)

// buildForBench builds hookmux as users have it, since bench starts itself
// again as hookmux, as plugin and as server; and an example plugin.
func buildForBench(t *testing.T, plugin string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir, ".", plugin)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// noneLeft fails if a process of a program in dir still runs.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	muxtest.Eventually(t, "no process is left", func() bool {
		exes, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, exe := range exes {
			if target, err := os.Readlink(exe); err == nil && strings.HasPrefix(target, dir+"/") {
				return false
			}
		}
		return true
	})
}

func runBench(t *testing.T, dir string, args ...string) (stdout string) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("bench needs Linux's /proc")
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "hookmux"), append([]string{"bench"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, &errs, 10*time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench %q: %v\n%s%s", args, err, &out, &errs)
	}
	noneLeft(t, dir)
	return out.String()
}

// A real, if short, run: bench fails by itself unless every plugin has handled
// every event once.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := buildForBench(t, "../../examples/go/minimal")
	out := runBench(t, dir, "--only", "async1_cpu,sync1_cpu,chain4_pure_p50", "--pairs", "1", "--duration", "100ms", "--callers", "4")
	for _, want := range []string{"\nratio async1_cpu ", "\nratio sync1_cpu ", "\nratio chain4_pure_p50 ", "RATIO", "must be"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	// A user's plugin, which answers client.authorize and no notification.
	out = runBench(t, dir, "--only", "async1_cpu,sync1_cpu", "--pairs", "1", "--duration", "300ms", "--callers", "4", "--plugin", "./minimal", "--json")
	var report struct {
		Ratios []struct {
			Name, Error string
			Value       float64
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(report.Ratios) != 2 || report.Ratios[0].Error == "" || report.Ratios[1].Value <= 0 {
		t.Errorf("%+v", report.Ratios)
	}
}

// What waits for forward-sql is in PostgreSQL, each message once, or bench fails; and nothing is left there.
func TestBenchPostgres(t *testing.T) {
	t.Parallel()
	url := targets.Postgres(t).URL
	dir := buildForBench(t, "../../plugins/forward-sql")
	out := runBench(t, dir, "--only", "forward_sql_throughput", "--pairs", "1", "--duration", "200ms", "--callers", "4", "--postgres", url)
	if !strings.Contains(out, "\nratio forward_sql_throughput ") {
		t.Error(out)
	}
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	var left int
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'hookmux_bench%'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d tables are left: %v", left, err)
	}
	if out := runBench(t, dir, "--only", "forward_sql_throughput"); !strings.Contains(out, "it needs a database: --postgres URL") {
		t.Error(out)
	}
}

func TestBenchRefusesUnknownNames(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"bench", "--only", "sync"}, strings.NewReader(""), &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "sync1_cpu") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}
