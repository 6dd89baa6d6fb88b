package main

import (
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func example() *plugin {
	return &plugin{config{
		Rules: map[string][]string{"alice": {"#"}, "*": {"devices/%c/#", "users/%u/+"}},
		Raw:   []string{"sensors/+/raw"}, Unit: "°C",
		Drop: []string{"drop/#"}, Words: []string{"DROP TABLE"},
	}}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	p := example()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user, client, topic string
		want                sdk.Access
	}{
		{"alice", "c1", "any/thing", sdk.Allow},
		{"alice", "c1", "#", sdk.Allow},
		{"bob", "c1", "devices/c1/up", sdk.Allow},
		{"bob", "c1", "devices/c1/#", sdk.Allow},
		{"bob", "c1", "devices/c2/up", sdk.Deny.Final()},
		{"bob", "c1", "devices/+/up", sdk.Deny.Final()},
		{"bob", "c1", "#", sdk.Deny.Final()},
		{"bob", "c1", "users/bob/mail", sdk.Allow},
		{"bob", "c1", "users/bob/#", sdk.Deny.Final()},
		{"*", "c1", "devices/c1/up", sdk.Allow},
		{"", "c1", "users//mail", sdk.Deny.Final()},
		{"bob", "+", "devices/c1/up", sdk.Deny.Final()},
		{"bob", "#", "devices/#", sdk.Deny.Final()},
		{"bob", "c1/x", "devices/c1/x/up", sdk.Deny.Final()},
		{"%c", "alice", "users/alice/mail", sdk.Deny.Final()},
	} {
		got, err := p.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{
			Clientinfo: &sdk.ClientInfo{Username: tt.user, Clientid: tt.client}, Topic: tt.topic,
		})
		if got != tt.want || err != nil {
			t.Errorf("%s (%s) on %s: %s %v, want %s", tt.user, tt.client, tt.topic, got, err, tt.want)
		}
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	h, err := sdk.NewHandler(example())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ topic, payload, answer, allow, want string }{
		{"sensors/a/raw", "21.5", "CONTINUE", "", "21.5 °C"},
		{"sensors/a/log", "21.5", "IGNORE", "", ""},
		{"drop/a", "x", "STOP_AND_RETURN", "false", "x"},
		{"sensors/a/raw", "; DROP TABLE x", "STOP_AND_RETURN", "false", "; DROP TABLE x"},
	} {
		res, err := h.OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{
			Message: &sdk.Message{Topic: tt.topic, Payload: []byte(tt.payload)},
		})
		m := res.GetMessage()
		if err != nil || res.GetType().String() != tt.answer || m.GetHeaders()["allow_publish"] != tt.allow || string(m.GetPayload()) != tt.want {
			t.Errorf("%s %s: %v %v", tt.topic, tt.payload, res, err)
		}
	}
}

func TestTopicsAndConfig(t *testing.T) {
	t.Parallel()
	p := example()
	if len(p.Topics()) != 0 {
		t.Error("a word can be in any message, so no filters")
	}
	p.config.Words = nil
	if got := p.Topics()[sdk.MessagePublish]; len(got) != 2 {
		t.Errorf("filters %q", got)
	}
	for _, c := range []config{{Rules: map[string][]string{"*": {"a/#/b"}}}, {Words: []string{""}}} {
		if err := (&plugin{c}).Start(t.Context()); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}
