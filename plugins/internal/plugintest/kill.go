package plugintest

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// EnvRounds is how often KillTest kills; without it, a few times.
const EnvRounds = "HOOKMUX_KILL_ROUNDS"

// Stored is a message as a target has it.
type Stored struct {
	Client, EventID string
	N               int // the payload
}

// KillTest kills the plugin, the target, hookmux and all at once, in turns, while clients publish
// and the plugin is told durably. In the end, each message that hookmux has answered is in the target; what
// is there twice has one event id, and if once is set nothing is; and each client's are in
// order.
//
// keys are the provider's, but delivery and observe. kill ends the target as a crash does, and
// restart starts it again. stored reads what it has, in its order; it may be called while the target is
// used.
func KillTest(t *testing.T, keys string, once bool, kill, restart func(), stored func() []Stored) {
	t.Helper()
	answered := Trouble(t, "observe: true\n"+keys, kill, restart, publish)
	verify(t, answered, once, stored)
}

// Trouble has clients call hookmux, each with one number after another, while the plugin, the
// target, hookmux and all at once are killed in turns, and says which calls of each client were
// answered. The plugin is told durably.
func Trouble(t *testing.T, keys string, kill, restart func(), call func(b *muxtest.Broker, client string, n int) (answered bool)) map[string][]int {
	t.Helper()
	rounds := 4
	if s := os.Getenv(EnvRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	p := newProcess(t, "delivery: durable\n"+keys)
	load := callers(t, p.addr, call)
	for round := range rounds {
		load.more(t, 300)
		victims := []func(){p.killPlugin, kill, func() { p.stop(syscall.SIGKILL) }}
		back := []func(){func() {}, restart, p.start}
		if victim := round % 4; victim < 3 {
			victims, back = victims[victim:victim+1], back[victim:victim+1]
		}
		for _, v := range victims {
			v()
		}
		load.pause() // what cannot be answered is tried meanwhile
		for _, b := range back {
			b()
		}
	}
	load.more(t, 300)
	return load.end()
}

// noProgress is for how long a target may get nothing new until what is missing is lost.
const noProgress = 3 * time.Minute

// verify waits until all that was answered is stored, and looks at it.
func verify(t *testing.T, answered map[string][]int, once bool, stored func() []Stored) {
	t.Helper()
	type message struct {
		client string
		n      int
	}
	total := 0
	for _, ns := range answered {
		total += len(ns)
	}
	var got []Stored
	missing := func() (n int) {
		if got = stored(); len(got) < total {
			return total - len(got) // at least; millions need not be compared for that
		}
		have := make(map[message]bool)
		for _, s := range got {
			have[message{s.Client, s.N}] = true
		}
		for client, ns := range answered {
			for _, i := range ns {
				if !have[message{client, i}] {
					n++
				}
			}
		}
		return n
	}
	for before, end := 0, time.Now().Add(noProgress); ; {
		n := missing()
		if n == 0 {
			break
		}
		if now := time.Now(); len(got) > before {
			before, end = len(got), now.Add(noProgress)
		} else if now.After(end) {
			t.Fatalf("%d of %d messages that were answered are missing, and no more come", n, total)
		}
		time.Sleep(50 * time.Millisecond) // the pause of a poll
	}
	last, ids, again := make(map[string]int), make(map[message]string), 0
	for _, s := range got {
		m := message{s.Client, s.N}
		if id, twice := ids[m]; twice {
			again++
			if id != s.EventID || once {
				t.Errorf("%v is there with the ids %s and %s", m, id, s.EventID)
			}
			continue
		}
		ids[m] = s.EventID
		if s.EventID == "" {
			t.Errorf("%v has no event id", m)
		}
		if before, known := last[s.Client]; known && s.N < before {
			t.Errorf("client %s: %d comes after %d", s.Client, s.N, before)
		}
		last[s.Client] = s.N
	}
	t.Logf("%d messages answered, %d stored, %d of them again", total, len(ids), again)
}

// calling is clients that make one call after another.
type calling struct {
	count    atomic.Int64 // of answers
	stop     chan struct{}
	all      sync.WaitGroup
	mu       sync.Mutex
	answered map[string][]int
}

const callingClients = 16

func callers(t *testing.T, addr string, call func(b *muxtest.Broker, client string, n int) bool) *calling {
	t.Helper()
	p := &calling{stop: make(chan struct{}), answered: make(map[string][]int)}
	b := muxtest.NewBroker(t, addr, mux.V3)
	for c := range callingClients {
		client := fmt.Sprint("client", c)
		p.all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-p.stop:
					return
				default:
				}
				if call(b, client, n) {
					p.mu.Lock()
					p.answered[client] = append(p.answered[client], n)
					p.mu.Unlock()
					p.count.Add(1)
					continue
				}
				time.Sleep(10 * time.Millisecond) // while nobody is there to answer
			}
		})
	}
	return p
}

// publish reports whether the message was answered, and not refused.
func publish(b *muxtest.Broker, client string, n int) bool {
	req, err := proto.Marshal(&exhookv3.MessagePublishRequest{
		Message: &exhookv3.Message{Id: fmt.Sprint(client, "-", n), From: client, Topic: "kill/test", Payload: fmt.Append(nil, n), Qos: 1},
		Meta:    &exhookv3.RequestMeta{Node: b.Node},
	})
	if err != nil {
		panic(err)
	}
	answer, err := b.Call(publishMethod, client, req)
	if err != nil {
		return false // hookmux has been killed
	}
	var res exhookv3.ValuedResponse
	return proto.Unmarshal(answer, &res) == nil && res.GetMessage().GetHeaders()["allow_publish"] != "false"
}

// more waits until so many more messages have been answered.
func (p *calling) more(t *testing.T, n int64) {
	t.Helper()
	n += p.count.Load()
	for end := time.Now().Add(2 * time.Minute); p.count.Load() < n; {
		if time.Now().After(end) {
			t.Fatalf("only %d of %d messages have been answered", p.count.Load(), n)
		}
		time.Sleep(5 * time.Millisecond) // the pause of a poll
	}
}

// pause lets the clients go on for a moment.
func (p *calling) pause() { time.Sleep(100 * time.Millisecond) }

// end ends the publishing, and says what was answered.
func (p *calling) end() map[string][]int {
	close(p.stop)
	p.all.Wait()
	return p.answered
}
