package mux

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func loadRequest(t testing.TB, node, version string) []byte {
	return marshal(t, &exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{Version: version}, Meta: &exhookv3.RequestMeta{Node: node, Version: version},
	})
}

func unloadRequest(t testing.TB, node string) []byte {
	return marshal(t, &exhookv3.ProviderUnloadedRequest{Meta: &exhookv3.RequestMeta{Node: node}})
}

// load is what the broker is told: "name" or "name(filter,filter)", in order.
func load(t testing.TB, m *Mux, api API, node, version string) []string {
	t.Helper()
	var out []string
	for _, h := range unmarshal[exhookv3.LoadedResponse](t, m.Load(t.Context(), api, loadRequest(t, node, version))).Hooks {
		s := h.Name
		if len(h.Topics) > 0 {
			s += "(" + strings.Join(h.Topics, ",") + ")"
		}
		out = append(out, s)
	}
	return out
}

func TestRegistrationIsTheUnion(t *testing.T) {
	t.Parallel()
	pub := func(topics ...string) HookSpec { return HookSpec{Hook: MessagePublish, Topics: topics} }
	tests := []struct {
		name     string
		declared [][]HookSpec // by provider
		defaults map[Hook]bool
		want     []string
	}{
		{name: "nobody wants anything"},
		{name: "once each, in the contract's order", declared: [][]HookSpec{wants(MessageAcked, ClientConnect), wants(ClientConnect, ClientAuthorize)}, want: []string{"client.connect", "client.authorize", "message.acked"}},
		{name: "topics are joined", declared: [][]HookSpec{{pub("a", "b")}, {pub("b", "c/#")}}, want: []string{"message.publish(a,b,c/#)"}},
		{name: "topics twice in one", declared: [][]HookSpec{{pub("a", "a")}}, want: []string{"message.publish(a)"}},
		{name: "no topics win, first", declared: [][]HookSpec{{pub()}, {pub("a")}}, want: []string{"message.publish"}},
		{name: "no topics win, last", declared: [][]HookSpec{{pub("a")}, {pub("b")}, {pub()}}, want: []string{"message.publish"}},
		{name: "a hook with a default counts", declared: [][]HookSpec{wants(ClientConnect)}, defaults: map[Hook]bool{ClientAuthenticate: true}, want: []string{"client.connect", "client.authenticate"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var providers []*Provider
			for _, d := range tt.declared {
				providers = append(providers, newProvider(t, Spec{}, &fake{}, d...))
			}
			m := newMux(Options{Defaults: tt.defaults}, providers...)
			if got := load(t, m, V3, "n", "5.10.3"); !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// One unknown name would fail the whole load.
func TestBrokerIsToldOnlyNamesThatItsVersionKnows(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, wants(Hooks()...)...))
	for _, tt := range []struct {
		api     API
		version string
		ingress bool
	}{
		{V1, "4.4.19", false}, {V2, "5.0.26", false}, {V2, "5.8.8", false}, {V2, "6.3.0", false},
		{V3, "5.9.0", false}, {V3, "5.10.3", false}, {V3, "6.2.9", false},
		{V3, "6.3.0", true}, {V3, "v6.3.0-alpha.1", true}, {V3, "6.3-rc1", true}, {V3, "6.10.0", true}, {V3, "7.0.0", true},
		{V3, "", false}, {V3, "6", false}, {V3, "six.three", false}, {V3, "6.x", false}, {V3, ".", false},
	} {
		t.Run(fmt.Sprintf("%s EMQX %q", tt.api.Service(), tt.version), func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, h := range Hooks() {
				if h != MessageIngress || tt.ingress {
					want = append(want, tt.api.HookName(h))
				}
			}
			if got := load(t, m, tt.api, fmt.Sprint(tt.api, tt.version), tt.version); !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}

func TestRegistrationNeverShrinksWhileLoaded(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Spec{OnFailure: [NumHooks]Policies{MessagePublish: Always(Ignore)}}, &fake{}, append(wants(ClientConnect), HookSpec{Hook: MessagePublish, Topics: []string{"a"}})...)
	m := newMux(Options{}, p)
	expect := func(when string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", when, got, want)
		}
	}
	expect("first", load(t, m, V3, "n", "5.10.3"), "client.connect", "message.publish(a)")
	expect("another node first", load(t, m, V3, "other", "5.10.3"), "client.connect", "message.publish(a)")
	up(t, p, &fake{}, wants(ClientConnected)...)
	expect("again", load(t, m, V3, "n", "5.10.3"), "client.connect", "client.connected", "message.publish(a)")
	up(t, p, &fake{}, HookSpec{Hook: MessagePublish, Topics: []string{"b"}})
	expect("filters grow", load(t, m, V3, "n", "5.10.3"), "client.connect", "client.connected", "message.publish(a,b)")
	up(t, p, &fake{}, wants(MessagePublish)...)
	expect("no filters", load(t, m, V3, "n", "5.10.3"), "client.connect", "client.connected", "message.publish")
	up(t, p, &fake{}, HookSpec{Hook: MessagePublish, Topics: []string{"a"}})
	expect("filters again", load(t, m, V3, "n", "5.10.3"), "client.connect", "client.connected", "message.publish")

	// A hook that nobody wants any more is answered as if we were not there.
	m.SetProviders(nil)
	if got := m.Dispatch(t.Context(), question(t, MessagePublish)); string(got) != string(ignoreResponse) {
		t.Errorf("answer % x, want IGNORE", got)
	}
	expect("no providers", load(t, m, V3, "n", "5.10.3"), "client.connect", "client.connected", "message.publish")
	m.Unload(t.Context(), unloadRequest(t, "n"))
	expect("after an unload", load(t, m, V3, "n", "5.10.3"))
	expect("the other node was not unloaded", load(t, m, V3, "other", "5.10.3"), "client.connect", "message.publish(a)")
}

// A node may come back as another version without an unload.
func TestNodeThatComesBackAsAnotherVersion(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, wants(ClientAuthorize, MessageIngress)...))
	for _, tt := range []struct {
		api     API
		version string
		want    []string
	}{
		{V3, "6.3.0", []string{"client.authorize", "message.ingress"}},
		{V3, "6.2.0", []string{"client.authorize"}},
		{V2, "5.8.8", []string{"client.authorize"}},
		{V1, "4.4.0", []string{"client.check_acl"}},
		{V3, "6.3.1", []string{"client.authorize", "message.ingress"}},
	} {
		if got := load(t, m, tt.api, "n", tt.version); !slices.Equal(got, tt.want) {
			t.Errorf("as %s: told %q, want %q", tt.version, got, tt.want)
		}
	}
	if n := len(m.Brokers()); n != 1 {
		t.Errorf("%d brokers, want 1", n)
	}
}

