package app_test

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

// One provider of four misbehaves. Whatever it does, the others get every
// event, in order per client; the broker gets every answer, in time; the
// decisions are what its policy says; and no process is left.
func TestOneProviderMisbehaves(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol int) {
		kill := func(sig syscall.Signal) func(*testing.T, *sidecar) {
			return func(t *testing.T, s *sidecar) {
				if pid := s.provider(t, "bad").Pid; pid != 0 {
					_ = syscall.Kill(pid, sig)
				}
			}
		}
		for _, c := range []struct {
			does    string
			disturb func(*testing.T, *sidecar) // once per round, during the load
			rounds  int
			clients int
			// denied is what becomes of a login, which the bad one denies by policy;
			// nil when it depends on the moment.
			denied *bool
			logged []string
		}{
			{does: muxtest.ExitAtStart, denied: yes, logged: []string{"exited with status 3", "cannot reach the database", "policy=deny"}},
			{does: muxtest.ExitMidCall, denied: yes, logged: []string{"exited with status 4", "plugin is down"}},
			{does: muxtest.Panic, denied: yes, logged: []string{"exited with status 2", "panic: handler of client.authenticate"}},
			{does: muxtest.Garbage, denied: yes, logged: []string{"reason=invalid", "no protobuf message"}},
			{does: muxtest.Slow, clients: 4, denied: yes, logged: []string{"reason=timeout", "breaker open"}},
			{does: muxtest.Flood, logged: []string{"more bytes)", "prints too much"}},
			{does: muxtest.Grandchildren, disturb: kill(syscall.SIGKILL), rounds: 3, logged: []string{"was killed by SIGKILL"}},
			{does: muxtest.Leak, denied: no},
			{does: "be killed 50 times", disturb: kill(syscall.SIGKILL), rounds: 50, logged: []string{"was killed by SIGKILL"}},
			{does: "be stopped", disturb: kill(syscall.SIGSTOP), rounds: 1, logged: []string{"it hung", "process group was killed"}},
			{does: muxtest.CloseSockets, logged: []string{"plugin is down", "its process group was killed"}},
			{does: muxtest.Deaf, denied: no, logged: []string{"did not stop, killed"}},
		} {
			t.Run(c.does, func(t *testing.T) {
				t.Parallel()
				recs := map[string]string{}
				var cfg config.Config
				for _, name := range []string{"first", "bad", "third", "fourth"} {
					recs[name] = record(t, name)
					b := muxtest.Behaviour{Protocol: protocol, Record: recs[name], Answer: "allow"}
					if name == "bad" {
						b.Do, b.Answer = c.does, ""
					}
					p := plugin(t, name, b)
					p.Timeout = patience // a good one that wants for a CPU must not be taken for a bad one
					if name == "bad" {
						p.Timeout = mux.DefaultTimeout
						if c.does == muxtest.Slow {
							p.Timeout = 300 * time.Millisecond
						}
						p.OnFailure[mux.MessagePublish] = mux.Always(mux.Ignore) // logins: deny
					}
					cfg.Providers = append(cfg.Providers, p)
				}
				cfg.Timeout = patience
				s := start(t, cfg, func(o *app.Options) {
					o.Host.HealthTimeout = 2 * time.Second
					if c.does == muxtest.Slow {
						o.DrainTimeout = time.Millisecond
					}
				})
				broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
				broker.Timeout = 2 * patience

				clients, events := 16, 40
				if c.clients != 0 {
					clients, events = c.clients, 10
				}
				stop, disturbed := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(disturbed)
					defer close(stop) // also when Eventually gives up
					for range c.rounds {
						muxtest.Eventually(t, "the bad one is up", func() bool { return s.provider(t, "bad").Pid != 0 })
						before := s.provider(t, "bad").Restarts
						c.disturb(t, s)
						muxtest.Eventually(t, "it is noticed", func() bool { return s.provider(t, "bad").Restarts > before })
					}
				}()
				sent := load(t, broker, clients, events, stop, c.denied)
				<-disturbed
				for _, l := range c.logged {
					if l != "did not stop, killed" {
						s.until(t, l)
					}
				}

				for name := range recs {
					if name != "bad" { // and not by Stop, which leaves the slow one but a moment
						muxtest.Eventually(t, name+" has got all", func() bool { return accounted(s.provider(t, name)) })
					}
				}
				s.stop()
				for _, l := range c.logged {
					s.until(t, l)
				}
				for name, path := range recs {
					p := s.provider(t, name)
					if !accounted(p) {
						t.Errorf("%s: delivered %d + dropped %d, but %d were sent", name, p.Stats.Delivered.Load(), p.Stats.DroppedTotal(), p.Stats.Sent.Load())
					}
					// At most what was under way is lost with a process.
					if lost := p.Stats.Dropped[mux.ReasonDown].Load(); c.rounds > 1 && lost > int64(underWay[protocol]*c.rounds) {
						t.Errorf("%s: lost %d events in %d crashes", name, lost, c.rounds)
					}
					if _, err := os.Stat(path); err != nil && name == "bad" {
						continue // it never got so far
					}
					checkOrder(t, name, muxtest.ReadRecord(t, path), sent, name != "bad")
				}
			})
		}
	})
}

