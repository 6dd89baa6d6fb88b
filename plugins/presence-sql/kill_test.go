package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// Whoever is killed, each connection that was told has one row, and its end if that was told.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		s := targets.NewPostgres(t)
		killAndLook(t, s.URL, func() { s.Kill(t) }, func() { s.Start(t) })
	})
	t.Run("SQLite", func(t *testing.T) {
		killAndLook(t, "sqlite:"+filepath.Join(t.TempDir(), "presence.db"), func() {}, func() {})
	})
}

// killAndLook has clients that connect with an even number and go with the odd one behind it.
func killAndLook(t *testing.T, url string, kill, restart func()) {
	t.Helper()
	answered := plugintest.Trouble(t, fmt.Sprintf("config: {url: %q}", url), kill, restart, func(b *muxtest.Broker, client string, n int) bool {
		info := &sdk.ClientInfo{Node: b.Node, Clientid: client, Peerhost: "10.0.0.1", Peerport: uint32(n/2 + 1)}
		meta := &sdk.RequestMeta{Node: b.Node}
		hook, request := mux.ClientConnected, proto.Message(&sdk.ClientConnectedRequest{Clientinfo: info, Meta: meta})
		if n%2 == 1 {
			hook, request = mux.ClientDisconnected, &sdk.ClientDisconnectedRequest{Clientinfo: info, Reason: "normal", Meta: meta}
		}
		body, err := proto.Marshal(request)
		if err != nil {
			panic(err)
		}
		_, err = b.Call(b.API.FullMethod(hook), client, body)
		return err == nil
	})
	var wrong []string
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // the pause of a poll
		if wrong = wrongRows(t, url, answered); len(wrong) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%d are wrong, such as %v", len(wrong), wrong[:min(len(wrong), 5)])
	}
}

func wrongRows(t *testing.T, url string, answered map[string][]int) (wrong []string) {
	t.Helper()
	rows, _ := stored(t, url)
	type place struct {
		client string
		port   uint32
	}
	found := make(map[place][]*connection)
	for _, c := range rows {
		p := place{c.client, c.peerport}
		found[p] = append(found[p], c)
	}
	for client, ns := range answered {
		for _, n := range ns {
			rows := found[place{client, uint32(n/2 + 1)}]
			begins, ends := n%2 == 0, slices.Contains(ns, n|1)
			switch {
			case len(rows) != 1:
				wrong = append(wrong, fmt.Sprintf("%s %d: %d rows", client, n, len(rows)))
			case begins && rows[0].connected.IsZero(), ends && (rows[0].disconnected.IsZero() || rows[0].inferred || rows[0].reason != "normal"):
				wrong = append(wrong, fmt.Sprintf("%s %d: %v", client, n, rows[0]))
			}
		}
	}
	return wrong
}
