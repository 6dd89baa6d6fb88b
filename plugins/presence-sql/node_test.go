package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// A node that has crashed and started again has lost all connections that it had. It tells so
// by its uptime, and only what was before counts, however late it is told and how often.
func TestNodeRestarts(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		_, h := newPlugin(t, url)
		begin := func(client, node string, seconds int) {
			t.Helper()
			c := change{endpoint: endpoint{clientID{"", client}, node, "10.0.0.1", 7}, event: fmt.Sprint(client, node, seconds), at: at(seconds), begins: true}
			if err := tell(t.Context(), h, c); err != nil {
				t.Error(err)
			}
		}
		loaded := func(node string, seconds, uptime int) {
			t.Helper()
			if _, err := h.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{
				Broker: &sdk.BrokerInfo{Datetime: at(seconds).Format(time.RFC3339Nano), Uptime: int64(uptime) * 1000}, Meta: &sdk.RequestMeta{Node: node},
			}); err != nil {
				t.Error(err)
			}
		}
		loaded("n1", 5, 2)
		begin("a", "n1", 10)
		begin("b", "n1", 11)
		begin("c", "n2", 12)
		begin("b", "n1", 22) // after the node has started at 20
		loaded("n1", 21, 1)
		loaded("n2", 30, 300) // hookmux was registered anew
		begin("late", "n1", 13)
		loaded("n1", 21, 1) // a plugin that starts anew is told again
		loaded("hookmux", 500, 0)
		online := func() []string { _, o := stored(t, url); return o }
		plugintest.Eventually(t, "b and c are online", func() bool { return slices.Equal(online(), []string{"b", "c"}) })
		all, _ := stored(t, url)
		want := []string{
			`a n1:7 10s…20s "node restarted" true`, `b n1:7 11s…20s "node restarted" true`, `b n1:7 22s…- "" false`,
			`c n2:7 12s…- "" false`, `late n1:7 13s…20s "node restarted" true`,
		}
		want[1] = `b n1:7 11s…22s "superseded" true` // which was known first
		if got := texts(all); !slices.Equal(got, want) {
			t.Errorf("%s", strings.Join(got, "\n"))
		}
	})
}

// The clocks of a node and of hookmux may be apart, and be set: only what was connected before the node
// started is ended.
func TestNodeClocks(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		p, h := newPlugin(t, url)
		loaded := func(node string, here, there, uptime int) {
			t.Helper()
			p.now = func() time.Time { return at(here) }
			if _, err := h.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{
				Broker: &sdk.BrokerInfo{Datetime: at(there).Format(time.RFC3339Nano), Uptime: int64(uptime) * 1000}, Meta: &sdk.RequestMeta{Node: node},
			}); err != nil {
				t.Error(err)
			}
		}
		begin := func(client, node string, seconds int) {
			t.Helper()
			c := change{endpoint: endpoint{clientID{"", client}, node, "10.0.0.1", 7}, event: client, at: at(seconds), begins: true}
			if err := tell(t.Context(), h, c); err != nil {
				t.Error(err)
			}
		}
		loaded("ahead", 103, 113, 3)
		begin("a", "ahead", 104)
		begin("crash", "ahead", 110)
		loaded("set", 103, 103, 3)
		begin("b", "set", 104)
		loaded("set", 203, 323, 103)  // forward, and hookmux is registered anew
		loaded("set", 303, 223, 203)  // and back
		loaded("behind", 400, 10, 50) // its clock is behind
		begin("c", "behind", 401)
		begin("last", "ahead", 411)   // for what comes next has an effect that can be waited for
		loaded("ahead", 420, 430, 10) // it has crashed, and runs since 410
		plugintest.Eventually(t, "the crash is stored", func() bool { _, online := stored(t, url); return !slices.Contains(online, "crash") })
		if _, online := stored(t, url); !slices.Equal(online, []string{"b", "c", "last"}) {
			t.Errorf("online: %q", online)
		}
	})
}

// Texts are stored as they are, whatever is in them; what a database does not take fails alone.
func TestHostileValues(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		p, h := newPlugin(t, url)
		long := strings.Repeat("é", 32_767)
		clients := []string{"plain", `'); DROP TABLE mqtt_sessions; -- \`, long, long + "x", "日本\t\r\n", "a\x00b"}
		errs := make(chan error, len(clients))
		for _, id := range clients {
			go func() {
				_, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: &sdk.ClientInfo{Clientid: id, Username: id, Password: "canary"}})
				errs <- err
			}()
		}
		var failed []string
		for range clients {
			if err := <-errs; err != nil {
				failed = append(failed, err.Error())
			}
		}
		want := slices.Clone(clients)
		if p.table.db.Kind == "PostgreSQL" {
			want = want[:len(want)-1]
			if len(failed) != 1 || !strings.Contains(failed[0], "has no text with a NUL") {
				t.Errorf("failed: %.300q", failed)
			}
		} else if len(failed) > 0 {
			t.Errorf("failed: %.300q", failed)
		}
		all, _ := stored(t, url)
		var got []string
		for _, c := range all {
			got = append(got, c.client)
			if c.username != c.client {
				t.Errorf("%.30q has the username %.30q", c.client, c.username)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%.60q, want %.60q", got, want)
		}
	})
}

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                                  "url: is missing",
		`{"url": "redis://u:canary@h"}`:       "url: does not begin with",
		`{"url": "sqlite:x", "table": "a b"}`: `table: "a b" is no name`,
		`{"url": "sqlite:x", "view": "a;b"}`:  `view: "a;b" is no name`,
		fmt.Sprintf(`{"url": "sqlite:%s", "create_table": false}`, filepath.Join(t.TempDir(), "x.db")): "no such table: mqtt_",
	} {
		p := &plugin{config: defaults()}
		plugintest.Configure(t, config, &p.config)
		err := p.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
