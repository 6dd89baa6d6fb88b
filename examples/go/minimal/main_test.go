package main

import (
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestForbidden(t *testing.T) {
	t.Parallel()
	if _, err := sdk.NewHandler(plugin{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		request *sdk.ClientAuthorizeRequest
		want    sdk.Access
	}{
		{&sdk.ClientAuthorizeRequest{Type: sdk.Publish, Topic: "forbidden/x"}, sdk.Deny.Final()},
		{&sdk.ClientAuthorizeRequest{Type: sdk.Publish, Topic: "forbidden"}, sdk.Deny.Final()},
		{&sdk.ClientAuthorizeRequest{Type: sdk.Publish, Topic: "allowed/x"}, sdk.NoOpinion},
		{&sdk.ClientAuthorizeRequest{Type: sdk.Subscribe, Topic: "forbidden/x"}, sdk.NoOpinion},
	} {
		if got, err := (plugin{}).OnClientAuthorize(t.Context(), tt.request); got != tt.want || err != nil {
			t.Errorf("%v: %s %v, want %s", tt.request, got, err, tt.want)
		}
	}
}
