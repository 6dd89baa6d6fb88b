package mux

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestPureProvidersCostTheTimeOfOne(t *testing.T) {
	t.Parallel()
	moved := proto.CloneOf(theMessage)
	moved.Payload = []byte("new")
	yes, no := true, false
	pass, change := ignoreResponse, messageAnswer(cont, moved)
	type link struct {
		pure   *bool // in the config
		says   bool  // declared
		answer []byte
		calls  int
	}
	for name, tt := range map[string]struct {
		chain []link
		took  time.Duration
	}{
		"none is":                       {[]link{{answer: pass, calls: 1}, {answer: pass, calls: 1}}, 200 * time.Millisecond},
		"four that pass":                {[]link{{&yes, false, pass, 1}, {&yes, false, pass, 1}, {nil, true, pass, 1}, {nil, true, pass, 1}}, 100 * time.Millisecond},
		"the first need not be":         {[]link{{answer: pass, calls: 1}, {says: true, answer: pass, calls: 1}}, 100 * time.Millisecond},
		"the second is not":             {[]link{{says: true, answer: pass, calls: 1}, {answer: pass, calls: 1}, {says: true, answer: pass, calls: 1}}, 200 * time.Millisecond},
		"the config overrules it":       {[]link{{answer: pass, calls: 1}, {&no, true, pass, 1}}, 200 * time.Millisecond},
		"who comes behind a change":     {[]link{{says: true, answer: change, calls: 1}, {says: true, answer: pass, calls: 2}, {says: true, answer: pass, calls: 2}}, 200 * time.Millisecond},
		"a change that changes nothing": {[]link{{says: true, answer: change, calls: 1}, {says: true, answer: change, calls: 2}, {says: true, answer: pass, calls: 2}}, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var providers []*Provider
				for _, l := range tt.chain {
					providers = append(providers, newProvider(t, Spec{Pure: l.pure}, takes(100*time.Millisecond, l.answer), HookSpec{Hook: MessagePublish, Pure: l.says}))
				}
				start := time.Now()
				newMux(Options{}, providers...).Dispatch(t.Context(), question(t, MessagePublish))
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				for i, p := range providers {
					if n := len(p.link.Load().conn.(*fake).calls()); n != tt.chain[i].calls {
						t.Errorf("provider %d was asked %d times, want %d", i, n, tt.chain[i].calls)
					}
				}
			})
		})
	}
}

// Whoever is asked for nothing is not blamed, and only what counts is counted.
func TestPureProviderThatIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := hangs()
		quick := newProvider(t, Spec{Name: "quick"}, takes(time.Millisecond, boolAnswer(stop, false)), wants(ClientAuthorize)...)
		slow := newProvider(t, Spec{Name: "slow", Breaker: BreakerSpec{Failures: 1}}, conn, HookSpec{Hook: ClientAuthorize, Pure: true})
		var recorded []string
		m := newMux(Options{Recorder: &recorder{decided: func(d *Decision) { recorded = say(d) }}}, quick, slow)
		start := time.Now()
		got := unmarshalled(m.Dispatch(t.Context(), question(t, ClientAuthorize)))
		if took := time.Since(start); took != time.Millisecond || got.Type != exhookv3.ValuedResponse_STOP_AND_RETURN {
			t.Errorf("answer %v after %s", got, took)
		}
		synctest.Wait()
		if n := slow.Stats().Missing[ReasonCanceled].Load(); n != 0 || slow.Breaker(ClientAuthorize) != "closed" || len(conn.calls()) != 1 {
			t.Errorf("canceled %d, breaker %s, asked %d times", n, slow.Breaker(ClientAuthorize), len(conn.calls()))
		}
		if len(recorded) != 2 {
			t.Errorf("recorded %q", recorded)
		}
	})
}

func TestDeclaredPure(t *testing.T) {
	t.Parallel()
	specs, err := ParseLoaded(marshal(t, &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{
		{Name: "client.authorize", Pure: true}, {Name: "client.authenticate"}, {Name: "client.connected", Pure: true},
	}}))
	if err != nil || len(specs) != 3 || !specs[0].Pure || specs[1].Pure || specs[2].Pure {
		t.Errorf("%+v, %v", specs, err)
	}
	// The broker is not told of it.
	m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, specs...))
	for _, h := range unmarshal[exhookv3.LoadedResponse](t, m.Load(t.Context(), V3, nil)).Hooks {
		if h.Pure {
			t.Errorf("the broker is told %v", h)
		}
	}
}

func TestPureProvidersAndABrokerThatGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var providers []*Provider
		for range 3 {
			providers = append(providers, newProvider(t, Spec{}, hangs(), HookSpec{Hook: ClientAuthorize, Pure: true}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		got := unmarshalled(newMux(Options{}, providers...).Dispatch(ctx, question(t, ClientAuthorize)))
		if took := time.Since(start); took != 0 || got.GetBoolResult() {
			t.Errorf("answer %v after %s", got, took)
		}
	})
	synctest.Test(t, func(t *testing.T) { // with policies that let it go on
		var providers []*Provider
		for range 3 {
			spec := Spec{}
			spec.OnFailure[ClientAuthorize] = Always(Ignore)
			providers = append(providers, newProvider(t, spec, hangs(), HookSpec{Hook: ClientAuthorize, Pure: true}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		start := time.Now()
		newMux(Options{}, providers...).Dispatch(ctx, question(t, ClientAuthorize))
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}
