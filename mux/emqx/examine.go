package emqx

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	Problem Severity = "problem" // it does not do what it should
	Warning Severity = "warning" // it may not
	Fine    Severity = "ok"
)

// Finding is one thing that is wrong, or right.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // a word for machines
	What     string   `json:"what"`
	Fix      string   `json:"fix,omitempty"` // the command or the setting that mends it
}

// Ours is hookmux, as far as EMQX is concerned.
type Ours struct {
	Name   string // of its entry in EMQX; with -2 behind it is its other name
	URL    string // at which EMQX is to call it; empty: at the port of Listen
	Listen string
	// TLS says that it is called with https, and WantsCert that the caller must show a
	// certificate.
	TLS, WantsCert bool
	Timeout        time.Duration // of one event
	Defaults       []string      // the hooks that its config has a final answer for

	// Unreachable is why hookmux itself could not be asked for what follows; nil: it was.
	Unreachable error
	Ready       bool
	Down        []string            // providers that do not run
	Hooks       []Hook              // that its providers want
	Nodes       map[string][]string // the brokers that have loaded it, and what they do not send
}

// Names are the two names by which EMQX may know hookmux: one takes over from the other.
func (o *Ours) Names() [2]string { return [2]string{o.Name, o.Name + "-2"} }

func (o *Ours) port() string {
	at := o.Listen
	if u, err := url.Parse(o.URL); o.URL != "" && err == nil {
		at = u.Host
	}
	_, port, _ := net.SplitHostPort(at)
	return port
}

// wants says whether a provider wants the hook.
func (o *Ours) wants(hook string) bool {
	return slices.ContainsFunc(o.Hooks, func(h Hook) bool { return h.Name == hook })
}

// valued are the hooks whose answer matters.
var valued = []string{"client.authenticate", "client.authorize", "message.ingress", "message.publish"}

// examiner collects findings.
type examiner struct {
	facts *Facts
	ours  *Ours
	all   []Finding
}

func (e *examiner) add(s Severity, code, fix, format string, args ...any) {
	e.all = append(e.all, Finding{Severity: s, Code: code, What: fmt.Sprintf(format, args...), Fix: fix})
}

// RegisterCommand is what mends most.
const RegisterCommand = "hookmux emqx register"

const register = RegisterCommand

