package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// Spool is where events are stored that are delivered durably.
type Spool struct {
	// Dir is where hookmux stores them itself, absolute; "" for the default.
	Dir string
	// URL is a NATS with JetStream that stores them instead, or several of one cluster;
	// "" for none. It may hold a password.
	URL string
	// Name tells the streams of this hookmux from those of others; given with URL.
	Name string
	// Credentials is the path of a NATS credentials file, or "".
	Credentials string
	// Replicas is on how many servers of the cluster each event is stored.
	Replicas int
	// Bytes is how much may be stored for one provider.
	Bytes int64
	// Age and Tries are for every provider; see mux.DurableSpec.
	Age   time.Duration
	Tries int
	// Sync is how often what was written is forced to the disk; SyncAlways: before
	// EMQX gets its answer.
	Sync       time.Duration
	SyncAlways bool
}

// Defaults of the keys that mux.DurableSpec has none for.
const (
	DefaultSpoolBytes = 1 << 30
	DefaultSpoolSync  = time.Second
)

func defaultSpool() Spool {
	return Spool{Replicas: 1, Bytes: DefaultSpoolBytes, Sync: DefaultSpoolSync}
}

func (s *Spool) keys() []key {
	return []key{
		{name: "dir", doc: "the directory, relative to this file. Without it, one under /var/lib or the user's own, named after this file",
			value: directory(&s.Dir)},
		{name: "url", doc: "store them in this NATS with JetStream instead, such as nats://nats-1:4222,nats://nats-2:4222; see NATS in the guide",
			value: natsURL(&s.URL)},
		{name: "name", doc: "with url: by what this hookmux finds its events again, also on another machine; each hookmux has its own",
			value: spoolName(&s.Name)},
		{name: "credentials", doc: "the credentials file for that NATS, relative to this file",
			value: filePath(&s.Credentials)},
		{name: "replicas", def: "1", doc: "on how many servers of that NATS each event is stored",
			value: count(&s.Replicas, 1, 5)},
		{name: "bytes", def: sizeString(DefaultSpoolBytes), doc: "how much may be stored for each provider, and as much again of its dead letters; when it is full, notifications are lost and counted, and what an observer must hear of follows its on_failure",
			value: size(&s.Bytes, 1<<20, 64<<40)},
		{name: "age", doc: "how old an event may get before it is dropped. Without it, any age",
			value: duration(&s.Age, time.Minute, 10*365*24*time.Hour)},
		{name: "tries", def: strconv.Itoa(mux.DefaultTries), doc: "how often an event is delivered that the provider does not handle, with growing pauses of up to a minute, before it becomes a dead letter",
			value: count(&s.Tries, 1, 100_000)},
		{name: "sync", def: span(DefaultSpoolSync), doc: "how often what was written is forced to the disk, which is what a power cut may cost; always: before EMQX gets its answer, which costs throughput. The end of hookmux costs nothing either way",
			value: syncing(s)},
	}
}

// syncing is a duration, or the word always.
func syncing(s *Spool) value {
	v := duration(&s.Sync, 10*time.Millisecond, 10*time.Minute)
	read := v.read
	v.expects = "always, or " + v.expects
	v.schema = schema{"anyOf": []schema{enumSchema([]string{"always"}), v.schema}}
	v.read = func(r *reader, path string, n *node) {
		if n.kind == text && n.text == "always" {
			s.SyncAlways = true
			return
		}
		read(r, path, n)
	}
	return v
}

var spoolNamePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func spoolName(into *string) value {
	v := value{expects: "a name of at most 64 letters, digits, _ and -", schema: patternSchema(spoolNamePattern.String())}
	v.read = func(r *reader, path string, n *node) {
		if n.kind != text && n.kind != integer || !spoolNamePattern.MatchString(n.text) {
			r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
			return
		}
		*into = n.text
	}
	return v
}

