package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestPresence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "presence.jsonl")
	p := &plugin{config: config{File: file}}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	client := func(id string, port uint32) *sdk.ClientInfo { return &sdk.ClientInfo{Clientid: id, Peerport: port} }
	// The session of a is taken over: the new connection is seen before the
	// old one's end.
	for _, step := range []func() error{
		func() error {
			_, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: client("a", 1)})
			return err
		},
		func() error {
			_, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: client("b", 2)})
			return err
		},
		func() error {
			_, err := h.OnSessionTakenover(t.Context(), &sdk.SessionTakenoverRequest{Clientinfo: client("a", 1)})
			return err
		},
		func() error {
			_, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: client("a", 3)})
			return err
		},
		func() error {
			_, err := h.OnClientDisconnected(t.Context(), &sdk.ClientDisconnectedRequest{Clientinfo: client("a", 1), Reason: "takenover"})
			return err
		},
		func() error {
			_, err := h.OnSessionSubscribed(t.Context(), &sdk.SessionSubscribedRequest{Clientinfo: client("a", 3), Topic: "t/#"})
			return err
		},
		func() error {
			_, err := h.OnClientDisconnected(t.Context(), &sdk.ClientDisconnectedRequest{Clientinfo: client("b", 2), Reason: "normal"})
			return err
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var online []int
	for line := range strings.Lines(string(raw)) {
		var c change
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(c.Event+" "+c.Client+" "+c.Detail))
		online = append(online, c.Online)
	}
	want := "connected a|connected b|taken over a|connected a|disconnected a takenover|subscribed a t/#|disconnected b normal"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	for i, n := range []int{1, 2, 2, 3, 2, 2, 1} {
		if online[i] != n {
			t.Errorf("online %v", online)
			break
		}
	}
}

func TestWithoutAFile(t *testing.T) {
	t.Parallel()
	p := &plugin{}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{}); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (&plugin{config: config{File: t.TempDir()}}).Start(t.Context()); err == nil {
		t.Error("a folder as the file: no error")
	}
}
