package sdk_test

import (
	"context"
	"fmt"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// quota refuses clients that publish to other topics than their own.
type quota struct{}

func (quota) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	if r.GetType() == sdk.Publish && !sdk.Covers("devices/"+r.GetClientinfo().GetClientid()+"/#", r.GetTopic()) {
		return sdk.Deny.Final(), nil
	}
	return sdk.NoOpinion, nil
}

// A test of a plugin needs no process: NewHandler answers what the broker would
// be answered.
func ExampleNewHandler() {
	h, err := sdk.NewHandler(quota{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, topic := range []string{"devices/d1/up", "devices/d2/up"} {
		res, err := h.OnClientAuthorize(context.Background(), &sdk.ClientAuthorizeRequest{
			Clientinfo: &sdk.ClientInfo{Clientid: "d1"}, Type: sdk.Publish, Topic: topic,
		})
		fmt.Println(topic, res.GetType(), err)
	}
	// Output:
	// devices/d1/up IGNORE <nil>
	// devices/d2/up STOP_AND_RETURN <nil>
}
