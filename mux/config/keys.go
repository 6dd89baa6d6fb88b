package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/condition"
)

// The tables: each key of hookmux.yaml, in the order in which the
// documentation has them.

func (c *Config) keys() []key {
	return []key{
		{name: "listen", def: DefaultListen, doc: "where EMQX connects",
			value: hostPort(&c.Listen)},
		{name: "tls", doc: "TLS for who connects there; EMQX's URL then begins with https://",
			value: tlsOf(&c.TLS)},
		{name: "limits", doc: "what EMQX may ask at most",
			value: group(limitKeys(&c.Limits))},
		{name: "timeout", def: DefaultTimeout.String(), doc: "how long EMQX waits for the answer to one event at most, all providers together; keep it below the request timeout in EMQX",
			value: duration(&c.Timeout, 10*time.Millisecond, 10*time.Minute)},
		{name: "default", doc: "the answer to an access hook about which no provider has an opinion; without it, EMQX decides",
			value: defaults(&c.Default)},
		{name: "strategy", doc: "how the answers to an access hook become one. chain: the providers are asked one after another and the last word counts; all: they are asked at the same time and everybody who has an opinion must allow; any: the same, and it is enough that one allows. Without it, chain",
			value: strategies(&c.Strategy)},
		{name: "log", doc: "how hookmux logs, to standard error",
			value: group(c.Log.keys())},
		{name: "admin", doc: "where hookmux status, reload and the like, and the page, find hookmux",
			value: adminAddress(&c.Admin)},
		{name: "trail", doc: "the decisions that hookmux remembers, for hookmux explain",
			value: group(trailKeys(&c.Trail))},
		{name: "tracing", doc: "traces of events for OpenTelemetry; without it, there are none",
			value: group(c.Tracing.keys())},
		{name: "state", doc: "the file that keeps which hooks the providers declared, so that they count while a provider does not start, relative to this file; or off. Without it, a file under /var/lib or the user's own, named after this file",
			value: pathOrOff(&c.State)},
		{name: "spool", doc: "where events are stored that are delivered durably",
			value: group(c.Spool.keys())},
		{name: "watch", def: "false", doc: "reload this file when it changes, or a file that ${file:PATH} names",
			value: truth(func(b bool) { c.Watch = b })},
		{name: "gc_headroom", def: sizeString(DefaultGCHeadroom), doc: "how much garbage may pile up before hookmux collects it: memory for CPU",
			value: size(&c.GCHeadroom, 1<<20, 4<<30)},
		{name: "providers", required: true, doc: "who answers the events, in the order in which they are asked",
			value: providers(&c.Providers)},
	}
}

func (l *Log) keys() []key {
	levels := []string{"debug", "info", "warn", "error"}
	return []key{
		{name: "level", def: "info", doc: "the least important messages to log",
			value: word(levels, func(w string) { _ = l.Level.UnmarshalText([]byte(w)) })},
		{name: "format", def: "text", doc: "lines for people or JSON for machines",
			value: word([]string{"text", "json"}, func(w string) { l.JSON = w == "json" })},
	}
}

