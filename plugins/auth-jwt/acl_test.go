package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func ask(do, topic string) *topicfilter.Question {
	typ := sdk.Publish
	if do == "subscribe" {
		typ = sdk.Subscribe
	}
	q := topicfilter.Of(&sdk.ClientAuthorizeRequest{Clientinfo: client(""), Type: typ, Topic: topic})
	return &q
}

func TestACLClaim(t *testing.T) {
	t.Parallel()
	for claim, asked := range map[string][]string{
		`{"pub": ["up/%c"], "sub": ["down/${clientid}/#", "eq a/+"], "all": ["both/${username}"]}`: {
			"+publish up/car", "-publish up/bus", "-subscribe up/car", "+subscribe down/car/x", "+subscribe down/car/#", "-subscribe down/#",
			"+subscribe a/+", "-subscribe a/b", "+publish both/alice", "+subscribe both/alice", "-publish x", "-subscribe #",
		},
		`[{"permission":"allow","action":"publish","topic":"a/#"},{"permission":"deny","action":"all","topics":["a/secret","c"]},
		  {"permission":"allow","action":"subscribe","topic":"a/#"},{"permission":"allow","topic":"b"}]`: {
			"+publish a/secret", "-subscribe a/secret", "-subscribe a/#", "+subscribe a/b/#", "+publish b", "+subscribe b", "-publish c", "-publish d",
		},
		// What depends on QoS or retain cannot be told apart: it is not allowed, and it is denied.
		`[{"permission":"deny","action":"publish","topic":"a","qos":[2]},{"permission":"allow","action":"publish","topic":"b","retain":false},
		  {"permission":"allow","topic":"b","qos":null},{"permission":"allow","action":"publish","topic":"a"}]`: {"-publish a", "-publish b"},
		`{}`: {"-publish a", "-subscribe a"},
		`[]`: {"-publish a"},
	} {
		a, err := parseACL(json.RawMessage(claim))
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			continue
		}
		for _, s := range asked {
			do, topic, _ := strings.Cut(s[1:], " ")
			if got := a.allows(ask(do, topic)); got != (s[0] == '+') {
				t.Errorf("%s\n%s: %v", claim, s, got)
			}
		}
	}
	for _, claim := range []string{
		`7`, `"a"`, `null`, `true`, `{"pub": "a"}`, `{"publish": ["a"]}`, `{"pub": ["a/#/b"]}`, `{"pub": [""]}`, `{"pub": ["${x}"]}`,
		`[{}]`, `[{"permission":"allow","action":"publish"}]`, `[{"permission":"maybe","topic":"a"}]`, `[{"permission":"allow","action":"pub","topic":"a"}]`,
		`[{"permission":"deny","topic":"a","clientid":"x"}]`, `["a"]`, `[null]`,
		// Names in other letters, and names given twice.
		`{"Pub": ["a"]}`, `{"pub": ["a"], "PUB": ["#"]}`, `{"pub": ["a"], "pub": ["#"]}`, `{"pub": null, "pub": ["#"]}`, `[{"Permission":"allow","topic":"a"}]`,
		`[{"permission":"deny","permission":"allow","topic":"a"}]`, `[{"permission":"deny","topic":"a","topics":["b"],"topics":["c"]}]`,
		`[{"permission":"allow","topic":"a","QoS":[2]}]`, `{"pub": ["a"]} {}`,
	} {
		if a, err := parseACL(json.RawMessage(claim)); err == nil {
			t.Errorf("%s: %v", claim, a)
		}
	}
}

func aclPlugin(t testing.TB, c config) withACL {
	t.Helper()
	if c.ACL == nil {
		c.ACL = &aclConfig{}
	}
	return withACL{start(t, c)}
}

func (p withACL) may(t testing.TB, c *sdk.ClientInfo, do, topic string) string {
	t.Helper()
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	q := ask(do, topic)
	typ := sdk.Publish
	if q.Subscribe {
		typ = sdk.Subscribe
	}
	res, err := h.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Clientinfo: c, Type: typ, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	return plugintest.Verdict(res)
}

