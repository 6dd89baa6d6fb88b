package spool_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// roleEnv says what this test binary is when it is not the tests.
const roleEnv = "SPOOL_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "plugin":
		sdk.Serve(new(writer))
	case "hookmux":
		runHookmux(os.Getenv("SPOOL_CONFIG"))
	default:
		goleak.VerifyTestMain(m)
	}
}

// runHookmux is a hookmux that does not lose its patience with a plugin that is killed
// all the time.
func runHookmux(path string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg, err := config.Load(path)
	if err == nil {
		a := app.New(cfg, app.Options{Log: log, Host: host.Options{FirstDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond, QuarantineAfter: 1 << 30}})
		err = a.Run(context.Background())
	}
	log.Error("over", "error", err)
	os.Exit(1)
}

// writer is a plugin that appends a line to a file for each message, in one write.
type writer struct {
	file *os.File
}

func (w *writer) Start(context.Context) (err error) {
	path := os.Getenv("SPOOL_FILE")
	if w.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	// The pid, as a whole or not at all.
	pid := filepath.Join(filepath.Dir(path), "pid")
	if err := os.WriteFile(pid+".new", fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	return os.Rename(pid+".new", pid)
}

func (w *writer) OnMessagePublish(ctx context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	// A write that SIGKILL has cut short is told by its end, and does not spoil the next one.
	_, err := fmt.Fprintf(w.file, "\n%s %s end\n", sdk.EventID(ctx), r.Message.Payload)
	if err != nil {
		return sdk.Answer{}, err
	}
	return sdk.Pass, nil
}
