package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/devbroker"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

// patience is for what must happen, however loaded the machine is.
const patience = time.Minute

// 50 reloads of all kinds under steady load from 32 MQTT clients: no
// notification is lost or overtaken, no decision fails or is wrong, and what
// hookmux holds at the end is what it held at the start. Not parallel: it counts what
// the process holds.
func TestReloadsUnderLoad(t *testing.T) {
	const clients, reloads = 32, 50
	w := newWorld(t)
	broker, err := devbroker.Start(t.Context(), devbroker.Config{
		Listen: "127.0.0.1:0", ExHook: w.Addr(), RequestTimeout: patience, AuthzCache: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close() // once more does no harm
	if err := broker.WaitLoaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := newMQTTLoad(t, broker.Addr(), clients)

	l.run()
	l.awaitRound()
	l.pause()
	before := w.held(t)
	l.resume()
	for range reloads {
		l.awaitMessages(20)
		w.reload(t)
	}
	if _, err := w.Apply(t.Context(), w.first); err != nil {
		t.Fatal(err)
	}
	l.awaitRound()
	l.pause()
	w.awaitHeld(t, before)
	l.resume()
	l.stop()
	_ = broker.Close()
	w.stop()

	for _, lost := range []string{"notification lost", "no answer, so its failure policy decides", "plugin is down", "breaker open", "did not stop, killed", "before it had finished"} {
		if w.log.contains(lost) {
			t.Errorf("%q is in the log", lost)
		}
	}
	checkDelivered(t, "record", w.records["record"], l.sent)
	for name, path := range w.records {
		if _, err := os.Stat(path); err == nil {
			checkDelivered(t, name, path, nil)
		}
	}
	t.Logf("%d messages, %d logins, %d refused; reloads: %v", l.messages, l.logins, l.refused, w.done)
}

// world is a hookmux that is changed at random.
type world struct {
	*sidecar
	first     *config.Config
	providers []config.Provider // those in place
	records   map[string]string
	answers   map[string]string
	rand      *rand.Rand
	made      int
	done      map[string]int
}

func newWorld(t *testing.T) *world {
	w := &world{records: map[string]string{}, answers: map[string]string{}, rand: rand.New(rand.NewPCG(1, 2)), done: map[string]int{}}
	w.providers = []config.Provider{
		// The gate allows everything to who is not bad, and marks every message.
		w.plugin(t, "gate", "rewrite"),
		w.plugin(t, "record", ""),
	}
	deny := map[mux.Hook]bool{mux.ClientAuthenticate: false, mux.ClientAuthorize: false}
	w.sidecar = start(t, config.Config{Providers: slices.Clone(w.providers), Timeout: patience, Default: deny}, func(o *app.Options) {
		o.DrainTimeout = patience
		o.Host = host.Options{HealthTimeout: patience, StopStep: patience}
	})
	w.first = w.variant(w.providers...)
	return w
}

// plugin is one that records what it gets.
func (w *world) plugin(t *testing.T, name, answer string) config.Provider {
	w.records[name], w.answers[name] = record(t, name), answer
	p := plugin(t, name, w.behaviour(name))
	p.Timeout, p.StartTimeout = patience, patience
	return p
}

// behaviour is a version of the plugin's, of either app protocol.
func (w *world) behaviour(name string) muxtest.Behaviour {
	return muxtest.Behaviour{Answer: w.answers[name], Record: w.records[name], Protocol: handshake.Unary + w.rand.IntN(2)}
}

// reload does one of the things that operators do.
func (w *world) reload(t *testing.T) {
	t.Helper()
	next := slices.Clone(w.providers)
	at := w.rand.IntN(len(next))
	upgraded := func() {
		next[at].Env = map[string]string{"VERSION": fmt.Sprint(w.rand.Uint64())}
		next[at].Config = w.behaviour(next[at].Name).Config()
	}
	kinds := []string{"add", "remove", "reorder", "timeout", "upgrade", "broken", "restart", "settings", "all at once"}
	kind := kinds[w.rand.IntN(len(kinds))]
	switch kind {
	case "add", "remove":
		if len(next) > 4 || kind == "remove" && len(next) > 2 {
			kind = "remove"
			at = 2 + w.rand.IntN(len(next)-2) // neither the gate nor the record
			at = slices.IndexFunc(next, func(p config.Provider) bool { return p.Name == w.added(next)[at-2] })
			next = slices.Delete(next, at, at+1)
		} else {
			kind = "add"
			w.made++
			next = slices.Insert(next, at, w.plugin(t, fmt.Sprintf("extra-%d", w.made), ""))
		}
	case "reorder":
		w.rand.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
	case "timeout":
		next[at].Timeout = patience + time.Duration(w.rand.IntN(1000))*time.Millisecond
	case "upgrade":
		upgraded()
	case "all at once":
		upgraded()
		next[at].Timeout = patience + time.Duration(w.rand.IntN(1000))*time.Millisecond
		w.rand.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
	}
	w.done[kind]++
	cfg := w.variant(next...)
	switch kind {
	case "broken":
		upgraded()
		cfg = w.variant(append(next, plugin(t, "broken", muxtest.Behaviour{Do: muxtest.ExitAtStart}))...)
		if _, err := w.Apply(t.Context(), cfg); err == nil {
			t.Error("a plugin that does not start was taken")
		}
		return
	case "restart":
		if err := w.Restart(t.Context(), next[at].Name); err != nil {
			t.Error(err)
		}
		return
	case "settings":
		cfg.Timeout = patience + time.Duration(w.rand.IntN(1000))*time.Millisecond
	}
	if _, err := w.Apply(t.Context(), cfg); err != nil {
		t.Errorf("%s: %v", kind, err)
		return
	}
	w.providers = next
}

func (w *world) added(of []config.Provider) (names []string) {
	for _, p := range of {
		if strings.HasPrefix(p.Name, "extra-") {
			names = append(names, p.Name)
		}
	}
	return names
}

// held is what a process holds.
type held struct {
	goroutines, files, processes int
	heap                         uint64
}

func (w *world) held(t *testing.T) held {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	log := uint64(w.log.len()) // which is the test's
	return held{runtime.NumGoroutine(), len(files), len(muxtest.Processes("MARK=" + w.mark)), m.HeapAlloc - min(3*log, m.HeapAlloc)}
}

// awaitHeld waits until no more is held than before.
func (w *world) awaitHeld(t *testing.T, before held) {
	t.Helper()
	var now held
	defer func() {
		if t.Failed() {
			t.Logf("held %+v, at the start %+v", now, before)
		}
	}()
	muxtest.Eventually(t, "no more is held than at the start", func() bool {
		now = w.held(t)
		return now.goroutines <= before.goroutines && now.files <= before.files &&
			now.processes <= before.processes && now.heap <= before.heap+8<<20
	})
}

// mqttLoad is clients that log in, publish to themselves, and look at what
// arrives.
type mqttLoad struct {
	t       *testing.T
	addr    string
	clients int

	gate sync.RWMutex // held for reading while a client does something
	end  chan struct{}
	all  sync.WaitGroup

	mu                        sync.Mutex
	sent                      map[string]int
	messages, logins, refused int
	rounds                    map[string]int
}

func newMQTTLoad(t *testing.T, addr string, clients int) *mqttLoad {
	return &mqttLoad{t: t, addr: addr, clients: clients, end: make(chan struct{}), sent: map[string]int{}, rounds: map[string]int{}}
}

func (l *mqttLoad) run() {
	for i := range l.clients {
		id := fmt.Sprintf("client-%d", i)
		l.all.Go(func() { l.publisher(id) })
	}
	l.all.Go(func() { l.intruder("bad-1") })
}

func (l *mqttLoad) pause()  { l.gate.Lock() }
func (l *mqttLoad) resume() { l.gate.Unlock() }
func (l *mqttLoad) stop()   { close(l.end); l.all.Wait() }

func (l *mqttLoad) ended() bool {
	select {
	case <-l.end:
		return true
	default:
		return l.t.Failed()
	}
}

// awaitMessages waits until n more have been received.
func (l *mqttLoad) awaitMessages(n int) {
	l.t.Helper()
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return l.messages }
	before := count()
	muxtest.Eventually(l.t, "the load goes on", func() bool { return count() >= before+n || l.t.Failed() })
}

// awaitRound waits until every client has done something more.
func (l *mqttLoad) awaitRound() {
	l.t.Helper()
	snapshot := func() map[string]int { l.mu.Lock(); defer l.mu.Unlock(); return maps.Clone(l.rounds) }
	before := snapshot()
	muxtest.Eventually(l.t, "every client has got on", func() bool {
		now := snapshot()
		n := 0
		for c := range now {
			if now[c] > before[c] {
				n++
			}
		}
		return n == l.clients || l.t.Failed()
	})
}

// pace is how long a client rests after a message: 100 messages a second together,
// which leaves the race detector time for the reloads.
const pace = 300 * time.Millisecond

// publisher publishes numbers to itself, and logs in anew now and then.
func (l *mqttLoad) publisher(id string) {
	n := 0
	defer func() { l.mu.Lock(); l.sent[id] = n; l.mu.Unlock() }()
	topic := "to/" + id
	for !l.ended() {
		ok := func() bool {
			l.gate.RLock()
			defer l.gate.RUnlock()
			c, err := l.connect(id)
			if err != nil {
				l.t.Errorf("%s was refused: %v", id, err)
				return false
			}
			defer c.leave()
			if _, err := c.Subscribe(c.ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}); err != nil {
				l.t.Errorf("%s may not subscribe: %v", id, err)
				return false
			}
			for range 10 {
				payload := fmt.Sprint(n)
				n++
				if _, err := c.Publish(c.ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(payload)}); err != nil {
					l.t.Errorf("%s may not publish: %v", id, err)
					return false
				}
				select {
				case got := <-c.in:
					time.Sleep(pace)
					l.mu.Lock()
					l.messages++
					l.mu.Unlock()
					if got != payload+"!" {
						l.t.Errorf("%s sent %s and got %s", id, payload, got)
						return false
					}
				case <-c.ctx.Done():
					l.t.Errorf("%s got nothing", id)
					return false
				}
			}
			return true
		}()
		if !ok {
			return
		}
		l.mu.Lock()
		l.rounds[id]++
		l.logins++
		l.mu.Unlock()
	}
}

