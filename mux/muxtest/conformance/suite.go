package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/handshake"
)

// Options say what to check. Only Command is needed.
type Options struct {
	// Command is the plugin's program and its arguments.
	Command []string
	// Dir is its working directory. Default: ours.
	Dir string
	// Env is its environment, NAME=VALUE, besides what hookmux sets; it inherits
	// nothing.
	Env []string
	// Config is the plugin's config, a JSON object. Default {}.
	Config json.RawMessage
	// Protocol checks one app protocol only, 1 or 2. Default: all that the plugin speaks.
	Protocol int
	// Only names the checks to run. Default: all.
	Only []string
	// Patience is how long the plugin may take for what has no limit of its own.
	// Default 10 s.
	Patience time.Duration
	// Output gets a line for each line that the plugin prints; nil: nobody does.
	Output func(line string)
	// Done is called after each check; nil: nobody is told.
	Done func(Check)
}

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	OK     Outcome = "ok"
	Note   Outcome = "note"   // good to have, and not there
	Failed Outcome = "FAILED" // hookmux's users would notice
	Left   Outcome = "-"      // not about this plugin
)

// Check is one thing that was tried.
type Check struct {
	Section string        `json:"section"` // "protocol 2", "protocol 1" or "process"
	Name    string        `json:"name"`
	Outcome Outcome       `json:"outcome"`
	Text    string        `json:"text"` // what was seen
	Took    time.Duration `json:"took_ns"`
}

// Report is the outcome of all checks.
type Report struct {
	Command []string `json:"command"`
	Checks  []Check  `json:"checks"`
}

// Failed is how many checks have failed.
func (r *Report) Failed() int { return r.count(Failed) }

func (r *Report) count(o Outcome) (n int) {
	for _, c := range r.Checks {
		if c.Outcome == o {
			n++
		}
	}
	return n
}

// result is what a check found.
type result struct {
	outcome Outcome
	text    string
}

func good(format string, args ...any) result { return result{OK, fmt.Sprintf(format, args...)} }
func note(format string, args ...any) result { return result{Note, fmt.Sprintf(format, args...)} }
func bad(format string, args ...any) result  { return result{Failed, fmt.Sprintf(format, args...)} }
func left(format string, args ...any) result { return result{Left, fmt.Sprintf(format, args...)} }

// check is one row of the tables in checks_*.go.
type check struct {
	name string
	run  func(*suite) result
}

// suite is a run of the checks. Those of one protocol share a process, unless one
// of them ends it.
type suite struct {
	Options
	ctx      context.Context //nolint:containedctx // of Run
	tmp      string          // where sockets go
	protocol int             // what is being checked
	report   *Report

	p        *process // nil: the next check starts one
	c        *client  // of p
	declared []mux.HookSpec
	ready    time.Duration // from start to the answer to OnProviderLoaded
	speaks   int           // the app protocol that it chooses when offered all
	dead     bool          // it does not even start: no use to try again
}

// Run checks a plugin. The error says why that could not be done; that the plugin
// is bad is none.
func Run(ctx context.Context, o Options) (*Report, error) {
	if len(o.Command) == 0 {
		return nil, errors.New("no command to check")
	}
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no check %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	tmp, err := os.MkdirTemp("", "hookmux-verify-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the plugin's sockets: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	s := &suite{Options: o, ctx: ctx, tmp: tmp, report: &Report{Command: o.Command}}
	defer s.drop()
	// What it takes when it may choose: process checks are about that.
	p, err := startProcess(s, "1,2")
	if err != nil {
		s.add(Check{Section: "process", Name: "start", Outcome: Failed, Text: err.Error()})
		return s.report, ctx.Err()
	}
	s.speaks = p.protocol
	p.kill()
	for _, protocol := range []int{handshake.Stream, handshake.Unary} {
		section := fmt.Sprint("protocol ", protocol)
		switch {
		case o.Protocol != 0 && o.Protocol != protocol:
		case protocol > s.speaks && o.Protocol == 0:
			s.add(Check{Section: section, Name: "start", Outcome: Left, Text: fmt.Sprintf("it speaks app protocol %d", s.speaks)})
		case protocol == handshake.Stream:
			s.table(section, protocol, streamChecks)
		default:
			s.table(section, protocol, unaryChecks)
		}
	}
	s.table("process", s.speaks, processChecks)
	return s.report, ctx.Err()
}

// Names are the names of all checks.
func Names() (names []string) {
	for _, c := range slices.Concat(streamChecks, processChecks) {
		names = append(names, c.name)
	}
	return names
}

// table runs checks on one protocol, until one finds that the plugin does not start.
func (s *suite) table(section string, protocol int, checks []check) {
	s.drop()
	s.protocol, s.dead = protocol, false
	for _, c := range checks {
		if s.ctx.Err() != nil || s.dead {
			return
		}
		if len(s.Only) > 0 && !slices.Contains(s.Only, c.name) {
			continue
		}
		start := time.Now()
		r := s.one(c)
		s.add(Check{Section: section, Name: c.name, Outcome: r.outcome, Text: r.text, Took: time.Since(start)})
	}
}

func (s *suite) add(c Check) {
	s.report.Checks = append(s.report.Checks, c)
	if s.Done != nil {
		s.Done(c)
	}
}

// one runs a check with a process that is up, and says so if it ended meanwhile.
func (s *suite) one(c check) result {
	if s.p == nil {
		if err := s.start(); err != nil {
			s.dead = true
			return bad("%v", err)
		}
	}
	r := c.run(s)
	if s.p == nil {
		return r // the check ended it on purpose
	}
	select {
	case <-s.p.exited:
		text := "the plugin ended: " + s.p.how() + s.p.quote()
		if r.outcome == Failed {
			text = r.text + "; " + text
		}
		s.drop()
		return bad("%s", text)
	default:
		return r
	}
}

// start starts the plugin and learns what it wants.
func (s *suite) start() error {
	began := time.Now()
	p, err := startProcess(s, fmt.Sprint(s.protocol))
	if err != nil {
		return err
	}
	if p.protocol != s.protocol {
		p.kill()
		return fmt.Errorf("offered app protocol %d alone, it chose %d", s.protocol, p.protocol)
	}
	s.p = p
	if s.c, err = newClient(p, s.protocol); err != nil {
		s.drop()
		return err
	}
	if s.declared, err = s.load(); err != nil {
		text := p.quote()
		s.drop()
		return fmt.Errorf("%w%s", err, text)
	}
	s.ready = time.Since(began)
	return nil
}

// load sends OnProviderLoaded.
func (s *suite) load() ([]mux.HookSpec, error) {
	answer, err := s.call(mux.ProviderLoaded, mux.OwnLoadRequest("verify", time.Now()))
	if err != nil {
		return nil, fmt.Errorf("it did not answer OnProviderLoaded: %w", err)
	}
	return mux.ParseLoaded(answer)
}

// drop ends the process, if there is one.
func (s *suite) drop() {
	if s.c != nil {
		s.c.close()
	}
	if s.p != nil {
		s.p.kill()
	}
	s.p, s.c = nil, nil
}

// call sends one event, to be answered within the patience.
func (s *suite) call(h mux.Hook, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	return s.c.call(ctx, h, nil, request)
}

// first is the first declared hook that fits.
func (s *suite) first(fits func(mux.Hook) bool) (h mux.Hook, ok bool) {
	for _, d := range s.declared {
		if fits(d.Hook) {
			return d.Hook, true
		}
	}
	return 0, false
}

func isNotification(h mux.Hook) bool { return !h.Valued() }

func isMessage(h mux.Hook) bool { return h.Valued() && !h.Access() }
