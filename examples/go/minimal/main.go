// Minimal refuses every message to a topic under "forbidden/".
package main

import (
	"context"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct{}

func (plugin) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	if r.GetType() == sdk.Publish && sdk.Covers("forbidden/#", r.GetTopic()) {
		return sdk.Deny.Final(), nil
	}
	return sdk.NoOpinion, nil
}

func main() { sdk.Serve(plugin{}) }