func TestWhatAClientMay(t *testing.T) {
	t.Parallel()
	p := aclPlugin(t, config{Leeway: 0})
	c := client(good(t, claims{"acl": map[string]any{"all": []string{"cars/%c/#"}}}))
	if got := p.may(t, c, "publish", "cars/car/x"); got != "deny" {
		t.Errorf("before the login: %s", got)
	}
	if got := login(t, p.plugin, c); got != "allow" {
		t.Fatal(got)
	}
	for topic, want := range map[string]string{"cars/car/x": "allow", "cars/bus/x": "deny", "$SYS/x": "deny"} {
		if got := p.may(t, c, "publish", topic); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
	// Somebody else, and a login that failed, have no part in it.
	for name, change := range map[string]func(*sdk.ClientInfo){
		"another client": func(c *sdk.ClientInfo) { c.Clientid = "car2" },
		"another user":   func(c *sdk.ClientInfo) { c.Username = "bob" },
		"another node":   func(c *sdk.ClientInfo) { c.Node = "emqx@2" },
	} {
		other := client("")
		change(other)
		if got := p.may(t, other, "publish", "cars/car/x"); got != "deny" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := login(t, p.plugin, client("a.b.c")); got != "deny" {
		t.Fatal(got)
	}
	if got := p.may(t, c, "publish", "cars/car/x"); got != "allow" {
		t.Errorf("after a failed login of somebody with the same id: %s", got)
	}
	// A claim that is not understood might have said no.
	if got := login(t, p.plugin, client(good(t, claims{"acl": map[string]any{"al": []string{"#"}}}))); got != "deny" {
		t.Errorf("a list that is not understood: %s", got)
	}
	// A token without the claim.
	if got := login(t, p.plugin, client(good(t, nil))); got != "allow" {
		t.Error(got)
	}
	if got := p.may(t, c, "publish", "cars/car/x"); got != "ignore" {
		t.Errorf("a token without a list: %s", got)
	}
	strict := aclPlugin(t, config{ACL: &aclConfig{Claim: "rights", Without: "deny", UnknownClient: "ignore"}})
	if got := strict.may(t, c, "publish", "x"); got != "ignore" {
		t.Errorf("unknown client: %s", got)
	}
	if got := login(t, strict.plugin, client(good(t, nil))); got != "allow" {
		t.Error(got)
	}
	if got := strict.may(t, c, "publish", "x"); got != "deny" {
		t.Errorf("without a list: %s", got)
	}
}

func TestTokenExpiresLater(t *testing.T) {
	t.Parallel()
	p := aclPlugin(t, config{})
	c := client("")
	p.clients.loggedIn(c, &token{expires: time.Now().Add(time.Hour)})
	if got := p.may(t, c, "publish", "x"); got != "ignore" {
		t.Error(got)
	}
	p.clients.loggedIn(c, &token{expires: time.Now().Add(-time.Second)})
	if got := p.may(t, c, "publish", "x"); got != "deny" {
		t.Errorf("expired: %s", got)
	}
}

// A token is its connection's alone: the client may be connected a second time, let in by
// another provider, which asked this one or did not, and whatever is told of it or is not.
func TestATokenIsItsConnections(t *testing.T) {
	t.Parallel()
	at := func(port uint32, password string) *sdk.ClientInfo {
		c := client(password)
		c.Peerport = port
		return c
	}
	text := good(t, claims{"acl": map[string]any{"all": []string{"#"}}})
	for _, story := range []struct{ told, first, second string }{
		{"login 1, connected 1", "allow", "deny"},
		{"login 1, connected 1, connected 2", "allow", "deny"},
		{"login 1, without 2", "allow", "deny"},
		{"login 1, without 2, connected 2, connected 1", "allow", "deny"},
		{"login 1, connected 1, without 2, connected 2, disconnected 2", "allow", "deny"},
		{"login 1, connected 1, connected 2, disconnected 1", "deny", "deny"},
		{"login 1, login 2, connected 2, disconnected 1", "deny", "allow"},              // a takeover, the old one's begin is lost
		{"login 1, connected 1, login 2, disconnected 1, connected 2", "deny", "allow"}, // the old one's end is told first
		{"login 1, connected 1, login 2, connected 2, disconnected 1", "deny", "allow"}, // the new one's beginning is
		{"login 1, connected 1, without 1", "deny", "deny"},                             // an end was lost, and the port is used again
	} {
		p := aclPlugin(t, config{NoToken: "ignore"})
		for step := range strings.SplitSeq(story.told, ", ") {
			what, number, _ := strings.Cut(step, " ")
			c := at(1, text)
			if number == "2" {
				c = at(2, text)
			}
			switch what {
			case "login":
				if got := login(t, p.plugin, c); got != "allow" {
					t.Fatal(got)
				}
			case "without":
				c.Password = "a password"
				if got := login(t, p.plugin, c); got != "ignore" {
					t.Fatal(got)
				}
			case "connected":
				_ = p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: c})
			case "disconnected":
				_ = p.OnClientDisconnected(t.Context(), &sdk.ClientDisconnectedRequest{Clientinfo: c})
			}
		}
		first, second := p.may(t, at(1, ""), "publish", "x"), p.may(t, at(2, ""), "publish", "x")
		if first != story.first || second != story.second {
			t.Errorf("%s: %s and %s, want %s and %s", story.told, first, second, story.first, story.second)
		}
	}
}