// natsURL is one URL or several with commas between them. It is not shown in errors:
// there may be a password in it.
func natsURL(into *string) value {
	v := value{expects: "nats://host:port or tls://host:port, or several with commas between them", schema: schema{"type": "string", "minLength": 1}}
	v.read = func(r *reader, path string, n *node) {
		if !r.is(text, path, n, v.expects) {
			return
		}
		for one := range strings.SplitSeq(n.text, ",") {
			u, err := url.Parse(strings.TrimSpace(one))
			if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
				r.fail(n.line, path, "expected %s; found something else", v.expects)
				return
			}
		}
		*into = n.text
	}
	return v
}

// filePath is the path of a file, relative to this one.
func filePath(into *string) value {
	const expects = "the path of a file"
	return value{expects: expects, schema: anyScalar, read: func(r *reader, path string, n *node) {
		s, ok := r.plain(path, n)
		if ok && s == "" {
			r.fail(n.line, path, "expected %s; found an empty string", expects)
		} else if ok {
			*into = r.abs(s)
		}
	}}
}

// checkSpool checks what the keys mean together.
func (r *reader) checkSpool(c *Config, spool pair) {
	given := make(map[string]pair)
	if spool.value != nil {
		for _, p := range spool.value.pairs {
			given[p.key] = p
		}
	}
	at, remote := given["url"]
	if _, named := given["name"]; remote && !named {
		r.fail(at.line, "spool.name", "missing: by it hookmux finds its events again in the NATS of url, also when it runs on another machine or in a new pod. "+
			"Each hookmux has its own, such as mux-1, or ${env:HOSTNAME} in a StatefulSet")
	}
	for _, key := range []string{"name", "credentials", "replicas"} {
		if p, ok := given[key]; ok && !remote {
			r.fail(p.line, "spool."+key, "this is about the NATS that url names, and there is no url")
		}
	}
	for _, key := range []string{"dir", "sync"} {
		if p, ok := given[key]; ok && remote {
			r.fail(p.line, "spool."+key, "this is about a store of hookmux's own, and with url there is none; leave out one of the two keys")
		}
	}
	for i := range c.Providers {
		c.Providers[i].Durable = mux.DurableSpec{Age: c.Spool.Age, Tries: c.Spool.Tries}
	}
}

// delivery is a word for all hooks, or a mapping from hook to word.
func delivery(p *Provider) value {
	words := mux.DeliveryNames()
	expects := "one of " + strings.Join(words, ", ") + ", or a mapping from hook to one of them"
	byHook := mapSchema(hookNames(anyHook), enumSchema(words))
	return value{expects: expects, schema: schema{"anyOf": []schema{enumSchema(words), byHook}}, read: func(r *reader, path string, n *node) {
		if n.kind != mapping {
			if n.kind != text {
				r.fail(n.line, path, "expected %s; found %s", expects, show(n))
				return
			}
			if w, ok := r.word(path, n, words); ok {
				d, _ := mux.ParseDelivery(w)
				p.Delivery = mux.By(d)
			}
			return
		}
		for _, pair := range n.pairs {
			at := join(path, pair.key)
			h, ok := r.hook(pair.line, at, pair.key, false, anyHook, "")
			if w, isWord := r.word(at, pair.value, words); ok && isWord {
				p.Delivery[h], _ = mux.ParseDelivery(w)
			}
		}
	}}
}

// checkDelivery checks the delivery of hooks with an answer, of which only observers
// are told.
func (r *reader) checkDelivery(path string, p *Provider, given map[string]pair) {
	at, ok := given["delivery"]
	if !ok || at.value.kind != mapping {
		return
	}
	for _, f := range at.value.pairs {
		h, ok := mux.HookByName(f.key)
		key := join(join(path, "delivery"), f.key)
		switch {
		case !ok || !h.Valued():
		case !p.Observe:
			r.fail(f.line, key, "EMQX waits for the provider's answer to this hook, so nothing is delivered behind; only a provider with observe: true is told of it afterwards")
		case p.Delivery[h] == mux.Sync:
			r.fail(f.line, key, "nobody waits for a provider with observe: true; use async or durable")
		}
	}
}

// storesValued says whether the provider's failure policy has a say: it is an observer
// of whom it may be asked that it hears of every decision.
func (p *Provider) storesValued() bool {
	for _, h := range mux.Hooks() {
		if h.Valued() && p.Observe && p.Delivery[h] == mux.Durable {
			return true
		}
	}
	return false
}
