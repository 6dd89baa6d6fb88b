package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// MQTT 5 reason codes that the story expects.
const (
	codeSuccess       = 0x00
	codeGrantedQoS1   = 0x01
	codeNotAuthorized = 0x87
)

// told is one step that came true: what happened, and who decided and why.
type told struct {
	result string
	why    []string
}

// story is a sequence of claims, each of which is looked at before it is told.
type story struct {
	d          *demo
	alice, bob *mqttClient
}

func newStory(d *demo) *story { return &story{d: d} }

// tell prints the steps, and stops at the first that is not true: those behind
// build on it.
func (s *story) tell(ctx context.Context) error {
	defer func() {
		for _, c := range []*mqttClient{s.alice, s.bob} {
			if c != nil {
				c.leave()
			}
		}
	}()
	o := s.d.out
	for i, step := range []struct {
		what string
		do   func(context.Context) (told, error)
	}{
		{"alice and bob log in", s.login},
		{"mallory guesses alice's password", s.guess},
		{"alice subscribes to sensors/#", s.subscribe},
		{"bob subscribes to alice/mail", s.eavesdrop},
		{"bob publishes 21.5 to sensors/kitchen/raw", s.rewrite},
		{"bob publishes password=1234 to sensors/door/log", s.drop},
		{`bob publishes to admin/restart`, s.overreach},
		{"meanwhile, behind all that", s.presence},
		{"kill -9 login, while bob publishes on", s.killLogin},
		{"kill -9 presence, and another client logs in", s.killPresence},
	} {
		t, err := step.do(ctx)
		if err != nil {
			o.line("%2d  %s", i+1, o.red(fmt.Sprintf("%-50s → NOT TRUE: %v", step.what, err)))
			return fmt.Errorf("step %d of the demo did not come true (%s): %w", i+1, step.what, err)
		}
		o.line("%2d  %-50s → %s", i+1, step.what, o.green(t.result))
		for _, w := range t.why {
			o.line("    %s", o.dim(w))
		}
	}
	o.line("")
	o.line("%s", o.bold("All of it was looked at while it happened, and came true."))
	return nil
}

// until waits for a condition that something else makes true.
func until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("this never happened: %s", what)
		}
	}
	return nil
}

func (s *story) dial(ctx context.Context, id, user, password string) (*mqttClient, byte, error) {
	return dialMQTT(ctx, s.d.broker.Addr(), id, user, password)
}

// leave disconnects a client and waits until presence knows, so that nothing of
// it is under way any more.
func (s *story) leave(ctx context.Context, c *mqttClient, id string) error {
	before := s.count("terminated", id)
	c.leave()
	return until(ctx, "presence.jsonl tells of the end of "+id, func() bool { return s.count("terminated", id) > before })
}

// expect holds that a packet came with a code.
func expect(what string, got, want byte, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%s 0x%02x, expected 0x%02x", what, got, want)
	}
	return err
}

// decided holds that of all plugins only one answered a hook meanwhile, which
// is how the story knows who it was.
func (s *story) decided(h mux.Hook, by string, times int64, do func() error) error {
	count := func() map[string]int64 {
		m := make(map[string]int64)
		for _, p := range s.d.app.Providers() {
			m[p.Name] = p.Stats.Decided[h].Load()
		}
		return m
	}
	before := count()
	if err := do(); err != nil {
		return err
	}
	for name, n := range count() {
		want := int64(0)
		if name == by {
			want = times
		}
		if n -= before[name]; n != want {
			return fmt.Errorf("%s answered %s %d times, expected %d", name, h, n, want)
		}
	}
	return nil
}

func (s *story) login(ctx context.Context) (told, error) {
	err := s.decided(mux.ClientAuthenticate, "login", 2, func() (err error) {
		var code byte
		if s.alice, code, err = s.dial(ctx, "dashboard", "alice", "wonderland"); err != nil || code != codeSuccess {
			return expect("alice: CONNACK", code, codeSuccess, err)
		}
		s.bob, code, err = s.dial(ctx, "gateway", "bob", "builder")
		return expect("bob: CONNACK", code, codeSuccess, err)
	})
	return told{"CONNACK 0x00, both are in", []string{
		"login allowed it: both passwords are right.",
	}}, err
}

func (s *story) guess(ctx context.Context) (told, error) {
	mark := s.d.log.mark()
	err := s.decided(mux.ClientAuthenticate, "login", 1, func() error {
		c, code, err := s.dial(ctx, "intruder", "alice", "123456")
		if c != nil {
			c.leave()
		}
		return expect("CONNACK", code, codeNotAuthorized, err)
	})
	if err == nil {
		_, err = s.d.log.find(ctx, mark, "login denied", "provider=login", "client=intruder", `why="wrong password"`)
	}
	return told{"CONNACK 0x87 not authorized", []string{
		`login denied it, and says in the log: "login denied" user=alice why="wrong password"`,
	}}, err
}