// accounted says whether every notification meant for the provider is delivered
// or dropped.
func accounted(p app.ProviderState) bool {
	return p.Stats.Delivered.Load()+p.Stats.DroppedTotal() == p.Stats.Sent.Load()
}

// underWay is how many notifications may be on their way to one plugin.
var underWay = map[int]int{handshake.Unary: 16, handshake.Stream: 512}

var (
	vTrue, vFalse = true, false
	yes, no       = &vTrue, &vFalse
)

// load sends, for each client, logins, messages and numbered notifications;
// at least events of them, and until stop is closed. It gives the number of
// notifications by client.
func load(t *testing.T, broker *muxtest.Broker, clients, events int, stop <-chan struct{}, denied *bool) map[string]int {
	t.Helper()
	sent := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			client := fmt.Sprintf("client-%d", i)
			n := 0
			for {
				start := time.Now()
				_, allowed := broker.Authenticate(t, client)
				if denied != nil && allowed == *denied {
					t.Errorf("%s: login allowed: %v", client, allowed)
				}
				if _, ok := broker.Publish(t, client, "a/b", "x"); !ok {
					t.Errorf("%s: publish refused, though the policy is ignore", client)
				}
				broker.Delivered(t, client, n)
				n++
				if d := time.Since(start); d > broker.Timeout {
					t.Errorf("%s: three calls took %s", client, d)
				}
				if n >= events {
					select {
					case <-stop:
						mu.Lock()
						sent[client] = n
						mu.Unlock()
						return
					default:
					}
				}
			}
		})
	}
	all.Wait()
	return sent
}

// checkOrder holds that message.delivered of each client came in order, and
// if all, every one of them.
func checkOrder(t *testing.T, name string, calls []muxtest.Recorded, sent map[string]int, all bool) {
	t.Helper()
	next := make(map[string]int)
	for _, c := range calls {
		if c.Hook != mux.MessageDelivered {
			continue
		}
		var r exhookv3.MessageDeliveredRequest
		if err := proto.Unmarshal(c.Body, &r); err != nil {
			t.Fatal(err)
		}
		client := r.Clientinfo.Clientid
		var n int
		_, _ = fmt.Sscan(r.Message.Id, &n)
		if n < next[client] || all && n != next[client] {
			t.Fatalf("%s: got event %d of %s, expected %d", name, n, client, next[client])
		}
		next[client] = n + 1
	}
	if !all {
		return
	}
	for client, n := range sent {
		if next[client] != n {
			t.Errorf("%s: got %d events of %s, %d were sent", name, next[client], client, n)
		}
	}
}
