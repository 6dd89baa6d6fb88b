package mux

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// takeOver puts conn in the place of p's connection, under another Spec.
func takeOver(t testing.TB, m *Mux, p *Provider, spec Spec, conn Conn, declared ...HookSpec) (next *Provider, l *Link) {
	t.Helper()
	next = p.With(spec)
	l = next.NewLink(conn, declared)
	if err := next.StartWith(l); err != nil {
		t.Fatal(err)
	}
	m.SetProviders([]*Provider{next})
	return next, l
}

// connection is the Link that p has now.
func connection(p *Provider) *Link { return p.current().link.Load().Link }

func settled(l *Link) bool {
	select {
	case <-l.Settled():
		return true
	default:
		return false
	}
}

func disconnect(t testing.TB, m *Mux, client string, numbers ...int) {
	for _, n := range numbers {
		m.Dispatch(t.Context(), event(t, client, n))
	}
}

// clientElsewhere is a client that is not in client's shard.
func clientElsewhere(t testing.TB, p *Provider, client string) (other string) {
	for other = client; ; other += "x" {
		one, another := event(t, client, 1), event(t, other, 1)
		if p.lane.shard(&one) != p.lane.shard(&another) {
			return other
		}
	}
}

// A client's notifications go to the new process once the old one has handled
// what it has of that client, and not before; other clients' go at once.
func TestTakeOverKeepsTheOrderPerClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, third := new(fakeStream), new(fakeStream), new(fakeStream)
		p := newProvider(t, Spec{}, first, wants(ClientDisconnected)...)
		m := newMux(Options{}, p)
		disconnect(t, m, "a", 1, 2)
		old := connection(p)
		p, l := takeOver(t, m, p, Spec{}, second, wants(ClientDisconnected)...)
		disconnect(t, m, "a", 3, 4)
		other := clientElsewhere(t, p, "a")
		disconnect(t, m, other, 1)
		synctest.Wait()
		if a, b := second.handled(t, "a"), second.handled(t, other); len(a) != 0 || !slices.Equal(b, numbers(1, 1)) {
			t.Errorf("before the old one has finished, the new one got %v and %v", a, b)
		}
		// And once more, while the first is not done.
		p, _ = takeOver(t, m, p, Spec{}, third, wants(ClientDisconnected)...)
		disconnect(t, m, "a", 5)
		second.replyToAll(nil)
		synctest.Wait()
		if settled(old) || !settled(l) {
			t.Errorf("the first is settled: %v, the second: %v", settled(old), settled(l))
		}
		if got := third.handled(t, "a"); len(got) != 0 {
			t.Errorf("the third got %v before the first had finished", got)
		}
		first.replyToAll(nil)
		synctest.Wait()
		if !settled(old) {
			t.Error("the first is not settled")
		}
		if got := third.handled(t, "a"); !slices.Equal(got, numbers(3, 5)) {
			t.Errorf("the third got %v", got)
		}
		third.replyToAll(nil)
		expectStats(t, p, 6, 6, nil)
	})
}

// The same with a connection that handles notifications one by one.
func TestTakeOverFromACallUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		first := &fake{notify: func(context.Context, Hook, []byte) error { <-release; return nil }}
		second := new(fakeStream)
		p := newProvider(t, Spec{}, first, wants(ClientDisconnected)...)
		m := newMux(Options{}, p)
		disconnect(t, m, "a", 1, 2)
		synctest.Wait()
		old := connection(p)
		p, _ = takeOver(t, m, p, Spec{}, second, wants(ClientDisconnected)...)
		synctest.Wait()
		if settled(old) || len(second.calls()) != 0 {
			t.Errorf("settled with a call under way: %v, or overtaken: %v", settled(old), second.calls())
		}
		close(release)
		synctest.Wait()
		if got := second.handled(t, "a"); !settled(old) || !slices.Equal(got, numbers(2, 2)) {
			t.Errorf("settled: %v; the new one got %v", settled(old), got)
		}
		second.replyToAll(nil)
		expectStats(t, p, 2, 2, nil)
	})
}

