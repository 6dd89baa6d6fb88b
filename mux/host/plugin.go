package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/handshake"
)

// PluginSpec is how a plugin's process is started.
type PluginSpec struct {
	// Command is the executable and its arguments. A name without a slash is
	// looked up in PATH.
	Command []string
	// Dir is the working directory; "" is hookmux's.
	Dir string
	// Process is what the process may be and use.
	Process ProcessSpec
	// Env is the plugin's whole environment, beside what hookmux sets.
	Env map[string]string
	// Config is handed to the plugin as it is; it must be a JSON object, or
	// empty for none.
	Config []byte
	// ConfigAt is where people find Config, such as hookmux.yaml:12; "" if nowhere.
	ConfigAt string
	// StartTimeout bounds a start, up to the answer to OnProviderLoaded.
	// Default 10 s.
	StartTimeout time.Duration
}

// DefaultStartTimeout is how long a plugin may take to start.
const DefaultStartTimeout = 10 * time.Second

// child is one running process of a plugin, from the handshake on.
type child struct {
	proc   *process
	client *plugin.Client
	cc     *grpc.ClientConn
	conn   mux.Conn
	broken <-chan struct{} // closed when conn is of no use any more; nil if only the exit tells

	declared []mux.HookSpec
	link     *mux.Link
	log      *slog.Logger
}

// dialOptions are fixed windows, so that grpc-go does not measure the bandwidth
// of a unix socket with pings, and buffers that take a whole batch.
var dialOptions = []grpc.DialOption{
	grpc.WithInitialWindowSize(1 << 20), grpc.WithInitialConnWindowSize(4 << 20),
	grpc.WithReadBufferSize(64 << 10), grpc.WithWriteBufferSize(64 << 10),
}

// startChild starts a process and shakes hands. On an error nothing of it is left.
func startChild(ctx context.Context, p *mux.Provider, spec PluginSpec, id, tmp string, log *slog.Logger) (*child, error) {
	cmd := exec.Command(spec.Command[0], spec.Command[1:]...)
	cmd.Dir = spec.Dir
	limits, err := confine(p.Name(), cmd, spec.Process)
	if err != nil {
		return nil, err
	}
	proc := newProcess(cmd, id, limits, &output{log: log})
	var socketDir string
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  handshake.Unary,
			MagicCookieKey:   handshake.CookieKey,
			MagicCookieValue: handshake.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{
			handshake.Unary:  {handshake.PluginName: grpcPlugin{}},
			handshake.Stream: {handshake.PluginName: grpcPlugin{}},
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(), // we log ourselves
		StartTimeout:     spec.StartTimeout,
		SkipHostEnv:      true,
		SyncStdout:       proc.syncOut, // what a Go plugin prints after its handshake
		SyncStderr:       proc.syncErr, // comes over gRPC
		GRPCDialOptions:  dialOptions,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: tmp},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			socketDir = dir
			proc.cmd.Env = environment(p.Name(), spec, id, cmd.Env)
			if limits.who != nil {
				return proc, limits.who.own(dir)
			}
			return proc, nil
		},
	})
	c := &child{client: client, proc: proc, log: log}
	err = within(ctx, spec.StartTimeout, func() error {
		if _, err := client.Start(); err != nil {
			return err
		}
		protocol, err := client.Client()
		if err != nil {
			return err
		}
		raw, err := protocol.Dispense(handshake.PluginName)
		if err != nil {
			return err
		}
		c.cc = raw.(*grpc.ClientConn)
		if client.NegotiatedVersion() != handshake.Stream {
			c.conn = &conn{cc: c.cc, api: mux.V3, gone: proc.exited}
			return nil
		}
		// For the life of the process, which ends the streams.
		streams, err := openStreams(context.Background(), c.cc, &p.Stats().Late)
		if err != nil {
			return err
		}
		c.conn, c.broken = streams, streams.broken
		return nil
	}, func() { _ = proc.Kill(ctx) })
	for _, problem := range limits.problems {
		log.Warn("the host does not allow what the config says", "problem", problem)
	}
	if err != nil {
		_ = proc.Kill(ctx)
		if !proc.ran() {
			limits.group.remove()
		}
		err = explainStart(err, proc, p.Name(), spec)
		client.Kill()
		_ = os.RemoveAll(socketDir) // go-plugin forgets it when the command cannot be run
		return nil, err
	}
	return c, nil
}

