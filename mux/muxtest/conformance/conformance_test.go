package conformance_test

import (
	"context"
	"errors"
	"os"
	"strings"
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
	if len(os.Args) > 1 && os.Args[1] == "sdk-away" {
		sdk.Serve(away{})
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

// away has nothing of what it needs.
type away struct{}

func (away) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error {
	return sdk.Unavailable(errors.New("no database"))
}

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

// A plugin without its database is no bad plugin, on either app protocol.
func TestPluginWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	checks := []string{"every hook", "garbage", "many at once"}
	r := run(t, conformance.Options{Command: append(muxtest.Command(t), "sdk-away"), Only: checks})
	if len(r.Checks) != 2*len(checks) {
		t.Errorf("%d checks: %+v", len(r.Checks), r.Checks)
	}
	for _, c := range r.Checks {
		if c.Outcome == conformance.Failed || c.Name == "every hook" && !strings.Contains(c.Text, "no database") {
			t.Errorf("%s: %s: %s %s", c.Section, c.Name, c.Outcome, c.Text)
		}
	}
}