// What the old process dies with is lost and counted, and nobody waits for it.
func TestOldProcessDiesBeforeItHasFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := new(fakeStream), new(fakeStream)
		p := newProvider(t, Spec{}, first, wants(ClientDisconnected)...)
		m := newMux(Options{}, p)
		disconnect(t, m, "a", 1)
		old := connection(p)
		p, l := takeOver(t, m, p, Spec{}, second, wants(ClientDisconnected)...)
		disconnect(t, m, "a", 2)
		old.Down()
		synctest.Wait()
		if !settled(old) || settled(l) || !p.IsUp() {
			t.Errorf("old settled: %v, new settled: %v, up: %v", settled(old), settled(l), p.IsUp())
		}
		second.replyToAll(nil)
		expectStats(t, p, 2, 1, map[Reason]int64{ReasonDown: 1})
	})
}

// The new process may itself die while the old one finishes: order is kept.
func TestNewProcessDiesWhileTheOldOneFinishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, third := new(fakeStream), new(fakeStream)
		p := newProvider(t, Spec{}, first, wants(ClientDisconnected)...)
		m := newMux(Options{}, p)
		disconnect(t, m, "a", 1)
		p, l := takeOver(t, m, p, Spec{}, new(fakeStream), wants(ClientDisconnected)...)
		l.Down()
		disconnect(t, m, "a", 2)
		up(t, p, third, wants(ClientDisconnected)...)
		synctest.Wait()
		if got := third.calls(); len(got) != 0 {
			t.Errorf("the third overtook the first: %v", got)
		}
		first.replyToAll(nil)
		synctest.Wait()
		third.replyToAll(nil)
		expectStats(t, p, 2, 2, nil)
	})
}

// A decision under way ends over the old connection, which is settled after it.
func TestTakeOverFromADecisionUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{}, takes(time.Second, boolAnswer(stop, true)), wants(ClientAuthenticate)...)
		m := newMux(Options{}, p)
		answer := make(chan []byte)
		go func() { answer <- m.Dispatch(t.Context(), question(t, ClientAuthenticate)) }()
		synctest.Wait()
		old := connection(p)
		takeOver(t, m, p, Spec{}, says(boolAnswer(stop, false)), wants(ClientAuthenticate)...)
		if got := m.Dispatch(t.Context(), question(t, ClientAuthenticate)); string(got) != string(boolAnswer(stop, false)) {
			t.Errorf("the new one was not asked: % x", got)
		}
		synctest.Wait()
		if settled(old) {
			t.Error("settled with a decision under way")
		}
		if got := <-answer; string(got) != string(boolAnswer(stop, true)) {
			t.Errorf("the decision under way: % x", got)
		}
		<-old.Settled()
	})
}

// A provider under another Spec keeps its connection and what waits for it.
func TestAnotherSpecKeepsTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := fails(errors.New("broken"))
		var good atomic.Bool
		conn.decide = func(context.Context, Hook, []byte) ([]byte, error) {
			if good.Load() {
				return boolAnswer(stop, true), nil
			}
			return nil, errors.New("broken")
		}
		p := newProvider(t, Spec{Breaker: BreakerSpec{Failures: 1, Open: time.Hour}}, conn, wants(ClientAuthenticate, ClientDisconnected)...)
		m := newMux(Options{}, p)
		ask := func() bool {
			return string(m.Dispatch(t.Context(), question(t, ClientAuthenticate))) == string(boolAnswer(stop, true))
		}
		put := func(s Spec) {
			p = p.With(s)
			if err := p.Accepts(); err != nil {
				t.Error(err)
			}
			m.SetProviders([]*Provider{p})
		}
		link := connection(p)
		ask()
		good.Store(true)
		put(Spec{Breaker: p.spec.Breaker, Timeout: time.Second})
		if p.Breaker(ClientAuthenticate) != "open" || ask() {
			t.Error("the breaker was forgotten, though its settings did not change")
		}
		put(Spec{})
		if p.Breaker(ClientAuthenticate) != "closed" || !ask() {
			t.Error("the breaker keeps its old settings")
		}
		put(Spec{Hooks: wants(ClientDisconnected)})
		if got := m.Dispatch(t.Context(), question(t, ClientAuthenticate)); string(got) != string(ignoreResponse) {
			t.Errorf("asked about what the config no longer lists: % x", got)
		}
		put(Spec{})
		if !ask() {
			t.Error("not asked about what the config lists again")
		}
		if connection(p) != link {
			t.Error("it has another connection")
		}
		if err := p.With(Spec{Hooks: wants(ClientAuthorize)}).Accepts(); err == nil {
			t.Error("a hook that it does not declare was accepted")
		}
		p.Down()
		if p.IsUp() {
			t.Error("still up")
		}
	})
}

