package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

// A plugin started by hand says what it is.
func TestByHand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{nil, 2, []string{"plugin of hookmux", "client.authenticate\n", "message.publish  (topics a/#)", "providers:", "--standalone 127.0.0.1:9000", "http://127.0.0.1:9000"}},
		{[]string{"--help"}, 0, []string{"plugin of hookmux"}},
		{[]string{"--standalon", ":0"}, 2, []string{`unknown flag --standalon (did you mean "standalone"?)`, "plugin of hookmux"}},
		{[]string{"--standalone", "9000"}, 2, []string{`expected host:port, such as 127.0.0.1:9000, or :9000 for every interface; found "9000"`}},
		{[]string{"--standalone"}, 2, []string{"flag --standalone needs a value"}},
		{[]string{"--standalone="}, 2, []string{"flag --standalone needs a value"}},
		{[]string{"serve"}, 2, []string{`unexpected argument "serve"`}},
		{[]string{"--standalone", "nonsense:x"}, 1, []string{"--standalone nonsense:x: "}},
		{[]string{"--config", "no/such/file.json"}, 1, []string{"no/such/file.json"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			cmd := program("all-round", handshake.EnvConfig+`={"filters":["a/#"]}`)
			cmd.Args = append(cmd.Args, tt.args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit status %d (%v), want %d", code, err, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in:\n%s", want, stderr.String())
				}
			}
		})
	}
}

// Served to EMQX until SIGTERM, with the config from a file.
func TestStandaloneProcess(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"greeting":"from the file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := program("all-round", handshake.EnvConfig+`={"greeting":"from the environment"}`)
	cmd.Args = append(cmd.Args, "--standalone=127.0.0.1:0", "-config", file)
	stderr := newOutput()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	stderr.line(t, `greeting="from the file"`)
	_, rest, _ := strings.Cut(stderr.line(t, "serving EMQX"), "address=")
	address, _, _ := strings.Cut(rest, " ")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	calls := exhookv3.NewHookProviderClient(conn)
	got := make(chan error, 1)
	go func() {
		res, err := calls.OnClientAuthenticate(context.WithoutCancel(t.Context()), user("until stopped"))
		if err == nil && !res.GetBoolResult() {
			err = errors.New("denied")
		}
		got <- err
	}()
	stderr.line(t, "in the handler")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	stderr.line(t, "msg=stopped")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
}
