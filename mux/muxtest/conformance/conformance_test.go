package conformance_test

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sdk" {
		sdk.Serve(good{})
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "sdk-batches" {
		sdk.Serve(batches{})
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "faulty" {
		faulty{fault: os.Args[2]}.serve()
		return
	}
	goleak.VerifyTestMain(m)
}

// good is a plugin that passes.
type good struct{}

func (good) OnClientAuthenticate(_ context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	return sdk.Allow, nil
}

func (good) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	return sdk.Pass, nil
}

func (good) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error { return nil }

// batches is one that passes, too: everything comes in batches.
type batches struct{}

func (batches) BatchHooks() []sdk.Hook {
	return []sdk.Hook{sdk.ClientAuthenticate, sdk.ClientConnected, sdk.MessagePublish, sdk.MessageDelivered}
}

func (batches) OnBatch(context.Context, []*sdk.BatchEvent) error { return nil }

func run(t *testing.T, o conformance.Options) *conformance.Report {
	t.Helper()
	if testing.Verbose() {
		var before *conformance.Check
		o.Done = func(c conformance.Check) { conformance.WriteCheck(os.Stderr, before, c); before = &c }
	}
	r, err := conformance.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoodPlugin(t *testing.T) {
	t.Parallel()
	for _, plugin := range []string{"sdk", "sdk-batches"} {
		r := run(t, conformance.Options{Command: append(muxtest.Command(t), plugin)})
		for _, c := range r.Checks {
			if c.Outcome != conformance.OK {
				t.Errorf("%s: %s: %s: %s %s", plugin, c.Section, c.Name, c.Outcome, c.Text)
			}
		}
	}
}
