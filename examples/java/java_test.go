// Package java_test starts the examples in Java under a real hookmux. Their own
// tests are beside them.
package java_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "reaper" {
		host.Reap(os.Stdin, os.Args[2], os.Args[3])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// build makes the examples' jars, unless they are newer than what they are made of.
//
//nolint:gochecknoglobals // once for all tests
var build = sync.OnceValue(func() error {
	if upToDate() {
		return nil
	}
	out, err := exec.Command("mvn", "-q", "-B", "-ntp", "-DskipTests", "package").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mvn package: %w\n%s", err, out)
	}
	return nil
})

func upToDate() bool {
	var oldest time.Time
	for _, jar := range []string{"every-hook/target/every-hook.jar", "login-jdbc/target/login-jdbc.jar"} {
		info, err := os.Stat(jar)
		if err != nil {
			return false
		}
		if t := info.ModTime(); oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	fresh := true
	for _, dir := range []string{".", "../../plugins/sdk/java", "../../proto"} {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "target":
				return fs.SkipDir
			case d.IsDir() || strings.HasSuffix(d.Name(), ".go"):
				return nil
			}
			info, err := d.Info()
			fresh = fresh && err == nil && info.ModTime().Before(oldest)
			return err
		})
		fresh = fresh && err == nil
	}
	return fresh
}

func requireExamples(t *testing.T) {
	t.Helper()
	lanes.Require(t, "java")
	if err := build(); err != nil {
		t.Fatal(err)
	}
}

// start runs hookmux with an example's own config, and gives a broker that calls it
// and what hookmux logs.
func start(t *testing.T, name string) (*muxtest.Broker, *logBuffer) {
	t.Helper()
	requireExamples(t)
	cfg, err := config.Load(filepath.Join(name, "hookmux.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	cfg.Providers[0].StartTimeout = time.Minute // a machine may be busy with other tests
	log := new(logBuffer)
	a := app.New(cfg, app.Options{
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Version: "test",
		Reaper:  []string{exe, "reaper"},
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Stop()
		if t.Failed() {
			t.Logf("log of hookmux:\n%s", log)
		}
	})
	<-a.Ready()
	return muxtest.NewBroker(t, a.Addr(), mux.V3), log
}

// The whole suite, with Java's own time; of the example that hashes passwords, which
// is slow by intention, only what depends on it.
func TestConformance(t *testing.T) {
	requireExamples(t)
	program := lanes.Require(t, "java").Program
	for _, tt := range []struct {
		example, config string
		only            []string
	}{
		{"every-hook", "{}", nil},
		{
			"login-jdbc", `{"url": "jdbc:h2:mem:users;DB_CLOSE_DELAY=-1;INIT=RUNSCRIPT FROM 'users.sql'"}`,
			[]string{"start", "declared hooks", "every hook", "garbage", "deadline", "Shutdown", "by hand"},
		},
	} {
		t.Run(tt.example, func(t *testing.T) {
			r, err := conformance.Run(t.Context(), conformance.Options{
				Command: []string{program, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", "target/" + tt.example + ".jar"},
				Dir:     tt.example, Config: []byte(tt.config), Only: tt.only, Patience: time.Minute,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Checks {
				t.Logf("%-6s %-10s %-22s %s", c.Outcome, c.Section, c.Name, c.Text)
				if c.Outcome == conformance.Failed {
					t.Errorf("%s: %s: %s", c.Section, c.Name, c.Text)
				}
			}
		})
	}
}

func TestEveryHook(t *testing.T) {
	b, log := start(t, "every-hook")
	if hooks := b.Load(t, "6.3.0"); len(hooks) != 20 {
		t.Errorf("it hooks %v", hooks)
	}
	b.Event(t, mux.ClientConnected, "car", &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "car"}})
	log.until(t, `msg="client.connected car"`)
	if typ, allowed := b.Authenticate(t, "car"); !allowed {
		t.Errorf("a plugin that only prints answered %s, %v", typ, allowed)
	}
	log.until(t, `msg="client.authenticate car`)
	if m, ok := b.Publish(t, "car", "a/b", "hello"); !ok || string(m.GetPayload()) != "hello" {
		t.Errorf("the message became %v, %v", m, ok)
	}
	log.until(t, `msg="message.publish car a/b hello"`)
}

func TestLoginJDBC(t *testing.T) {
	b, log := start(t, "login-jdbc")
	if hooks := b.Load(t, "5.10.3"); len(hooks) != 1 {
		t.Errorf("it hooks %v", hooks)
	}
	for _, tt := range []struct {
		user, password string
		allowed        bool
	}{
		{"alice", "wonderland", true},
		{"alice", "wonderlanD", false},
		{"mallory", "wonderland", false},
		{"", "", false},
	} {
		answer := b.Event(t, mux.ClientAuthenticate, "car", &exhookv3.ClientAuthenticateRequest{
			Clientinfo: &exhookv3.ClientInfo{Clientid: "car", Username: tt.user, Password: tt.password},
		})
		var res exhookv3.ValuedResponse
		if err := proto.Unmarshal(answer, &res); err != nil || res.GetBoolResult() != tt.allowed {
			t.Errorf("%s with %q: %v %v", tt.user, tt.password, &res, err)
		}
	}
	log.until(t, `msg="login denied" provider=login-jdbc address="" client=car logger=example.LoginJdbc user=alice why="wrong password"`)
	if strings.Contains(log.String(), "wonderlan") {
		t.Error("a password is in the log")
	}
}

// logBuffer is a log that many may write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) until(t *testing.T, text string) {
	t.Helper()
	muxtest.Eventually(t, fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(l.String(), text) })
}