// A provider that starts later is told since when a broker runs, not how long it had run when
// it loaded hookmux.
func TestBrokersAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, wants(ClientAuthorize)...))
		v3 := &exhookv3.ProviderLoadedRequest{
			Broker: &exhookv3.BrokerInfo{Version: "5.10.3", Sysdescr: "EMQX", Uptime: 2000, Datetime: "2026-01-31T12:00:00.5+02:00"},
			Meta:   &exhookv3.RequestMeta{Node: "a"},
		}
		v1 := marshal(t, &exhookv1.ProviderLoadedRequest{Broker: &exhookv1.BrokerInfo{Version: "4.4.19", Uptime: "2 seconds", Datetime: "2026-01-31 12:00:00"}})
		m.Load(t.Context(), V3, marshal(t, v3))
		m.Load(t.Context(), V1, v1)
		time.Sleep(time.Minute)
		v3.Broker.Uptime, v3.Broker.Datetime = 62000, "2026-01-31T12:01:00.5+02:00"
		got := m.Brokers()
		if aged := unmarshal[exhookv3.ProviderLoadedRequest](t, got[0]); !proto.Equal(aged, v3) {
			t.Errorf("%v", aged)
		}
		if !slices.Equal(got[1], v1) {
			t.Errorf("EMQX 4: %q", got[1])
		}
	})
}

