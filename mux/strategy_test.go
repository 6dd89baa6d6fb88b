package mux

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// voter is a provider that answers at its time; no two have the same.
type voter struct {
	script
	at time.Duration
}

// vote is what counts of its answer.
func (v voter) vote() Verdict {
	switch {
	case v.fails && v.policy == Ignore || !v.fails && v.typ == ignore:
		return VerdictIgnore
	case v.fails && v.policy == Allow || !v.fails && v.allowed:
		return VerdictAllow
	}
	return VerdictDeny
}

// strategyModel is what All and Any answer, when, and who was still needed then.
func strategyModel(s Strategy, voters []voter, fallback *bool) (answer *exhookv3.ValuedResponse, at time.Duration) {
	decisive, other := VerdictDeny, VerdictAllow
	if s == Any {
		decisive, other = other, decisive
	}
	final, found := true, VerdictIgnore
	for _, v := range slices.SortedFunc(slices.Values(voters), func(a, b voter) int { return int(a.at - b.at) }) {
		at = v.at
		if v.vote() == VerdictAllow && (v.fails || v.typ != stop) {
			final = false
		}
		if v.vote() == decisive {
			found = decisive
			break
		} else if v.vote() == other {
			found = other
		}
	}
	switch {
	case found == VerdictDeny || found == VerdictAllow && final:
		return unmarshalled(boolAnswer(stop, found == VerdictAllow)), at
	case found == VerdictAllow:
		return unmarshalled(boolAnswer(cont, true)), at
	case fallback != nil:
		return unmarshalled(boolAnswer(cont, *fallback)), at
	}
	return &exhookv3.ValuedResponse{Type: ignore}, at
}

func unmarshalled(b []byte) *exhookv3.ValuedResponse {
	r := new(exhookv3.ValuedResponse)
	if err := proto.Unmarshal(b, r); err != nil {
		panic(err)
	}
	return r
}

func TestAllAndAny(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.SampledFrom([]Hook{ClientAuthenticate, ClientAuthorize}).Draw(rt, "hook")
		s := rapid.SampledFrom([]Strategy{All, Any}).Draw(rt, "strategy")
		scripts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) script {
			return script{
				typ: exhookv3.ValuedResponse_ResponsedType(rapid.IntRange(0, 2).Draw(rt, "type")), fails: rapid.IntRange(0, 4).Draw(rt, "fails") == 0,
				policy: Policy(rapid.IntRange(0, 2).Draw(rt, "policy")), allowed: rapid.Bool().Draw(rt, "allowed"),
			}
		}), 0, 5).Draw(rt, "providers")
		var order []int
		for i := range scripts {
			order = append(order, i)
		}
		order = rapid.Permutation(order).Draw(rt, "order")
		var voters []voter
		for i, sc := range scripts {
			voters = append(voters, voter{sc, time.Duration(order[i]+1) * time.Millisecond})
		}
		var fallback *bool
		opts := Options{Defaults: map[Hook]bool{}}
		opts.Strategy[h] = s
		if d := rapid.IntRange(0, 2).Draw(rt, "default"); d > 0 {
			allow := d == 1
			fallback, opts.Defaults[h] = &allow, allow
		}

		var got []byte
		var took time.Duration
		var decision Decision
		var canceled []bool
		missing := make([]int64, len(voters))
		synctest.Test(t, func(t *testing.T) { // a goroutine in which rt cannot fail
			opts.Recorder = &recorder{decided: func(d *Decision) { decision = *d }}
			var providers []*Provider
			gaveUp := make([]bool, len(voters))
			for i, v := range voters {
				spec := Spec{Name: fmt.Sprint(i), Breaker: BreakerSpec{Failures: 1}}
				spec.OnFailure[h] = Always(v.policy)
				providers = append(providers, newProvider(t, spec, &fake{decide: func(ctx context.Context, h Hook, _ []byte) ([]byte, error) {
					select {
					case <-time.After(v.at):
						return v.answer(h, true, nil)
					case <-ctx.Done():
						gaveUp[i] = true
						return nil, ctx.Err()
					}
				}}, wants(h)...))
			}
			m := newMux(opts, providers...)
			start := time.Now()
			got = m.Dispatch(t.Context(), question(t, h))
			took = time.Since(start)
			synctest.Wait()
			canceled = slices.Clone(gaveUp) // the test's end ends every context
			for i, p := range providers {
				missing[i] = p.Stats().Missing[ReasonError].Load() + p.Stats().Missing[ReasonCanceled].Load()
				if canceled[i] && p.Breaker(h) != "closed" {
					t.Errorf("the breaker of %d, which was not waited for, is %s", i, p.Breaker(h))
				}
			}
		})
		want, at := strategyModel(s, voters, fallback)
		if answer := unmarshalled(got); !proto.Equal(answer, want) || took != at {
			rt.Fatalf("%s: answer %v after %s, want %v after %s", s, answer, took, want, at)
		}
		for i, v := range voters {
			a := decision.Asked[i]
			counted := v.at <= at
			if canceled[i] == counted || a.Unneeded == counted || (missing[i] == 1) != (counted && v.fails) {
				rt.Fatalf("provider %d, of %s, decided at %s: canceled %t, missing %d, %+v", i, v.at, at, canceled[i], missing[i], a)
			}
			if counted && (a.Took != v.at || (a.Reason == ReasonError) != v.fails || !v.fails && a.Verdict != v.vote()) {
				rt.Fatalf("recorded %+v of %+v", a, v)
			}
		}
	})
}

