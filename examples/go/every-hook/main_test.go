package main

import (
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestEveryHook(t *testing.T) {
	t.Parallel()
	h, err := sdk.NewHandler(plugin{})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := h.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{})
	if err != nil || len(loaded.GetHooks()) != 20 {
		t.Errorf("it wants %d hooks of 20: %v", len(loaded.GetHooks()), err)
	}
	if a, err := (plugin{}).OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{}); a != sdk.NoOpinion || err != nil {
		t.Error(a, err)
	}
}