func TestSeveralBrokers(t *testing.T) {
	t.Parallel()
	conn := &fake{}
	p := newProvider(t, Spec{}, conn, wants(ClientAuthorize)...)
	m := newMux(Options{}, p)
	requests := [][]byte{
		loadRequest(t, "a", "4.4.19"), loadRequest(t, "b", "5.8.8"), loadRequest(t, "c", "6.3.0"),
		marshal(t, &exhookv3.ProviderLoadedRequest{Broker: &exhookv3.BrokerInfo{Version: "4.3.0"}}), // 4.3.0 has no meta
		{}, // nor anything
	}
	for i, api := range []API{V1, V2, V3, V1, V1} {
		resp := unmarshal[exhookv3.LoadedResponse](t, m.Load(t.Context(), api, requests[i]))
		if len(resp.Hooks) != 1 || resp.Hooks[0].Name != api.HookName(ClientAuthorize) {
			t.Errorf("broker %d is told %v", i, resp.Hooks)
		}
	}
	same := func(got [][]byte) bool { return slices.EqualFunc(got, requests, slices.Equal) }
	if !same(m.Brokers()) {
		t.Errorf("brokers: %q", m.Brokers())
	}
	eventually(t, "the provider is told of all brokers", func() bool { return len(conn.calls()) == len(requests) })
	m.Unload(t.Context(), unloadRequest(t, "b"))
	requests = slices.Delete(requests, 1, 2)
	if !same(m.Brokers()) {
		t.Errorf("after an unload: %q", m.Brokers())
	}
	eventually(t, "the provider is told of the unload", func() bool {
		calls := conn.calls()
		return calls[len(calls)-1].hook == ProviderUnloaded
	})
	if s := p.Stats(); s.Sent.Load() != 0 || s.Delivered.Load() != 0 {
		t.Error("loading is counted as a notification")
	}
}

func TestBrokersAreBounded(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, nil))
	for n := range maxBrokers + 10 {
		m.Load(t.Context(), V3, loadRequest(t, fmt.Sprint(n), "5.9.0"))
	}
	brokers := m.Brokers()
	if len(brokers) != maxBrokers || len(m.brokers.byNode) != maxBrokers {
		t.Errorf("%d brokers are remembered", len(brokers))
	}
	if first := unmarshal[exhookv3.ProviderLoadedRequest](t, brokers[0]); first.Meta.Node != "10" {
		t.Errorf("the oldest is %s, want 10", first.Meta.Node)
	}
}

