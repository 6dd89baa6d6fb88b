package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/hookmux/hookmux/mux/host"
)

// outages is how often an outage is staged anew because this machine was too
// slow to see anything of it: a plugin is back after some 100 ms.
const outages = 3

// kill ends a plugin as a crash would.
func (s *story) kill(name string) (pid int, err error) {
	if pid = s.d.provider(name).Pid; pid == 0 {
		return 0, fmt.Errorf("%s is not running", name)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	return pid, err
}

func (s *story) backUp(name string, oldPid int) bool {
	p := s.d.provider(name)
	return p.Status == host.Up && p.Pid != oldPid
}

var quotedError = regexp.MustCompile(`error="?([^";]*)`)

// lastWords waits for what the log says about the end of a plugin.
func (s *story) lastWords(ctx context.Context, mark int, name string) (string, error) {
	line, err := s.d.log.find(ctx, mark, "plugin is down", "provider="+name, "SIGKILL")
	if err != nil {
		return "", err
	}
	if _, err := s.d.log.find(ctx, mark, "plugin is up", "provider="+name); err != nil {
		return "", err
	}
	reason := quotedError.FindStringSubmatch(line)
	if reason == nil {
		return "", fmt.Errorf("the log gives no reason: %s", line)
	}
	return fmt.Sprintf("log: plugin is down provider=%s error=%q, then: plugin is up", name, reason[1]), nil
}

func (s *story) killLogin(ctx context.Context) (told, error) {
	mark, seen := s.d.log.mark(), len(s.alice.received())
	traffic := s.publishOn(ctx)
	refused, took := 0, time.Duration(0)
	var err error
	for range outages {
		if refused, took, err = s.loginOutage(ctx); err != nil || refused > 0 {
			break
		}
	}
	sent, slowest, trafficErr := traffic()
	switch {
	case err != nil:
		return told{}, err
	case refused == 0:
		return told{}, errors.New("no login was refused while login was down")
	case trafficErr != nil:
		return told{}, trafficErr
	case slowest > 2*time.Second: // generous: this machine may be busy
		return told{}, fmt.Errorf("a publish took %s while login was down", slowest)
	}
	var all []message
	for i := range sent {
		all = append(all, counted(i))
	}
	if err := s.aliceGets(ctx, seen, all...); err != nil {
		return told{}, err
	}
	words, err := s.lastWords(ctx, mark, "login")
	return told{fmt.Sprintf("%s refused, then alice is let in again", plural(refused, "login")), []string{
		fmt.Sprintf("login could not answer, and its on_failure is deny. hookmux had it back after %s.", millis(took)),
		fmt.Sprintf("Nobody else noticed: bob's %d messages all arrived; the slowest PUBACK took %s.", sent, millis(slowest)),
		words,
	}}, err
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// loginOutage kills login and has alice log in again and again until it is back.
// It counts the refusals, and holds that each came of a missing answer.
func (s *story) loginOutage(ctx context.Context) (refused int, took time.Duration, err error) {
	stats := s.d.provider("login").Stats
	missing := func() (n int64) {
		for i := range stats.Missing {
			n += stats.Missing[i].Load()
		}
		return n
	}
	before := missing()
	start := time.Now()
	pid, err := s.kill("login")
	if err != nil {
		return 0, 0, err
	}
	var failed error
	err = until(ctx, "alice is let in again", func() bool {
		back := s.backUp("login", pid)
		c, code, err := s.dial(ctx, "phone", "alice", "wonderland")
		took = time.Since(start)
		if err == nil && code == codeNotAuthorized {
			refused++
			return false
		}
		if failed = expect("CONNACK", code, codeSuccess, err); failed != nil {
			return true
		}
		failed = s.leave(ctx, c, "phone")
		return back || failed != nil // not back: the login was quicker than the SIGKILL
	})
	err = errors.Join(err, failed)
	if n := missing() - before; err == nil && n != int64(refused) {
		err = fmt.Errorf("%d logins were refused, but login failed to answer %d", refused, n)
	}
	return refused, took, err
}

// counted is the message of that number of publishOn.
func counted(i int) message { return message{"sensors/door/count", fmt.Sprint(i)} }

// publishOn has bob publish until the returned function is called, which says
// how many messages there were and how long the slowest acknowledgement took.
func (s *story) publishOn(ctx context.Context) (end func() (sent int, slowest time.Duration, err error)) {
	stop, done := make(chan struct{}), make(chan struct{})
	var sent int
	var slowest time.Duration
	var err error
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			m, start := counted(sent), time.Now()
			code, pubErr := s.bob.publish(ctx, m.topic, m.payload)
			if err = expect("PUBACK", code, codeSuccess, pubErr); err != nil {
				return
			}
			slowest = max(slowest, time.Since(start))
			sent++
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (int, time.Duration, error) {
		close(stop)
		<-done
		return sent, slowest, err
	}
}

// killPresence has a client come while presence is down. What presence has in
// hand when it is killed may be lost, so it is given time to finish.
func (s *story) killPresence(ctx context.Context) (told, error) {
	mark := s.d.log.mark()
	stats := s.d.provider("presence").Stats
	lost := stats.DroppedTotal()
	for i := range outages {
		err := until(ctx, "presence has handled everything", func() bool {
			return stats.Delivered.Load()+stats.DroppedTotal() == stats.Sent.Load()
		})
		if err != nil {
			return told{}, err
		}
		pid, err := s.kill("presence")
		if err != nil {
			return told{}, err
		}
		if err := until(ctx, "presence is down", func() bool { return s.d.provider("presence").Pid != pid }); err != nil {
			return told{}, err
		}
		id := fmt.Sprintf("gateway-%d", i+2)
		start := time.Now()
		c, code, err := s.dial(ctx, id, "bob", "builder")
		took := time.Since(start)
		down := s.d.provider("presence").Status != host.Up
		if err := expect("CONNACK", code, codeSuccess, err); err != nil {
			return told{}, err
		}
		if err := s.noted(ctx, "connected", id); err != nil {
			c.leave()
			return told{}, err
		}
		if err := s.leave(ctx, c, id); err != nil {
			return told{}, err
		}
		if err := until(ctx, "presence is up again", func() bool { return s.backUp("presence", pid) }); err != nil {
			return told{}, err
		}
		if n := stats.DroppedTotal() - lost; n > 0 {
			return told{}, fmt.Errorf("%s for presence got lost", plural(int(n), "notification"))
		}
		if down {
			words, err := s.lastWords(ctx, mark, "presence")
			return told{"CONNACK 0x00 after " + millis(took), []string{
				"presence decides nothing, so nobody is refused without it. hookmux kept what it missed:",
				fmt.Sprintf("once it was back, it wrote down that bob's %s had connected. Nothing was lost.", id),
				words,
			}}, err
		}
	}
	return told{}, errors.New("presence was back before the client had come")
}