// intruder is refused every time.
func (l *mqttLoad) intruder(id string) {
	for !l.ended() {
		l.gate.RLock()
		if c, err := l.connect(id); err == nil {
			l.t.Errorf("%s was let in", id)
			c.leave()
		}
		l.gate.RUnlock()
		l.mu.Lock()
		l.refused++
		l.mu.Unlock()
	}
}

type mqttClient struct {
	*paho.Client
	ctx   context.Context
	in    chan string
	leave func()
}

func (l *mqttLoad) connect(id string) (*mqttClient, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		cancel()
		return nil, err
	}
	c := &mqttClient{ctx: ctx, in: make(chan string, 100)}
	c.Client = paho.NewClient(paho.ClientConfig{
		ClientID: id, Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience, SendAcksInterval: time.Millisecond,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.in <- string(p.Packet.Payload)
			return true, nil
		}},
		OnClientError: func(error) {},
	})
	ended := func() {
		_ = conn.Close()
		<-c.Done()
		cancel()
	}
	c.leave = func() {
		_ = c.Disconnect(&paho.Disconnect{})
		ended()
	}
	answer, err := c.Connect(ctx, &paho.Connect{ClientID: id, KeepAlive: 600, CleanStart: true})
	if err == nil && answer.ReasonCode != 0 {
		err = errors.New(answer.Properties.ReasonString)
	}
	if err != nil {
		ended()
		return nil, err
	}
	return c, nil
}

