package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What explain says of every kind of decision, for people to read.
func TestExplanations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 13, 0, 0, 0, time.Local)
	w := &witness{now: now, status: &admin.Status{Providers: []admin.Provider{
		{Name: "up", Kind: "plugin", Status: "up", Since: now.Add(-time.Hour), Enabled: true, HooksKnown: true, TimeoutMs: 2000},
		{Name: "back", Kind: "plugin", Status: "up", Since: now.Add(-5 * time.Second), Enabled: true, HooksKnown: true, LastError: "it was killed by SIGKILL"},
		{Name: "crashes", Kind: "plugin", Status: "quarantined", HooksKnown: true, Enabled: true, LastError: "it exited with status 2; its last output:\n  | panic: \x1b[31mnil map"},
		{Name: "broken", Kind: "plugin", Status: "starting", HooksKnown: false, Enabled: true, LastError: "start: exec: no such file"},
		{Name: "far", Kind: "remote", Status: "restarting", HooksKnown: true, Enabled: true, LastError: "nobody answers at its address"},
		{Name: "off", Kind: "plugin", Status: "disabled", HooksKnown: true},
		{Name: "draining", Kind: "plugin", Status: "draining", Draining: true, WaitingEvents: 3, HooksKnown: true, Breakers: map[string]string{"notifications": "closed"}},
	}}}
	decision := func(hook, answer, by string, asked ...trail.Asked) *trail.Decision {
		d := &trail.Decision{
			ID: 1, Time: now.Add(-90 * time.Second), Node: "emqx@10.0.0.1", Hook: hook, Client: "sensor-7", Username: "north",
			Strategy: "chain", Answer: answer, Final: true, By: by, TookUs: 1234, Asked: asked,
		}
		if hook != "client.authenticate" {
			d.Topic, d.Action = "sites/north/temp", "subscribe"
		}
		return d
	}
	says := func(provider, verdict string) trail.Asked {
		return trail.Asked{Provider: provider, Verdict: verdict, TookUs: 321}
	}
	silent := func(provider, reason, err, policy string) trail.Asked {
		return trail.Asked{Provider: provider, Verdict: "none", Reason: reason, Error: err, Policy: policy, TookUs: 2_000_000}
	}
	missing := func(provider, reason, err string) *trail.Decision {
		return decision("client.authenticate", "deny", provider+didNotAnswer, silent(provider, reason, err, "deny"))
	}
	with := func(d *trail.Decision, change func(*trail.Decision)) *trail.Decision { change(d); return d }
	var b strings.Builder
	for _, c := range []struct {
		what string
		d    *trail.Decision
	}{
		{"a denial", decision("client.authenticate", "deny", "up", says("quota", "ignore"), says("up", "deny"))},
		{"nobody has an opinion", decision("client.authenticate", "ignore", "", says("up", "ignore"))},
		{"nobody has an opinion on a permission", decision("client.authorize", "ignore", "")},
		{"the default denies", decision("client.authorize", "deny", "default", says("up", "ignore"))},
		{"hookmux itself", with(decision("client.authenticate", "deny", "hookmux"), func(d *trail.Decision) { d.Client, d.Username, d.Node = "", "", "" })},
		{"all", with(decision("client.authorize", "deny", "up", says("quota", "allow"), says("up", "deny"), trail.Asked{Provider: "slow", Verdict: "none", Unneeded: true}), func(d *trail.Decision) { d.Strategy = "all" })},
		{"any", with(decision("client.authorize", "deny", "quota", says("quota", "deny"), says("up", "ignore")), func(d *trail.Decision) { d.Strategy = "any" })},
		{"a message dropped", decision("message.publish", "drop", "up", changing(says("quota", "rewrite"), "payload", "qos"), says("up", "drop"))},
		{"a message moved", with(decision("message.publish", "rewrite", "up", changing(says("up", "rewrite"), "topic")), func(d *trail.Decision) { d.NewTopic = "archive/sites" })},
		{"down: in quarantine", missing("crashes", "down", "the provider is down")},
		{"down: never started", missing("broken", "down", "the provider is down")},
		{"down: a remote", missing("far", "down", "the provider is down")},
		{"down: disabled", missing("off", "down", "an operator has disabled it")},
		{"down: draining", missing("draining", "down", "an operator has disabled it")},
		{"down: up again", missing("back", "down", "the provider went down before the event was sent")},
		{"down: not there any more", missing("gone", "down", "the provider is down")},
		{"timeout", missing("up", "timeout", "no answer within 2s")},
		{"breaker open", missing("up", "breaker_open", "its breaker for client.authenticate is open")},
		{"overload", missing("up", "overload", "256 decisions were already waiting for it")},
		{"error", missing("up", "error", "the provider answered with an error: Unknown: no such table: users")},
		{"invalid", missing("up", "invalid", "no protobuf message")},
		{"canceled", missing("up", "canceled", "context canceled")},
		{"ignored, and another denies", decision("client.authorize", "deny", "up", silent("crashes", "down", "the provider is down", "ignore"), says("up", "deny"))},
		{"a denial by policy that had not the last word", decision("client.authorize", "allow", "up", silent("far", "down", "the provider is down", "allow"), says("up", "allow"))},
		{"strange names", with(decision("client.authorize", "deny", "up", says("up", "deny")), func(d *trail.Decision) {
			d.Client, d.Username, d.Topic = "\x1b[2Ja b", "", "x\ny: \u202e"
		})},
	} {
		b.WriteString("=== " + c.what + "\n")
		e := &explanation{Cases: w.cases([]*trail.Decision{c.d}, 1)}
		e.print(&b)
		b.WriteString("\n")
	}
	const golden = "testdata/explain.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || b.String() != string(want) {
		t.Errorf("not as in %s (go test ./cmd/hookmux -run TestExplanations -update): %v\n%s", golden, err, b.String())
	}
}

func changing(a trail.Asked, changed ...string) trail.Asked {
	a.Changed = changed
	return a
}