// Without a port: whatever the order in which a takeover is told, the client keeps its
// token; and it is forgotten in the end.
func TestSessions(t *testing.T) {
	t.Parallel()
	for _, story := range []string{
		"login connected? disconnected.",
		"login connected? login? disconnected? connected? disconnected.", // the old one's end is told first
		"login connected? login? connected? disconnected? disconnected.", // the new one's beginning is
		"login connected? login? connected? disconnected? login? connected? disconnected? disconnected.",
		"connected. disconnected. login disconnected? connected? disconnected.", // ends of before
	} {
		p := aclPlugin(t, config{})
		c := client("")
		for i, step := range strings.Fields(story) {
			switch strings.TrimRight(step, "?.") {
			case "login":
				p.clients.loggedIn(c, &token{})
			case "connected":
				_ = p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: c})
			case "disconnected":
				_ = p.OnClientDisconnected(t.Context(), &sdk.ClientDisconnectedRequest{Clientinfo: c})
			}
			if known := p.clients.token(c) != nil; known != !strings.HasSuffix(step, ".") {
				t.Errorf("%s: after step %d: known %v", story, i+1, known)
			}
		}
	}
}

// Without a port: who takes a client's place without a token, let in by another provider, has no part in
// what the token allows; one who is not let in takes nothing away.
func TestAPlaceTakenWithoutAToken(t *testing.T) {
	t.Parallel()
	p := aclPlugin(t, config{NoToken: "ignore"})
	c := client(good(t, claims{"acl": map[string]any{"all": []string{"#"}}}))
	if got := login(t, p.plugin, c); got != "allow" {
		t.Fatal(got)
	}
	_ = p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: c})
	if got := login(t, p.plugin, client("a password")); got != "ignore" {
		t.Fatal(got)
	}
	if got := p.may(t, c, "publish", "x"); got != "allow" {
		t.Errorf("after somebody has tried: %s", got)
	}
	_ = p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: c})
	_ = p.OnClientDisconnected(t.Context(), &sdk.ClientDisconnectedRequest{Clientinfo: c})
	if got := p.may(t, c, "publish", "x"); got != "deny" {
		t.Errorf("somebody who was let in by another provider: %s", got)
	}
	if got := login(t, p.plugin, c); got != "allow" {
		t.Fatal(got)
	}
	_ = p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: c})
	if got := p.may(t, c, "publish", "x"); got != "allow" {
		t.Errorf("with a token again: %s", got)
	}
}

func TestClientsAreBounded(t *testing.T) {
	t.Parallel()
	p := aclPlugin(t, config{ACL: &aclConfig{MaxClients: 10}})
	for i := range 1000 {
		p.clients.loggedIn(&sdk.ClientInfo{Clientid: fmt.Sprint(i)}, &token{})
	}
	if n := p.clients.seen.Len(); n != 10 {
		t.Errorf("%d kept", n)
	}
	if got := p.may(t, &sdk.ClientInfo{Clientid: "1"}, "publish", "x"); got != "deny" {
		t.Errorf("who was pushed out: %s", got)
	}
}