func TestProviderCountsBeforeItsFirstStart(t *testing.T) {
	t.Parallel()
	ignorer := Spec{}
	for h := range ignorer.OnFailure {
		ignorer.OnFailure[h] = Always(Ignore)
	}
	partly := ignorer
	partly.OnFailure[ClientAuthorize] = Always(Deny)
	var up, down Spec
	up.OnFailure[ClientAuthorize][ReasonDown] = Ignore
	down.OnFailure = ignorer.OnFailure
	down.OnFailure[ClientAuthorize][ReasonDown] = Allow
	for name, tt := range map[string]struct {
		spec Spec
		want []string
	}{
		"what is ignored while it is down":     {up, []string{"client.authenticate", "message.publish"}},
		"what is not ignored while it is down": {down, []string{"client.authorize"}},
		"every valued hook that may not pass":  {Spec{}, []string{"client.authenticate", "client.authorize", "message.publish"}},
		"only what is not ignored":             {partly, []string{"client.authorize"}},
		"nothing":                              {ignorer, nil},
		"what the config lists":                {Spec{Hooks: []HookSpec{{Hook: MessagePublish, Topics: []string{"a"}}, {Hook: ClientConnect}}}, []string{"client.connect", "message.publish(a)"}},
		"nothing that the config lists":        {Spec{Hooks: []HookSpec{}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMux(Options{}, newProvider(t, tt.spec, nil))
			if got := load(t, m, V3, "n", "5.10.3"); !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// A provider that comes back and no longer declares what it decided opens no hole.
func TestProviderMustGoOnDeciding(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Spec{}, &fake{}, wants(ClientAuthenticate, ClientConnected)...)
	p.Down()
	if err := p.Up(&fake{}, wants(ClientConnected)); err == nil || p.IsUp() {
		t.Errorf("taken without client.authenticate: %v", err)
	}
	if err := p.Up(&fake{}, wants(ClientAuthenticate, MessagePublish)); err != nil {
		t.Errorf("refused, though it decides more: %v", err)
	}
	free := newProvider(t, Spec{OnFailure: [NumHooks]Policies{ClientAuthenticate: Always(Ignore)}}, &fake{}, wants(ClientAuthenticate)...)
	if err := free.Up(&fake{}, wants(ClientConnected)); err != nil {
		t.Errorf("refused, though its policy is ignore: %v", err)
	}
}

// Nor does one that declares a message hook for fewer topics than it decided.
func TestProviderMustGoOnDecidingForItsTopics(t *testing.T) {
	t.Parallel()
	on := func(topics ...string) HookSpec { return HookSpec{Hook: MessagePublish, Topics: topics} }
	for _, tt := range []struct {
		granted, before, now []string
		refused              bool
	}{
		{nil, nil, nil, false},
		{nil, nil, []string{"#"}, true}, // which leaves out $share and the like
		{nil, nil, []string{"a"}, true},
		{nil, []string{"a", "b/+/c"}, nil, false},
		{nil, []string{"a", "b/+/c"}, []string{"b/#", "a/#"}, false},
		{nil, []string{"a", "b/+/c"}, []string{"a", "b/x/c"}, true},
		{nil, []string{"a/#"}, []string{"a", "a/+", "a/+/#"}, true},
		{nil, []string{"a/#"}, []string{"+/#"}, false},
		{nil, []string{"+/a"}, []string{"b/a"}, true},
		{nil, []string{"$x/a"}, []string{"#", "+/a"}, true},
		{nil, []string{"$x/a"}, []string{"$x/+"}, false},
		{[]string{"a/#"}, nil, []string{"a/#", "b"}, false},
		{[]string{"a/#"}, nil, []string{"b"}, true},
		{[]string{"a/#"}, []string{"a/b", "c"}, []string{"a/b", "c"}, false},
		{[]string{"a/#"}, []string{"a/b", "c"}, []string{"a/#"}, false}, // nobody asked it about c
		{[]string{"a/#"}, []string{"a/b", "c"}, []string{"c"}, true},
	} {
		var spec Spec
		if tt.granted != nil {
			spec.Hooks = []HookSpec{on(tt.granted...)}
		}
		p := newProvider(t, spec, &fake{}, on(tt.before...))
		still := p.StillDecides([]HookSpec{on(tt.now...)})
		p.Down()
		if err := p.Up(&fake{}, []HookSpec{on(tt.now...)}); (err != nil) != tt.refused || (still != nil) != tt.refused {
			t.Errorf("granted %q, before %q, now %q: %v, %v", tt.granted, tt.before, tt.now, err, still)
		}
	}
}

func TestParseLoaded(t *testing.T) {
	t.Parallel()
	resp := marshal(t, &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{
		{Name: "message.publish", Topics: []string{"a", "b", "a"}},
		{Name: "client.check_acl"},
		{Name: "client.connect", Topics: []string{"x"}},
		{Name: "message.publish", Topics: []string{"c"}},
		{Name: "message.acked", Topics: []string{"d"}},
		{Name: "message.acked"},
	}})
	specs, err := ParseLoaded(append(resp, appendVarintField(nil, 99, 1)...))
	if err != nil {
		t.Fatal(err)
	}
	want := []HookSpec{{Hook: MessagePublish, Topics: []string{"a", "b", "c"}}, {Hook: ClientAuthorize}, {Hook: ClientConnect}, {Hook: MessageAcked}}
	if !slices.EqualFunc(specs, want, func(a, b HookSpec) bool { return a.Hook == b.Hook && slices.Equal(a.Topics, b.Topics) }) {
		t.Errorf("specs %v, want %v", specs, want)
	}
	misspelt := marshal(t, &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{{Name: "client.connect"}, {Name: "client.authorise"}}})
	for _, bad := range [][]byte{nil, misspelt, {0xff}, {0x0a, 0x01, 0xff}, resp[:len(resp)-1]} {
		if _, err := ParseLoaded(bad); err == nil {
			t.Errorf("ParseLoaded(% x) finds nothing wrong", bad)
		}
	}
}

func TestOwnRequestsAreTheContracts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := unmarshal[exhookv3.ProviderLoadedRequest](t, OwnLoadRequest("1.2.3", now))
	if !proto.Equal(got, &exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{Version: "1.2.3", Sysdescr: "hookmux", Datetime: "2026-01-02T03:04:05Z"},
		Meta:   &exhookv3.RequestMeta{Node: "hookmux", Version: "1.2.3", Sysdescr: "hookmux"},
	}) {
		t.Errorf("load: %v", got)
	}
	bye := unmarshal[exhookv3.ProviderUnloadedRequest](t, OwnUnloadRequest("1.2.3"))
	if bye.Meta.GetNode() != "hookmux" || bye.Meta.GetVersion() != "1.2.3" {
		t.Errorf("unload: %v", bye)
	}
}

func TestFuzzedLoadRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, wants(Hooks()...)...))
	body := loadRequest(t, "node", "6.3.0")
	for n := range body {
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			broken := slices.Clone(body)
			broken[n] = b
			unmarshal[exhookv3.LoadedResponse](t, m.Load(t.Context(), V3, broken[:len(body)-n/2]))
			m.Unload(t.Context(), broken)
		}
	}
}

// A provider that restarts again and again does not fill the log.
func TestWhatABrokerWasNotToldIsSaidOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := newProvider(t, Spec{}, &fake{}, wants(ClientConnected)...)
	m := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	m.SetProviders([]*Provider{p})
	m.SetReady()
	load(t, m, V3, "a", "5.10.3")
	load(t, m, V3, "b", "5.10.3")
	lines := func() (n int) {
		n = strings.Count(log.String(), "does not yet send everything")
		log.Reset()
		return n
	}
	for i, tt := range []struct {
		declared []HookSpec
		lines    int
	}{
		{wants(ClientConnected), 0},
		{wants(ClientConnected, SessionCreated), 1}, // for both
		{wants(ClientConnected, SessionCreated), 0},
		{wants(ClientConnected, SessionCreated, MessageAcked), 1},
		{wants(ClientConnected), 0},
		{wants(ClientConnected, SessionCreated), 1}, // it was well between
	} {
		p.Down()
		up(t, p, &fake{}, tt.declared...)
		if n := lines(); n != tt.lines {
			t.Errorf("step %d: %d lines, want %d", i, n, tt.lines)
		}
	}
	load(t, m, V3, "a", "5.10.3")
	p.Down()
	up(t, p, &fake{}, wants(ClientConnected, SessionCreated, MessageAcked)...)
	if n := lines(); n != 2 { // they lack different things
		t.Errorf("%d lines at last, want 2", n)
	}
}

// What no EMQX sends is answered and not kept.
func TestOddLoadRequestsAreNotRemembered(t *testing.T) {
	t.Parallel()
	m := newMux(Options{}, newProvider(t, Spec{}, &fake{}, wants(ClientConnect, ClientAuthorize)...))
	for name, body := range map[string][]byte{
		"huge":      loadRequest(t, strings.Repeat("n", maxLoad), "5.10.3"),
		"malformed": {0xff, 0xff},
	} {
		if got := unmarshal[exhookv3.LoadedResponse](t, m.Load(t.Context(), V3, body)); len(got.Hooks) != 2 {
			t.Errorf("%s: told %v", name, got)
		}
	}
	if got := m.Registrations(); len(got) != 0 {
		t.Errorf("remembered %v", got)
	}
	load(t, m, V3, "n", "5.10.3")
	m.SetProviders([]*Provider{newProvider(t, Spec{}, &fake{}, wants(ClientConnect, MessageAcked)...)})
	got := m.Registrations()
	if len(got) != 1 || got[0].Node != "n" || !slices.Equal(hookNames(got[0].Told), []string{"client.connect", "client.authorize"}) ||
		!slices.Equal(hookNames(got[0].Missing), []string{"message.acked"}) {
		t.Errorf("registrations: %+v", got)
	}
}
