package main

import (
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	p := &plugin{config{Users: map[string]string{"alice": "wonderland"}}}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, err := sdk.NewHandler(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user, password string
		allow          bool
		answer         string
	}{
		{"alice", "wonderland", true, "CONTINUE"},
		{"alice", "wonderlanD", false, "STOP_AND_RETURN"},
		{"alice", "", false, "STOP_AND_RETURN"},
		{"mallory", "wonderland", false, "CONTINUE"},
		{"mallory", "", false, "CONTINUE"},
		{"", "", false, "CONTINUE"},
	} {
		res, err := h.OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{
			Clientinfo: &sdk.ClientInfo{Username: tt.user, Password: tt.password},
		})
		if err != nil || res.GetBoolResult() != tt.allow || res.GetType().String() != tt.answer {
			t.Errorf("%s %s: %v %v", tt.user, tt.password, res, err)
		}
	}
}

func TestConfigNeedsUsers(t *testing.T) {
	t.Parallel()
	for _, users := range []map[string]string{nil, {"alice": ""}} {
		if err := (&plugin{config{Users: users}}).Start(t.Context()); err == nil {
			t.Errorf("%v: no error", users)
		}
	}
}