func (p *Provider) keys() []key {
	return []key{
		{name: "name", required: true, doc: "what logs and metrics call the provider",
			value: name(&p.Name)},
		{name: "command", plugin: true, doc: "the plugin's program and its arguments; a relative path with a slash is relative to this file, a name without one is looked up in PATH",
			value: command(&p.Command)},
		{name: "url", doc: "where a remote, an ExHook server that runs already, listens",
			value: remoteURL(&p.URL)},
		{name: "tls", doc: "TLS with a remote whose url begins with https://",
			value: remoteTLS(&p.TLS)},
		{name: "config", plugin: true, doc: "the plugin's own settings, handed to it as JSON",
			value: jsonObject(&p.Config)},
		{name: "env", plugin: true, doc: "the plugin's environment variables, and all of them; `${env:NAME}` hands on one of hookmux's own",
			value: environment(&p.Env)},
		{name: "dir", plugin: true, def: ".", doc: "the plugin's working directory, relative to this file",
			value: directory(&p.Dir)},
		{name: "start_timeout", plugin: true, def: DefaultStartTimeout.String(), doc: "how long the plugin may take to start",
			value: duration(&p.StartTimeout, 100*time.Millisecond, 10*time.Minute)},
		{name: "process", plugin: true, doc: "what the plugin's process may be and use",
			value: group(p.Process.keys())},
		{name: "hooks", doc: "ask the provider about these hooks only; without it, about all that it answers",
			value: hookList(&p.Hooks)},
		{name: "on_failure", def: mux.Deny.String(), doc: "what a hook with an answer does when the provider gives none: one word for all, or a mapping from hook to word, from cause to word, or from hook to such a mapping; a hook or cause that it leaves out is denied",
			value: onFailure(&p.OnFailure)},
		{name: "required", def: "true", doc: "false: what the provider does not answer is as if it were not there; short for on_failure: ignore",
			value: truth(func(required bool) { p.optional = !required })},
		{name: "when", doc: "ask the provider only about events for which this condition is true, an expression in CEL over " + strings.Join(condition.Names(), ", "),
			value: when(&p.When)},
		{name: "may_change", def: "[" + strings.Join(mux.ChangeNames(), ", ") + "]", doc: "what of the provider's answers to message hooks counts; what else it changes is put back",
			value: words(mux.ChangeNames(), &p.MayChange, mux.ParseChange)},
		{name: "redact", doc: "what the provider is not shown; always the password, unless the provider decides client.authenticate or the list is empty",
			value: words(mux.RedactionNames(), &p.Redact, mux.ParseRedaction)},
		{name: "observe", def: "false", doc: "true: of hooks with an answer, the provider is told what was decided, as with a notification, and its own answer does not count",
			value: truth(func(observe bool) { p.Observe = observe })},
		{name: "pure", doc: "true: the provider answers the same request always the same and has no side effect, so it may be asked ahead of its turn; false: it may not, whatever it declares. Without it, as it declares",
			value: truth(func(pure bool) { p.Pure = &pure })},
		{name: "timeout", def: mux.DefaultTimeout.String(), doc: "how long one answer of the provider may take",
			value: duration(&p.Timeout, time.Millisecond, 10*time.Minute)},
		{name: "concurrency", def: strconv.Itoa(mux.DefaultConcurrency), doc: "how many answers may be asked of the provider at a time; more wait",
			value: count(&p.Concurrency, 1, 65536)},
		{name: "delivery", def: mux.Async.String(), doc: "async: EMQX does not wait for the provider to handle a notification; sync: it does; durable: it waits until the notification is stored, and the provider gets it at least once. One word for all hooks, or a mapping from hook to word",
			value: delivery(p)},
		{name: "breaker", doc: "when a failing provider is left alone for a while",
			value: group(breakerKeys(&p.Breaker))},
		{name: "lane", doc: "how many notifications may wait for the provider",
			value: group(laneKeys(&p.Lane))},
	}
}

func breakerKeys(b *mux.BreakerSpec) []key {
	return []key{
		{name: "failures", def: strconv.Itoa(mux.DefaultBreakerFailures), doc: "failures in a row after which the provider is left alone",
			value: count(&b.Failures, 1, 10_000)},
		{name: "open", def: mux.DefaultBreakerOpen.String(), doc: "how long it is left alone before one event probes it",
			value: duration(&b.Open, 10*time.Millisecond, time.Hour)},
	}
}

func laneKeys(l *mux.LaneSpec) []key {
	return []key{
		{name: "events", def: strconv.Itoa(mux.DefaultLaneEvents), doc: "how many notifications may wait",
			value: count(&l.Events, 1, 100_000_000)},
		{name: "bytes", def: sizeString(mux.DefaultLaneBytes), doc: "how large those that wait may be together",
			value: size(&l.Bytes, 1<<10, 64<<30)},
		{name: "overflow", def: mux.DropNewest.String(), doc: "what happens to one more: it is dropped, the oldest is dropped, or EMQX waits",
			value: word(mux.OverflowNames(), func(w string) { l.Overflow, _ = mux.ParseOverflow(w) })},
	}
}

// group is a mapping with keys of its own.
func group(keys []key) value {
	return value{
		expects: "a mapping",
		keys:    func() []key { return keys },
		read:    func(r *reader, path string, n *node) { r.mapping(path, n, keys) },
	}
}