// The providers are asked about the decision as the broker sent it.
func TestAllAndAnyAskEverybodyTheSame(t *testing.T) {
	t.Parallel()
	for _, s := range []Strategy{All, Any} {
		conns := []*fake{says(boolAnswer(cont, s == All)), says(ignoreResponse), says(boolAnswer(cont, s == All))}
		var providers []*Provider
		for _, c := range conns {
			providers = append(providers, newProvider(t, Spec{}, c, wants(ClientAuthorize)...))
		}
		var opts Options
		opts.Strategy[ClientAuthorize] = s
		ev := question(t, ClientAuthorize)
		newMux(opts, providers...).Dispatch(t.Context(), ev)
		for i, c := range conns {
			if calls := c.calls(); len(calls) != 1 || string(calls[0].req) != string(ev.Body) {
				t.Errorf("%s: provider %d got %v", s, i, calls)
			}
		}
	}
}

// An allowance is as final as those who made it, a denial always is.
func TestWhatIsFinal(t *testing.T) {
	t.Parallel()
	plain, final, no := boolAnswer(cont, true), boolAnswer(stop, true), boolAnswer(cont, false)
	for _, tt := range []struct {
		strategy Strategy
		answers  [][]byte // in the order in which they come
		want     []byte
	}{
		{All, [][]byte{final, final, ignoreResponse}, final},
		{All, [][]byte{plain, final}, plain},
		{All, [][]byte{final, plain}, plain},
		{All, [][]byte{final, no}, boolAnswer(stop, false)},
		{Any, [][]byte{final, plain}, final},
		{Any, [][]byte{plain, final}, plain},
		{Any, [][]byte{no, no}, boolAnswer(stop, false)},
	} {
		synctest.Test(t, func(t *testing.T) {
			var opts Options
			opts.Strategy[ClientAuthorize] = tt.strategy
			var providers []*Provider
			for i, a := range tt.answers {
				providers = append(providers, newProvider(t, Spec{}, takes(time.Duration(i)*time.Millisecond, a), wants(ClientAuthorize)...))
			}
			if got := newMux(opts, providers...).Dispatch(t.Context(), question(t, ClientAuthorize)); !proto.Equal(unmarshalled(got), unmarshalled(tt.want)) {
				t.Errorf("%s of %x: answer %v, want %v", tt.strategy, tt.answers, unmarshalled(got), unmarshalled(tt.want))
			}
		})
	}
}

// A message goes from one to the next, whatever the options say.
func TestMessagesAreOnlyChained(t *testing.T) {
	t.Parallel()
	var opts Options
	opts.Strategy[MessagePublish] = Any
	dropped := proto.CloneOf(theMessage)
	dropped.Headers[allowPublishHeader] = "false"
	m := newMux(opts,
		newProvider(t, Spec{}, says(messageAnswer(cont, theMessage)), wants(MessagePublish)...),
		newProvider(t, Spec{}, says(messageAnswer(stop, dropped)), wants(MessagePublish)...))
	got := unmarshalled(m.Dispatch(t.Context(), question(t, MessagePublish)))
	if got.Type != stop || got.GetMessage().GetHeaders()[allowPublishHeader] != "false" {
		t.Errorf("answer %v", got)
	}
}

// A bug of our own denies also where it happens beside the others.
func TestBugInAGoroutineRefuses(t *testing.T) {
	t.Parallel()
	var opts Options
	opts.Strategy[ClientAuthorize] = Any
	broken := newProvider(t, Spec{}, &fake{}, wants(ClientAuthorize)...)
	broken.slots = nil
	m := newMux(opts, broken, newProvider(t, Spec{}, &fake{}, wants(ClientAuthorize)...))
	got := unmarshalled(m.Dispatch(t.Context(), question(t, ClientAuthorize)))
	if got.Type != stop || got.GetBoolResult() {
		t.Errorf("answer %v, want a refusal", got)
	}
}