// checkDelivered holds that a plugin was told of each client's messages in
// their order and without a gap; if sent is given, of all of them.
func checkDelivered(t *testing.T, name, path string, sent map[string]int) {
	t.Helper()
	type key struct {
		client string
		hook   mux.Hook
	}
	next := make(map[key]int)
	for _, c := range muxtest.ReadRecord(t, path) {
		if c.Hook != mux.MessageDelivered && c.Hook != mux.MessageAcked {
			continue
		}
		var r exhookv3.MessageDeliveredRequest
		if err := proto.Unmarshal(c.Body, &r); err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(string(bytes.TrimSuffix(r.Message.Payload, []byte("!"))), "%d", &n); err != nil {
			t.Fatal(err)
		}
		k := key{r.Clientinfo.Clientid, c.Hook}
		want, known := next[k]
		// A client that leaves at once may not get its last acknowledgement out.
		unacked := c.Hook == mux.MessageAcked && n > want
		if (known || sent != nil) && n != want && !unacked {
			t.Errorf("%s (%s): %s %d of %s, expected %d", name, filepath.Base(path), c.Hook, n, k.client, want)
			return
		}
		next[k] = n + 1
	}
	for client, n := range sent {
		if got := next[key{client, mux.MessageDelivered}]; got != n {
			t.Errorf("%s: told of %d messages of %s, want %d", name, got, client, n)
		}
	}
}
