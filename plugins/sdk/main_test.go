package sdk_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

// envRole makes the test binary one of the programs in roles_test.go.
const envRole = "SDK_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		roles[role]()
		panic("a plugin's main function has returned")
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what takes milliseconds.
const patience = 30 * time.Second

// program is the test binary in a role, with nothing in its environment but
// what it needs.
func program(role string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{
		envRole + "=" + role, "TMPDIR=" + os.TempDir(),
		"GORACE=atexit_sleep_ms=0", // the race detector makes every exit last a second
	}, env...)
	return cmd
}

// output collects what a process writes; a test can wait for a text in it.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// line waits for a line with the text in it.
func (o *output) line(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		o.mu.Lock()
		all, changed := o.buf.String(), o.changed
		o.mu.Unlock()
		if i := strings.LastIndexByte(all, '\n'); i >= 0 {
			for l := range strings.Lines(all[:i+1]) {
				if strings.Contains(l, text) {
					return strings.TrimSuffix(l, "\n")
				}
			}
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %q in:\n%s", text, all)
		}
	}
}

// host is what hookmux is to a plugin.
type host struct {
	*plugin.Client

	cmd     *exec.Cmd
	stderr  *output
	conn    grpc.ClientConnInterface
	calls   exhookv3.HookProviderClient
	streams *streamsClient // on app protocol 2; conn then calls over them
}

// clientSide is the host's half of go-plugin's interface.
type clientSide struct{ plugin.NetRPCUnsupportedPlugin }

func (clientSide) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (clientSide) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// launch prepares a host without starting the plugin.
// It speaks the app protocol and those below.
func launch(protocol int, role string, env ...string) (*plugin.Client, *exec.Cmd, *output) {
	cmd, stderr := program(role, env...), newOutput()
	versions := map[int]plugin.PluginSet{
		99: {handshake.PluginName: clientSide{}}, // a version from the future
	}
	for v := handshake.Unary; v <= protocol; v++ {
		versions[v] = plugin.PluginSet{handshake.PluginName: clientSide{}}
	}
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		VersionedPlugins: versions,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              cmd,
		SkipHostEnv:      true,
		AutoMTLS:         true,
		StartTimeout:     patience,
		Stderr:           stderr,
		Logger:           hclog.NewNullLogger(),
	}), cmd, stderr
}

// startHost starts a plugin as hookmux does, over go-plugin with mTLS.
func startHost(t *testing.T, version int, role string, env ...string) *host {
	t.Helper()
	client, cmd, stderr := launch(version, role, env...)
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatalf("start: %v\nstderr:\n%s", err, stderr)
	}
	if v := client.NegotiatedVersion(); v != version {
		t.Fatalf("app protocol %d, want %d", v, version)
	}
	raw, err := protocol.Dispense(handshake.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	conn := raw.(*grpc.ClientConn)
	h := &host{Client: client, cmd: cmd, stderr: stderr, conn: conn}
	if version == handshake.Stream {
		h.streams = openStreams(t, conn)
		h.conn = h.streams
	}
	h.calls = exhookv3.NewHookProviderClient(h.conn)
	return h
}

// onBoth runs a test on both app protocols.
func onBoth(t *testing.T, test func(t *testing.T, protocol int)) {
	t.Parallel()
	for name, protocol := range map[string]int{"unary": handshake.Unary, "stream": handshake.Stream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

// end stops the plugin and checks that it went by itself, with status 0; under
// the race detector any other would also be a race.
func (h *host) end(t *testing.T) {
	t.Helper()
	h.Kill()
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d, want 0\nstderr:\n%s", code, h.stderr)
	}
}