// within runs f and, when ctx or the time runs out first, calls abort, which
// must make f return.
func within(ctx context.Context, limit time.Duration, f func() error, abort func()) error {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Second) // go-plugin's own limit first
	defer cancel()
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f()
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		abort()
		<-done
		return ctx.Err()
	}
}

// environment is all that a plugin gets to see.
func environment(name string, spec PluginSpec, id string, goPlugin []string) []string {
	env := make([]string, 0, len(spec.Env)+len(goPlugin)+3)
	for k, v := range spec.Env {
		env = append(env, k+"="+v)
	}
	config := string(spec.Config)
	if config == "" {
		config = "{}"
	}
	return append(append(env, goPlugin...),
		handshake.EnvName+"="+name, handshake.EnvConfig+"="+config, handshake.EnvID+"="+id)
}

// explainStart says in a plugin author's words why a start failed; the process
// has been killed if it still ran.
func explainStart(err error, proc *process, name string, spec PluginSpec) error {
	if !proc.ran() {
		return err // err says why
	}
	<-proc.exited
	text := err.Error()
	said := proc.lastWords(rememberLines)
	isPlugin := strings.Contains(said, "\n  | "+name+": ") // as an SDK says why it does not start
	switch {
	case strings.Contains(text, "incompatible API version"):
		text = "it speaks another app protocol than hookmux: " + strings.ReplaceAll(text, "\n", " ")
	case strings.Contains(text, "timeout while waiting"), errors.Is(err, context.DeadlineExceeded):
		text = fmt.Sprintf("%s printed no handshake line within %s (start_timeout)", proc.cmd.Path, spec.StartTimeout)
		if !isPlugin {
			text += "; is it a hookmux plugin?"
		}
	case errors.Is(err, context.Canceled):
		text = "hookmux is stopping"
	case strings.Contains(text, "Failed to read any lines"), strings.Contains(text, "exited before we could connect"):
		text = fmt.Sprintf("%s %s", proc.cmd.Path, proc.how())
		if !isPlugin {
			text += " before its handshake line; is it a hookmux plugin?"
		}
	}
	if spec.ConfigAt != "" && strings.Contains(said, "config") {
		text += " (its config: " + spec.ConfigAt + ")"
	}
	return errors.New(text + said)
}

// healthy asks the plugin's health service, with a deadline of our own:
// go-plugin's Ping has none.
func (c *child) healthy(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := healthpb.NewHealthClient(c.cc).Check(ctx, &healthpb.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Code(err) == codes.Unimplemented, status.Code(err) == codes.NotFound:
		return nil // it answered, if only that it has no health service
	case err != nil:
		return err
	case resp.Status == healthpb.HealthCheckResponse_NOT_SERVING:
		return errors.New("it says that it is not serving")
	}
	return nil
}

// stop ends the plugin politely, then less so: OnProviderUnloaded, Shutdown,
// SIGTERM, SIGKILL to its process group, each with step of time.
func (c *child) stop(version string, step time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), step)
	unload(ctx, c.conn, version)
	cancel()

	ctx, cancel = context.WithTimeout(context.Background(), step)
	err := c.cc.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	cancel()
	// A plugin that shuts down at once may not get its answer out.
	if status.Code(err) == codes.Unimplemented || !c.exitsWithin(step) {
		c.proc.signal(syscall.SIGTERM)
		if !c.exitsWithin(step) {
			c.log.Warn("plugin did not stop, killed", "pid", c.proc.pid())
		}
	}
	c.kill()
}

func (c *child) exitsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.proc.exited:
		return true
	case <-t.C:
		return false
	}
}

// kill ends the process and frees all that go-plugin holds for it.
func (c *child) kill() {
	_ = c.proc.Kill(context.Background())
	c.client.Kill()
	_ = c.cc.Close()
}

// grpcPlugin hands go-plugin's connection through.
type grpcPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (grpcPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("hookmux is no plugin")
}

func (grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return cc, nil
}
