package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/internal/sqldb"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) { plugintest.Main(m, main) }

// onEach runs a test with an empty database of each kind.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"PostgreSQL": func(t *testing.T) string { return targets.Postgres(t).URL },
		"MariaDB":    func(t *testing.T) string { return targets.MariaDB(t).URL },
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "presence.db") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, url(t))
		})
	}
}

func newPlugin(t *testing.T, url string) (*plugin, *plugintest.Plugin) {
	t.Helper()
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"url": %q}`, url), &p.config)
	return p, plugintest.New(t, p)
}

// stored is all that the table has, and who the view says is online.
func stored(t *testing.T, url string) (all []*connection, online []string) {
	t.Helper()
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT client, node, peerport, username, connected_at, disconnected_at, reason, inferred, coalesce(connect_event, '') FROM mqtt_sessions ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		c := new(connection)
		var connected, disconnected instant
		if err := rows.Scan(&c.client, &c.node, &c.peerport, &c.username, &connected, &disconnected, &c.reason, &c.inferred, &c.connectEvent); err != nil {
			t.Fatal(err)
		}
		c.connected, c.disconnected = connected.Time, disconnected.Time
		all = append(all, c)
	}
	view, err := db.QueryContext(t.Context(), `SELECT client FROM mqtt_online ORDER BY client`)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	for view.Next() {
		var client string
		if err := view.Scan(&client); err != nil {
			t.Fatal(err)
		}
		online = append(online, client)
	}
	return all, online
}

func TestUnderHookmux(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		h := plugintest.Run(t, fmt.Sprintf("timeout: 30s\nconfig: {url: %q}", url))
		meta := &sdk.RequestMeta{Node: "n1", ClusterName: "c"}
		client := func(id string, port uint32) *sdk.ClientInfo {
			return &sdk.ClientInfo{Node: "n1", Clientid: id, Username: "u-" + id, Peerhost: "10.0.0.1", Peerport: port, Protocol: "mqtt"}
		}
		for i := range 50 {
			id := fmt.Sprintf("c%02d", i)
			h.Event(t, mux.ClientConnected, id, &sdk.ClientConnectedRequest{Clientinfo: client(id, 1), Meta: meta})
			switch i % 3 {
			case 0:
				h.Event(t, mux.ClientDisconnected, id, &sdk.ClientDisconnectedRequest{Clientinfo: client(id, 1), Reason: "normal", Meta: meta})
			case 1: // taken over
				h.Event(t, mux.ClientConnected, id, &sdk.ClientConnectedRequest{Clientinfo: client(id, 2), Meta: meta})
				h.Event(t, mux.ClientDisconnected, id, &sdk.ClientDisconnectedRequest{Clientinfo: client(id, 1), Reason: "takenover", Meta: meta})
			}
		}
		h.Stop()
		if strings.Contains(h.Log(), targets.Password) {
			t.Error("the password is in the log")
		}
		all, online := stored(t, url)
		reasons := make(map[string]int)
		for _, c := range all {
			reasons[c.reason]++
			if c.connected.IsZero() || c.inferred || c.username != "u-"+c.client || c.disconnected.IsZero() != (c.reason == "") {
				t.Error(c)
			}
		}
		runQueries(t, url)
		if fmt.Sprint(reasons) != "map[:33 normal:17 takenover:17]" || len(online) != 33 || slices.Contains(online, "c00") {
			t.Errorf("%v, %d online: %v", reasons, len(online), online)
		}
	})
}

// runQueries runs those of the README.
func runQueries(t *testing.T, url string) {
	t.Helper()
	db, err := sqldb.Open(url, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	queries, err := os.ReadFile("testdata/queries.sql")
	if err != nil {
		t.Fatal(err)
	}
	for query := range strings.Lines(string(queries)) {
		rows, err := db.QueryContext(t.Context(), strings.TrimSuffix(query, ";\n"))
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
}

// What real brokers of three versions told is told again: every connection has an end, in
// the order of the begins, with the broker's reason.
func TestRecordedTraffic(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5.0.26", "5.8.8", "5.10.3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			url := "sqlite:" + filepath.Join(t.TempDir(), "presence.db")
			_, h := newPlugin(t, url)
			begins := 0
			for _, call := range muxtest.ReadRecording(t, filepath.Join("..", "..", "mux", "muxtest", "testdata", "emqx-recordings", version+".jsonl")) {
				var err error
				switch call.Method[strings.LastIndexByte(call.Method, '/')+1:] {
				case "OnProviderLoaded":
					r := new(sdk.ProviderLoadedRequest)
					if err = proto.Unmarshal(call.Request, r); err == nil {
						_, err = h.OnProviderLoaded(t.Context(), r)
					}
				case "OnClientConnected":
					begins++
					r := new(sdk.ClientConnectedRequest)
					if err = proto.Unmarshal(call.Request, r); err == nil {
						_, err = h.OnClientConnected(t.Context(), r)
					}
				case "OnClientDisconnected":
					r := new(sdk.ClientDisconnectedRequest)
					if err = proto.Unmarshal(call.Request, r); err == nil {
						_, err = h.OnClientDisconnected(t.Context(), r)
					}
				}
				if err != nil {
					t.Fatal(call.Method, err)
				}
			}
			all, online := stored(t, url)
			if len(all) != begins || len(online) > 0 {
				t.Errorf("%d rows of %d connections, online %v", len(all), begins, online)
			}
			var same []string
			for _, c := range all {
				if c.connected.IsZero() || c.disconnected.Before(c.connected) {
					t.Error(c)
				}
				if c.client == "same" {
					same = append(same, c.reason)
				}
			}
			if want := "takenover disconnect_with_will_message disconnect_with_will_message disconnect_with_will_message"; strings.Join(same, " ") != want {
				t.Errorf("the client that was taken over: %v", same)
			}
		})
	}
}

// Two hookmuxes with nodes of their own share the table. Clients move between the nodes, what the
// nodes tell is mixed and repeated, and the database is killed meanwhile: in the end every
// connection has its begin, its end and its reason.
func TestStorm(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(t *testing.T) (url string, restart func()){
		"PostgreSQL": func(t *testing.T) (string, func()) {
			s := targets.NewPostgres(t)
			return s.URL, func() { s.Kill(t); s.Start(t) }
		},
		"MariaDB": func(t *testing.T) (string, func()) {
			s := targets.NewMariaDB(t)
			return s.URL, func() { s.Kill(t); s.Start(t) }
		},
		"SQLite": func(t *testing.T) (string, func()) {
			return "sqlite:" + filepath.Join(t.TempDir(), "presence.db"), func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, restart := target(t)
			storm(t, url, restart)
		})
	}
}

func storm(t *testing.T, url string, restart func()) {
	const clients = 120
	_, one := newPlugin(t, url)
	_, two := newPlugin(t, url)
	var want []string
	var online []string
	feeds := make([][][]change, 2) // of each hookmux, of each client
	total := 0
	for i := range clients {
		client := fmt.Sprintf("client%03d", i)
		l := rapid.Custom(func(t *rapid.T) life { return drawLife(t, client, true) }).Example(i)
		want = append(want, texts(l.connections)...)
		if l.connections[len(l.connections)-1].disconnected.IsZero() {
			online = append(online, client)
		}
		for node, changes := range l.told {
			// What was handled comes again when hookmux starts anew.
			again := slices.Concat(changes, changes[len(changes)/2:])
			feeds[node%2] = append(feeds[node%2], again)
			total += len(again)
		}
	}
	var taken atomic.Int64
	var all sync.WaitGroup
	for i, h := range []*plugintest.Plugin{one, two} {
		all.Go(func() {
			if failed := plugintest.Deliver(t, feeds[i], 3000, func(ctx context.Context, c change) error {
				err := tell(ctx, h, c)
				if err == nil {
					taken.Add(1)
				}
				return err
			}); len(failed) > 0 {
				t.Errorf("%d were never taken, such as %v", len(failed), failed[0])
			}
		})
	}
	plugintest.Eventually(t, "half of them are stored", func() bool { return taken.Load() > int64(total)/2 })
	restart()
	all.Wait()
	rows, nowOnline := stored(t, url)
	slices.Sort(want)
	if got := texts(rows); !slices.Equal(got, want) {
		for _, g := range got {
			if !slices.Contains(want, g) {
				t.Errorf("got  %s", g)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("want %s", w)
			}
		}
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	if !slices.Equal(nowOnline, online) {
		t.Errorf("online %v, want %v", nowOnline, online)
	}
}

// tell tells a change as a durable event whose id says when it was.
func tell(ctx context.Context, h *plugintest.Plugin, c change) error {
	info := &sdk.ClientInfo{Node: c.node, Clientid: c.client, Username: c.username, Peerhost: c.peerhost, Peerport: c.peerport, Protocol: c.protocol}
	meta := &sdk.RequestMeta{Node: c.node, ClusterName: c.cluster}
	ctx = plugintest.WithID(ctx, eventID(c))
	var err error
	if c.begins {
		_, err = h.OnClientConnected(ctx, &sdk.ClientConnectedRequest{Clientinfo: info, Meta: meta})
	} else {
		_, err = h.OnClientDisconnected(ctx, &sdk.ClientDisconnectedRequest{Clientinfo: info, Reason: c.reason, Meta: meta})
	}
	return err
}