func (s *story) subscribe(ctx context.Context) (told, error) {
	err := s.decided(mux.ClientAuthorize, "topics", 1, func() error {
		code, err := s.alice.subscribe(ctx, "sensors/#")
		return expect("SUBACK", code, codeGrantedQoS1, err)
	})
	return told{"SUBACK 0x01 granted, QoS 1", []string{
		`topics allowed it: its rules give alice "#".`,
	}}, err
}

func (s *story) eavesdrop(ctx context.Context) (told, error) {
	err := s.decided(mux.ClientAuthorize, "topics", 1, func() error {
		code, err := s.bob.subscribe(ctx, "alice/mail")
		return expect("SUBACK", code, codeNotAuthorized, err)
	})
	return told{"SUBACK 0x87 not authorized", []string{
		`topics denied it: its rules give bob "sensors/#" only.`,
	}}, err
}

// aliceGets waits for alice's next messages, and holds that they are these.
func (s *story) aliceGets(ctx context.Context, seen int, want ...message) error {
	err := until(ctx, fmt.Sprintf("alice receives %v", want), func() bool { return len(s.alice.received()) >= seen+len(want) })
	if err != nil {
		return err
	}
	for i, w := range want {
		if got := s.alice.received()[seen+i]; got != w {
			return fmt.Errorf("alice received %q on %s, expected %q on %s", got.payload, got.topic, w.payload, w.topic)
		}
	}
	return nil
}

func (s *story) rewrite(ctx context.Context) (told, error) {
	seen := len(s.alice.received())
	err := s.decided(mux.MessagePublish, "topics", 1, func() error {
		code, err := s.bob.publish(ctx, "sensors/kitchen/raw", "21.5")
		return expect("PUBACK", code, codeSuccess, err)
	})
	if err == nil {
		err = s.aliceGets(ctx, seen, message{"sensors/kitchen/raw", "21.5 °C"})
	}
	return told{`alice receives "21.5 °C"`, []string{
		"topics allowed the topic, then rewrote the payload: raw readings get their unit.",
	}}, err
}

// drop publishes a second message behind the first: once that has arrived, the
// first never will.
func (s *story) drop(ctx context.Context) (told, error) {
	seen := len(s.alice.received())
	err := s.decided(mux.MessagePublish, "topics", 2, func() error {
		code, err := s.bob.publish(ctx, "sensors/door/log", "password=1234")
		if err := expect("PUBACK", code, codeSuccess, err); err != nil {
			return err
		}
		code, err = s.bob.publish(ctx, "sensors/door/log", "door open")
		return expect("PUBACK of the next", code, codeSuccess, err)
	})
	if err == nil {
		err = s.aliceGets(ctx, seen, message{"sensors/door/log", "door open"})
	}
	return told{"PUBACK 0x00, but alice receives nothing", []string{
		`topics dropped it, because of the word "password". bob's next message, "door open", arrives.`,
	}}, err
}

func (s *story) overreach(ctx context.Context) (told, error) {
	err := s.decided(mux.MessagePublish, "nobody", 0, func() error {
		return s.decided(mux.ClientAuthorize, "topics", 1, func() error {
			code, err := s.bob.publish(ctx, "admin/restart", "now")
			return expect("PUBACK", code, codeNotAuthorized, err)
		})
	})
	return told{"PUBACK 0x87 not authorized", []string{
		"topics denied it: not bob's topic. So nobody was asked about the message itself.",
	}}, err
}

// count is how often the file of the presence plugin tells of something.
func (s *story) count(event, client string) (n int) {
	data, _ := os.ReadFile(s.d.path("presence.jsonl"))
	for line := range strings.Lines(string(data)) {
		var l struct{ Event, Client string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Event == event && l.Client == client {
			n++
		}
	}
	return n
}

// noted waits until presence has written something down.
func (s *story) noted(ctx context.Context, event, client string) error {
	return until(ctx, fmt.Sprintf("presence.jsonl tells of %s %s", client, event), func() bool { return s.count(event, client) > 0 })
}

func (s *story) presence(ctx context.Context) (told, error) {
	for _, w := range [][2]string{{"connected", "dashboard"}, {"connected", "gateway"}, {"subscribed", "dashboard"}} {
		if err := s.noted(ctx, w[0], w[1]); err != nil {
			return told{}, err
		}
	}
	return told{"presence wrote down who came", []string{
		s.d.path("presence.jsonl") + " has them, and what alice subscribed to.",
		"It only listens: hookmux tells it afterwards, so no client waits for it.",
	}}, nil
}
