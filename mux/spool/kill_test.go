package spool_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// killRounds is how often each test kills: a few times, or HOOKMUX_KILL_ROUNDS.
func killRounds(t *testing.T) int {
	if s := os.Getenv("HOOKMUX_KILL_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 3
}

// scene is a hookmux with a plugin to which messages are delivered durably, under load.
type scene struct {
	t    *testing.T
	dir  string
	addr string
	nats *targets.NATSServer // nil: the store is hookmux's own
	log  *os.File

	hookmux *exec.Cmd
	killed  int   // the plugin's process that was killed last
	written int64 // what the plugin had written then
	load    sync.WaitGroup
	stop    chan struct{}
	once    sync.Once
	size    int // of a payload, more or less

	mu       sync.Mutex
	answered map[string][]int // by client: the messages that the broker may take for stored
	refused  atomic.Int64
	broken   atomic.Int64 // calls without an answer
}

const (
	killClients  = 24
	killPatience = 60 * time.Second
)

func newScene(t *testing.T, store string, nats *targets.NATSServer) *scene {
	s := &scene{t: t, dir: t.TempDir(), nats: nats, stop: make(chan struct{}), answered: make(map[string][]int), size: 100}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	_ = l.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
listen: %s
admin: off
state: off
spool: {tries: 100000, %s}
providers:
  - name: writer
    command: [%s]
    env: {%s: plugin, SPOOL_FILE: %s}
    hooks: [message.publish]
    observe: true
    delivery: durable
`, s.addr, store, exe, roleEnv, s.path("events"))
	if err := os.WriteFile(s.path("hookmux.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.log, err = os.Create(s.path("log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.end()
		s.killHookmux()
		_ = s.log.Close()
		if t.Failed() {
			data, _ := os.ReadFile(s.path("log"))
			t.Logf("the end of hookmux's log:\n%s", data[max(0, len(data)-8000):])
		}
	})
	s.startHookmux()
	return s
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) startHookmux() {
	exe, _ := os.Executable()
	s.hookmux = exec.Command(exe)
	s.hookmux.Env = []string{roleEnv + "=hookmux", "SPOOL_CONFIG=" + s.path("hookmux.yaml"), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.dir}
	s.hookmux.Stdout, s.hookmux.Stderr = s.log, s.log
	if err := s.hookmux.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) killHookmux() {
	_ = s.hookmux.Process.Kill()
	_ = s.hookmux.Wait()
}

// killPlugin kills the plugin, once it handles messages again.
func (s *scene) killPlugin() {
	s.t.Helper()
	s.until("the plugin is up", func() bool {
		pid, err := os.ReadFile(s.path("pid"))
		if err != nil {
			return false
		}
		n, err := strconv.Atoi(string(pid))
		if err != nil {
			s.t.Fatal(err)
		}
		// It may be gone, and its number be somebody else's by now.
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", n))
		if err != nil || !bytes.Contains(env, []byte("SPOOL_FILE="+s.path("events"))) || n == s.killed {
			return false
		}
		// It is at work again.
		events, err := os.Stat(s.path("events"))
		if err != nil || events.Size() == s.written {
			return false
		}
		s.killed, s.written = n, events.Size()
		return syscall.Kill(n, syscall.SIGKILL) == nil
	})
}

// begin has each client publish one message after another.
func (s *scene) begin() {
	b := muxtest.NewBroker(s.t, s.addr, mux.V3)
	for c := range killClients {
		s.load.Go(func() {
			client := fmt.Sprintf("client-%d", c)
			for n := 1; ; n++ {
				select {
				case <-s.stop:
					return
				default:
				}
				if !s.publish(b, client, n) {
					time.Sleep(5 * time.Millisecond) // nobody is there
				}
			}
		})
	}
}

func (s *scene) publish(b *muxtest.Broker, client string, n int) bool {
	payload := fmt.Appendf(nil, "%s %d %s", client, n, strings.Repeat("x", rand.IntN(2*s.size)))
	msg := &exhookv3.Message{Id: "1", From: client, Topic: "t", Payload: payload, Qos: 1}
	req, err := proto.Marshal(&exhookv3.MessagePublishRequest{Message: msg})
	if err != nil {
		s.t.Error(err)
		return false
	}
	resp, err := b.Call(mux.V3.FullMethod(mux.MessagePublish), client, req)
	if err != nil {
		s.broken.Add(1)
		return false
	}
	var answer exhookv3.ValuedResponse
	if err := proto.Unmarshal(resp, &answer); err != nil {
		s.t.Error(err)
		return false
	}
	if answer.GetMessage().GetHeaders()["allow_publish"] == "false" {
		s.refused.Add(1)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered[client] = append(s.answered[client], n)
	return true
}

func (s *scene) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.answered {
		n += len(a)
	}
	return n
}

// until waits for a condition.
func (s *scene) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(killPatience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: it never came to that; %d answered, %d refused, %d calls broken", what, s.count(), s.refused.Load(), s.broken.Load())
		}
	}
}

// progress waits until more messages have been answered.
func (s *scene) progress() {
	s.t.Helper()
	before := s.count()
	s.until("messages are stored", func() bool { return s.count() > before+killClients })
}

// end ends the load.
func (s *scene) end() {
	s.once.Do(func() { close(s.stop) })
	s.load.Wait()
}

// check ends the load and holds what the plugin wrote against what was answered. It says
// how often the plugin was up.
func (s *scene) check() (starts int) {
	t := s.t
	t.Helper()
	s.end()
	var missing string
	var lines, duplicates int
	defer func() {
		if missing != "" {
			t.Logf("not delivered: %s", missing)
		}
	}()
	s.until("every answered message is delivered", func() bool {
		missing = ""
		data, err := os.ReadFile(s.path("events"))
		if err != nil {
			t.Fatal(err)
		}
		ids := make(map[string]string)  // id → event
		seen := make(map[string]string) // event → id
		first := make(map[string][]int) // by client, in the order of their first delivery
		lines, duplicates = 0, 0
		for line := range bytes.Lines(data) {
			f := strings.Fields(string(line))
			if len(f) < 4 || f[len(f)-1] != "end" || line[len(line)-1] != '\n' {
				continue // the plugin was killed while it wrote
			}
			lines++
			event := f[1] + " " + f[2]
			if id, again := seen[event]; again {
				duplicates++
				if id != f[0] {
					t.Fatalf("%s came as %s and as %s", event, id, f[0])
				}
				continue
			}
			if other, taken := ids[f[0]]; taken {
				t.Fatalf("%s and %s have the same id %s", event, other, f[0])
			}
			n, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatal(err)
			}
			seen[event], ids[f[0]] = f[0], event
			first[f[1]] = append(first[f[1]], n)
		}
		for client, numbers := range first {
			for i := 1; i < len(numbers); i++ {
				if numbers[i] < numbers[i-1] {
					t.Fatalf("%s: message %d came after %d", client, numbers[i], numbers[i-1])
				}
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for client, numbers := range s.answered {
			for _, n := range numbers {
				if seen[fmt.Sprintf("%s %d", client, n)] == "" {
					missing = fmt.Sprintf("%s %d", client, n)
					return false
				}
			}
		}
		return true
	})
	said, err := os.ReadFile(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	starts = bytes.Count(said, []byte("plugin is up"))
	t.Logf("the plugin was up %d times; %d messages answered, %d refused, %d calls broken; %d deliveries, %d of them repeated", starts, s.count(), s.refused.Load(), s.broken.Load(), lines, duplicates)
	return starts
}

// Every message that was answered is delivered, in order per client, whoever is killed.
func TestKill(t *testing.T) {
	own := func(dir string) string { return "dir: " + dir }
	for _, tt := range []struct {
		name string
		nats bool
		kill func(s *scene)
	}{
		{"plugin", false, (*scene).killPlugin},
		{"hookmux", false, func(s *scene) { s.killHookmux(); s.startHookmux() }},
		{"both", false, func(s *scene) { s.killPlugin(); s.killHookmux(); s.startHookmux() }},
		{"NATS", true, func(s *scene) { s.nats.Kill(s.t); s.nats.Start(s.t) }},
		{"hookmux with NATS", true, func(s *scene) { s.killHookmux(); s.startHookmux() }},
		{"all", true, func(s *scene) {
			s.killPlugin()
			s.nats.Kill(s.t)
			s.killHookmux()
			s.startHookmux()
			s.nats.Start(s.t)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var nats *targets.NATSServer
			store := own(filepath.Join(t.TempDir(), "spool"))
			if tt.nats {
				nats = targets.NewNATS(t)
				store = "url: " + nats.URL + ", name: kill"
			}
			s := newScene(t, store, nats)
			s.begin()
			for range killRounds(t) {
				s.progress()
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // in the middle of something
				tt.kill(s)
			}
			s.progress()
			if starts := s.check(); starts < 2 && tt.name != "NATS" {
				t.Error("nobody was killed")
			}
		})
	}
}

// A disk that is full refuses messages; none that was answered is lost, and when there is
// room again, messages are stored again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	for range killRounds(t) {
		t.Run("round", func(t *testing.T) {
			s := newScene(t, "dir: "+filepath.Join(dir, "spool"), nil)
			s.size = 4000
			s.begin()
			s.progress()
			// Somebody else fills the disk, to the last byte, and the store meets that.
			junk := filepath.Join(dir, "junk")
			fill := func() {
				f, err := os.Create(junk)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for _, chunk := range []int{1 << 20, 4096, 1} {
					for {
						if _, err := f.Write(make([]byte, chunk)); err != nil {
							break
						}
					}
				}
			}
			fill()
			before := s.refused.Load()
			s.until("messages are refused", func() bool { return s.refused.Load() > before+killClients })
			s.killPlugin()
			if err := os.Remove(junk); err != nil {
				t.Fatal(err)
			}
			s.progress()
			fill()
			s.killHookmux() // with a disk that is full
			if err := os.Remove(junk); err != nil {
				t.Fatal(err)
			}
			s.startHookmux()
			s.progress()
			s.check()
		})
	}
}
