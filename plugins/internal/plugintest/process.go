package plugintest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// envSidecar makes a test binary a hookmux whose folder it names.
const envSidecar = "HOOKMUX_PLUGINTEST"

// process is a hookmux of its own process, with the plugin as its child, which a test
// may kill and start again. It stores what is delivered durably.
type process struct {
	t    testing.TB
	dir  string
	addr string
	mark string // in the environment of the plugin, and of nobody else
	cmd  *exec.Cmd
}

// newProcess starts hookmux with one provider that has these keys besides its command
// and its environment.
func newProcess(t testing.TB, keys string) *process {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &process{t: t, dir: dir, addr: lis.Addr().String(), mark: "plugin-below-" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)}
	_ = lis.Close()
	text := fmt.Sprintf("listen: %s\nspool: {dir: spool}\nstate: off\nproviders:\n- name: plugin\n  command: [%s]\n  env: {MARK: %s}\n%s",
		p.addr, strconv.Quote(muxtest.Command(t)[0]), p.mark, indent(keys))
	if err := os.WriteFile(filepath.Join(dir, "hookmux.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		muxtest.Eventually(t, "no plugin is left", func() bool { return len(muxtest.Processes(p.mark)) == 0 })
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("the end of hookmux's log:\n%s", log[max(0, len(log)-6000):])
		}
	})
	p.start()
	return p
}

// start starts hookmux with what it has stored, and returns when it answers.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(muxtest.Command(p.t)[0])
	p.cmd.Env = append(os.Environ(), envSidecar+"="+p.dir)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cc, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = exhookv3.NewHookProviderClient(cc).OnProviderLoaded(ctx, &exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{Version: "5.10.3"}, Meta: &exhookv3.RequestMeta{Node: "emqx@127.0.0.1"},
	}, grpc.WaitForReady(true))
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) stop(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait()
	p.cmd = nil
}

func (p *process) killPlugin() {
	for _, pid := range muxtest.Processes(p.mark) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// sidecar is hookmux in a process of its own.
func sidecar(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(filepath.Join(dir, "hookmux.yaml"))
	if err == nil {
		err = app.New(cfg, app.Options{
			Log: slog.Default(), Version: "test",
			Host: host.Options{FirstDelay: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond, QuarantineAfter: 100_000},
		}).Run(ctx)
	}
	if err != nil {
		slog.Error("hookmux", "error", err)
		os.Exit(1)
	}
}

// publishMethod is what a broker calls.
//
//nolint:gochecknoglobals // a constant
var publishMethod = mux.V3.FullMethod(mux.MessagePublish)