// Examine says what is wrong, the worst first; a single Fine if nothing is.
func Examine(facts *Facts, ours *Ours) []Finding {
	e := &examiner{facts: facts, ours: ours}
	e.hookmux()
	mine, others := e.servers()
	for _, s := range mine {
		e.entry(s)
	}
	if len(mine) > 0 {
		e.registration(mine)
		e.chain(mine[0], others)
	}
	e.answers()
	slices.SortStableFunc(e.all, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	if len(e.all) == 0 {
		e.add(Fine, "fine", "", "EMQX calls hookmux on %s, as it should", number(len(facts.Nodes), "node"))
	}
	return e.all
}

func rank(s Severity) int { return slices.Index([]Severity{Problem, Warning, Fine}, s) }

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (e *examiner) hookmux() {
	switch {
	case e.ours.Unreachable != nil:
		e.add(Problem, "hookmux-unreachable", "hookmux run, and then hookmux status", "hookmux itself cannot be asked, so what it wants is not known: %v", e.ours.Unreachable)
	case !e.ours.Ready:
		e.add(Warning, "hookmux-not-ready", "hookmux status", "hookmux still waits for its providers to start")
	}
	if len(e.ours.Down) > 0 {
		e.add(Warning, "provider-down", "hookmux status", "not every provider of hookmux runs, and the failure policy decides instead of: %s", strings.Join(e.ours.Down, ", "))
	}
}

// servers are EMQX's entries for hookmux, and all others that it calls.
func (e *examiner) servers() (mine, others []*Server) {
	names := e.ours.Names()
	for _, s := range e.facts.Servers {
		u, err := url.Parse(s.URL)
		switch {
		case slices.Contains(names[:], s.Name), err == nil && u.Port() != "" && u.Port() == e.ours.port() && e.ours.port() != "0":
			mine = append(mine, s)
		case s.Enabled:
			others = append(others, s)
		}
	}
	if len(mine) == 0 {
		e.add(Problem, "no-entry", register, "EMQX has no ExHook server for hookmux, so it asks nobody and lets everybody in")
	}
	if running := slices.DeleteFunc(slices.Clone(mine), func(s *Server) bool { return !s.runs() }); len(running) > 1 {
		e.add(Problem, "twice", register, "EMQX calls hookmux by %s at the same time, %s and %s: each event is asked about and told twice", number(len(running), "entry"), running[0].Name, running[1].Name)
	}
	return mine, others
}

// entry looks at the settings of an entry for hookmux.
func (e *examiner) entry(s *Server) {
	set := func(key, value string) string {
		return fmt.Sprintf("%s, or in EMQX exhook.servers, %s: %s = %s", register, s.Name, key, value)
	}
	if !s.Enabled {
		e.add(Problem, "disabled", set("enable", "true"), "%s is switched off in EMQX: nobody is asked, and everybody let in", s.Name)
		return
	}
	u, err := url.Parse(s.URL)
	want := "http"
	if e.ours.TLS {
		want = "https"
	}
	switch {
	case err != nil:
	case u.Scheme != want:
		e.add(Problem, "url-scheme", set("url", want+"://"+u.Host), "EMQX calls %s at %s, but hookmux listens %s", s.Name, s.URL, map[bool]string{true: "with TLS", false: "without TLS"}[e.ours.TLS])
	case u.Port() != e.ours.port() && e.ours.port() != "0":
		e.add(Problem, "url-port", set("url", want+"://"+net.JoinHostPort(u.Hostname(), e.ours.port())), "EMQX calls %s at %s, but hookmux listens at %s", s.Name, s.URL, e.ours.Listen)
	}
	if e.ours.TLS && u != nil && u.Scheme == "https" {
		e.tls(s)
	}
	if s.FailedAction != "deny" {
		e.add(Problem, "failed-action", set("failed_action", "deny"), "failed_action of %s is %s: while hookmux does not answer, EMQX lets everybody in", s.Name, s.FailedAction)
	}
	if s.Timeout != 0 && s.Timeout <= e.ours.Timeout {
		e.add(Problem, "request-timeout", set("request_timeout", seconds(e.ours.Timeout+time.Second))+fmt.Sprintf("; or timeout: below %s in hookmux's config", s.Timeout),
			"request_timeout of %s is %s, and hookmux may take %s: EMQX gives up before the failure policies count", s.Name, s.Timeout, e.ours.Timeout)
	}
	switch {
	case s.AutoReconnect == 0:
		e.add(Problem, "auto-reconnect", set("auto_reconnect", "10s"), "auto_reconnect of %s is off: an EMQX that starts before hookmux never asks it", s.Name)
	case s.AutoReconnect > time.Minute:
		e.add(Warning, "auto-reconnect", set("auto_reconnect", "10s"), "auto_reconnect of %s is %s: so long EMQX lets everybody in if it starts before hookmux", s.Name, s.AutoReconnect)
	}
	if s.PoolSize > 0 && s.PoolSize < smallPool {
		e.add(Warning, "pool-size", set("pool_size", "8"), "pool_size of %s is %d: all clients share so few connections", s.Name, s.PoolSize)
	}
}

func (e *examiner) tls(s *Server) {
	switch {
	case !s.SSL.Enabled:
		e.add(Problem, "tls-off", fmt.Sprintf("in EMQX exhook.servers, %s: ssl.enable = true", s.Name), "the URL of %s begins with https, but ssl.enable is false", s.Name)
	case e.ours.WantsCert && !s.SSL.HasCert:
		e.add(Problem, "tls-certificate", register+" --client-cert FILE --client-key FILE", "hookmux wants a certificate (tls.client_ca), and EMQX has none for %s", s.Name)
	case !s.SSL.Verify:
		e.add(Warning, "tls-verify", register+" --server-ca FILE", "EMQX takes any certificate from %s (ssl.verify = verify_none), so somebody in between could decide in hookmux's stead", s.Name)
	}
}

// smallPool is fewer connections than clients should share.
const smallPool = 4

// seconds is a time as EMQX reads it.
func seconds(d time.Duration) string { return strconv.Itoa(int((d+time.Second-1)/time.Second)) + "s" }

// registration compares what EMQX sends with what is wanted.
func (e *examiner) registration(mine []*Server) {
	var running []*Server
	for _, s := range mine {
		if s.runs() {
			running = append(running, s)
		}
	}
	for _, n := range e.facts.Nodes {
		var states []string
		for _, s := range mine {
			if s.Enabled && s.Status[n.Name] != "connected" {
				states = append(states, fmt.Sprintf("%s is %s", s.Name, orNothing(s.Status[n.Name])))
			}
		}
		if len(states) == len(mine) && len(states) > 0 {
			e.add(Problem, "not-connected", "is hookmux running, and does its address answer from there? EMQX tries again every auto_reconnect", "on %s %s: it lets everybody in", n.Name, strings.Join(states, ", "))
		}
	}
	if len(running) == 0 || e.ours.Unreachable != nil {
		return
	}
	wanted := slices.DeleteFunc(slices.Clone(e.ours.Hooks), func(h Hook) bool { return h.Name == "message.ingress" && !e.everyNode(6, 3) })
	lacks := running[0].lacks(wanted)
	for _, s := range running[1:] {
		lacks = slices.DeleteFunc(lacks, func(name string) bool { return !slices.Contains(s.lacks(wanted), name) })
	}
	unseen := make([]string, 0)
	for _, n := range e.facts.Nodes {
		missing, known := e.ours.Nodes[n.Name]
		switch {
		case !known:
			unseen = append(unseen, n.Name)
		case len(lacks) == 0 && len(missing) > 0:
			e.add(Problem, "stale", register, "%s does not send what hookmux wants since it was loaded: %s", n.Name, strings.Join(missing, ", "))
		}
	}
	if len(lacks) > 0 {
		e.add(Problem, "stale", register, "EMQX does not send what hookmux wants since it was loaded: %s", strings.Join(lacks, ", "))
	}
	if len(unseen) > 0 && len(e.ours.Nodes) > 0 {
		e.add(Warning, "not-seen", register, "hookmux has not been loaded by %s since it runs: is it another hookmux that EMQX calls there?", strings.Join(unseen, ", "))
	}
}

func orNothing(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

// chain looks at the other ExHook servers, which are called one after another.
func (e *examiner) chain(mine *Server, others []*Server) {
	if len(others) == 0 {
		return
	}
	var names []string
	for _, o := range others {
		names = append(names, o.Name)
	}
	const instead = "make it a provider of hookmux (a remote, with its url), and delete it in EMQX"
	e.add(Warning, "several-servers", instead, "EMQX also calls %s: it makes clients wait for one server after the other", strings.Join(names, ", "))
	if !mine.runs() {
		return
	}
	for _, o := range others {
		if !o.runs() {
			continue
		}
		if h := o.lacks(onlyValued(mine)); len(h) > 0 && o.FailedAction == "deny" {
			e.add(Problem, "chain", instead, "%s has failed_action deny and is not called for %s: EMQX takes that for a failure, and refuses clients whatever hookmux says", o.Name, strings.Join(h, ", "))
		}
		if h := mine.lacks(onlyValued(o)); len(h) > 0 && mine.FailedAction == "deny" {
			e.add(Problem, "chain", instead, "hookmux is not called for %s, as %s is, and has failed_action deny: EMQX takes that for a failure, and refuses clients", strings.Join(h, ", "), o.Name)
		}
	}
}

// onlyValued are those of a server's hooks whose answer matters.
func onlyValued(s *Server) (hooks []Hook) {
	for _, h := range s.Hooks {
		if slices.Contains(valued, h.Name) {
			hooks = append(hooks, h)
		}
	}
	return hooks
}

// answers looks at what becomes of events about which nobody has an opinion.
func (e *examiner) answers() {
	if e.ours.wants("client.authenticate") && !slices.Contains(e.ours.Defaults, "client.authenticate") && e.facts.Authenticators == 0 {
		const fix = "default: {client.authenticate: deny} in hookmux's config, or allow"
		if e.everyNode(5, 9) {
			e.add(Warning, "undecided-login", fix, "a login about which no provider has an opinion is let in: EMQX has no authenticator of its own")
		} else {
			e.add(Warning, "undecided-login", fix, "a login about which no provider has an opinion is refused before EMQX 5.9, which has no authenticator of its own here")
		}
	}
	if !e.ours.wants("client.authorize") {
		return
	}
	if len(e.facts.Sources) > 0 {
		s := Warning
		if slices.Contains(e.facts.Sources, "file") {
			s = Problem
		}
		e.add(s, "authorization-sources", "in EMQX, authorization.sources = [], or delete them under Access Control, Authorization",
			"EMQX's own authorization sources (%s) are asked first, and the file acl.conf decides everything: hookmux is not asked about client.authorize", strings.Join(e.facts.Sources, ", "))
	}
	if e.facts.NoMatch == "allow" && !slices.Contains(e.ours.Defaults, "client.authorize") {
		e.add(Warning, "undecided-topic", "default: {client.authorize: deny} in hookmux's config, or in EMQX authorization.no_match = deny",
			"a topic about which no provider has an opinion is allowed (authorization.no_match = allow)")
	}
}

// everyNode says whether all nodes have at least that version.
func (e *examiner) everyNode(major, minor int) bool {
	for _, n := range e.facts.Nodes {
		first, rest, _ := strings.Cut(n.Version, ".")
		second, _, _ := strings.Cut(rest, ".")
		x, err := strconv.Atoi(first)
		y, err2 := strconv.Atoi(second)
		if err != nil || err2 != nil || x < major || x == major && y < minor {
			return false
		}
	}
	return true
}

// nodeNames are the nodes' names.
func nodeNames(nodes []Node) (names []string) {
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names
}