// Larger bounds and another policy let in who waits for room.
func TestAnotherSpecEndsTheWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Spec{Lane: LaneSpec{Events: 1, Overflow: Block}}, nil)
		m := newMux(Options{}, p)
		push(t, p, "a", 1)
		go push(t, p, "a", 2)
		synctest.Wait()
		m.SetProviders([]*Provider{p.With(Spec{Lane: LaneSpec{Events: 2}})})
		synctest.Wait()
		if n, _ := p.Waiting(); n != 2 {
			t.Errorf("%d wait, want both", n)
		}
	})
}

// A notification that is delivered while the broker waits does not overtake
// those that wait since delivery was async.
func TestSyncDoesNotOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{}, conn, wants(ClientDisconnected)...)
		m := newMux(Options{}, p)
		disconnect(t, m, "a", 1)
		p = p.With(Spec{Delivery: By(Sync)})
		m.SetProviders([]*Provider{p})
		disconnect(t, m, "a", 2)
		conn.replyToAll(nil)
		disconnect(t, m, "a", 3)
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 3)) {
			t.Errorf("handled %v", got)
		}
		expectStats(t, p, 3, 3, nil)
	})
}

// Who guards a hook moves from one provider to the other, and the default with
// them: no event sees half of a change.
func TestAnEventSeesAllOfAChangeOrNothing(t *testing.T) {
	t.Parallel()
	denies := says(boolAnswer(stop, false))
	a := newProvider(t, Spec{Name: "a"}, denies, wants(ClientAuthenticate)...)
	b := newProvider(t, Spec{Name: "b"}, denies, wants(ClientConnected, ClientAuthenticate)...)
	m := newMux(Options{}, a)
	stopped := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stopped:
					return
				default:
				}
				if got := m.Dispatch(t.Context(), question(t, ClientAuthenticate)); string(got) != string(boolAnswer(stop, false)) {
					t.Errorf("answered % x", got)
					return
				}
			}
		})
	}
	allow := map[Hook]bool{ClientAuthenticate: true}
	for range 500 {
		// a ignores it from now on; b guards it, over a new connection.
		a = a.With(Spec{Hooks: []HookSpec{}})
		b = b.With(Spec{})
		if err := b.StartWith(b.NewLink(denies, wants(ClientAuthenticate))); err != nil {
			t.Fatal(err)
		}
		m.Reconfigure(Options{Defaults: allow}, []*Provider{a, b})
		a = a.With(Spec{})
		b = b.With(Spec{})
		if err := b.StartWith(b.NewLink(denies, wants(ClientConnected))); err != nil {
			t.Fatal(err)
		}
		m.Reconfigure(Options{Defaults: allow}, []*Provider{b, a})
		m.Reconfigure(Options{}, []*Provider{a})
	}
	close(stopped)
	all.Wait()
}

// A provider comes up just when the config asks for a hook that it does not have:
// it is not served, and the hook is still decided by its failure policy.
func TestAnotherSpecWhileComingUp(t *testing.T) {
	t.Parallel()
	p := NewProvider(Spec{Name: "provider"}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { p.Close(t.Context()) })
	m := newMux(Options{}, p)
	next := p.With(Spec{Hooks: wants(ClientAuthorize)})
	p.mu.Lock()
	p.changed = func() {
		m.rebuild()
		m.SetProviders([]*Provider{next})
	}
	p.mu.Unlock()
	if err := p.Up(&fake{}, wants(ClientAuthenticate)); err == nil || next.IsUp() {
		t.Errorf("it is up: %v", err)
	}
	m.rebuild() // as when another provider comes up
	if got := m.Dispatch(t.Context(), question(t, ClientAuthorize)); string(got) != string(boolAnswer(stop, false)) {
		t.Errorf("answer % x", got)
	}
}
