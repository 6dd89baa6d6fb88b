package sdk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/plugins/sdk"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

type (
	base     struct{}
	byValue  struct{ base }
	deeper   struct{ *byValue }
	noHook   struct{}
	onwards  struct{ base }
	wrongArg struct{}
	wrongRes struct{}
	pointer  struct{}
	v1Name   struct{}
	started  struct{ base }
	topical  struct{ base }
	other    struct{}
	twice    struct {
		base
		other
	}
	deepTwice struct{ twice }
	shadowed  struct{ twice }
	grpcStyle struct {
		exhookv3.UnimplementedHookProviderServer
	}
	field struct {
		base
		OnClientConnect func(context.Context, *sdk.ClientConnectRequest) error
	}
	notices struct{}
)

func (base) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error     { return nil }
func (other) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error    { return nil }
func (shadowed) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error { return nil }
func (*pointer) OnClientConnected(context.Context, *sdk.ClientConnectedRequest) error { return nil }
func (onwards) Only() int                                                             { return 1 }
func (onwards) Onwards() int                                                          { return 1 }
func (v1Name) OnClientCheckAcl()                                                      {} //nolint:revive // EMQX 4's name
func (wrongArg) OnClientConnected(context.Context, *sdk.ClientConnackRequest) error   { return nil }
func (wrongRes) OnClientAuthenticate(context.Context, *sdk.ClientAuthenticateRequest) (bool, error) {
	return true, nil
}
func (started) OnStart()                                                           {}
func (topical) Topics() []string                                                   { return nil }
func (notices) OnProviderLoaded(context.Context, *sdk.ProviderLoadedRequest) error { return nil }

func TestHooksAreFoundFromTheMethods(t *testing.T) {
	t.Parallel()
	for _, plugin := range []any{byValue{}, &byValue{}, deeper{&byValue{}}, &deeper{&byValue{}}, onwards{}, &pointer{}, shadowed{}} {
		res, err := handlerOf(t, plugin).OnProviderLoaded(t.Context(), nil)
		if err != nil || len(res.GetHooks()) != 1 || res.GetHooks()[0].GetName() != "client.connected" {
			t.Errorf("%T: %v %v", plugin, res, err)
		}
	}
}

func TestWrongPlugins(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		plugin any
		want   []string
	}{
		{nil, []string{"the plugin is nil"}},
		{(*byValue)(nil), []string{"nil *sdk_test.byValue"}},
		{noHook{}, []string{"sdk_test.noHook has no hook", "OnClientConnected(ctx context.Context, r *sdk.ClientConnectedRequest) error"}},
		{notices{}, []string{"has no hook"}},
		{&typo{}, []string{
			"method OnClientAuthorise is no hook; did you mean OnClientAuthorize?",
			"want OnClientAuthorize(ctx context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error)",
		}},
		{v1Name{}, []string{"OnClientCheckAcl is no hook; did you mean OnClientAuthorize?"}},
		{started{}, []string{"OnStart is no hook; did you mean Start?", "want Start(ctx context.Context) error"}},
		{wrongArg{}, []string{
			"method OnClientConnected has the wrong signature",
			"have OnClientConnected(context.Context, *exhookv3.ClientConnackRequest) error",
			"want OnClientConnected(ctx context.Context, r *sdk.ClientConnectedRequest) error",
		}},
		{wrongRes{}, []string{"have OnClientAuthenticate(", "(bool, error)", "want OnClientAuthenticate(", "(sdk.Access, error)"}},
		{topical{}, []string{"method Topics has the wrong signature", "want Topics() sdk.Topics"}},
		{pointer{}, []string{"OnClientConnected has a pointer receiver", "a *sdk_test.pointer"}},
		{twice{}, []string{"OnClientConnected of the embedded sdk_test.base is hidden"}},
		{&deepTwice{}, []string{"OnClientConnected of the embedded sdk_test.base is hidden"}},
		{field{}, []string{"OnClientConnect is a field of sdk_test.field; a hook must be a method"}},
		{grpcStyle{}, []string{"OnMessagePublish has the wrong signature", "(sdk.Answer, error)"}},
	} {
		_, err := sdk.NewHandler(tt.plugin)
		if err == nil {
			t.Errorf("%T: no error", tt.plugin)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%T: no %q in %q", tt.plugin, want, err)
			}
		}
	}
}

// topicsOf is a plugin with filters.
type topicsOf struct {
	says

	topics sdk.Topics
}

func (p topicsOf) Topics() sdk.Topics { return p.topics }

func TestTopicsAreChecked(t *testing.T) {
	t.Parallel()
	for want, topics := range map[string]sdk.Topics{
		"":                                  {sdk.MessagePublish: {"a/#", "+/b"}, sdk.MessageIngress: {"#"}},
		`"a/#/b": # must be the last`:       {sdk.MessagePublish: {"a/#/b"}},
		`"a#": # must be a level`:           {sdk.MessagePublish: {"a#"}},
		`"a+/b": + must be a level`:         {sdk.MessagePublish: {"a+/b"}},
		"an empty topic filter":             {sdk.MessagePublish: {""}},
		"would mean every topic":            {sdk.MessagePublish: {}},
		"not valid UTF-8":                   {sdk.MessagePublish: {"\xff"}},
		"shared subscription":               {sdk.MessagePublish: {"$share/g/t"}},
		"65536 bytes":                       {sdk.MessagePublish: {strings.Repeat("a", 65536)}},
		`(did you mean "message.publish"?)`: {"message.publsh": {"a"}},
		"cannot be limited":                 {"client.authorize": {"a"}},
		"no method OnMessageAcked(":         {sdk.MessageAcked: {"a"}},
	} {
		_, err := sdk.NewHandler(topicsOf{topics: topics})
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v: %v, want %q", topics, err, want)
		}
	}
}

// pureOf is a plugin that says that hooks are pure.
type pureOf struct{ pure []sdk.Hook }

func (pureOf) OnMessagePublish(context.Context, *sdk.MessagePublishRequest) (sdk.Answer, error) {
	return sdk.Pass, nil
}

func (pureOf) OnClientAuthorize(context.Context, *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	return sdk.NoOpinion, nil
}

func (p pureOf) Pure() []sdk.Hook { return p.pure }

func TestPureIsCheckedAndDeclared(t *testing.T) {
	t.Parallel()
	for want, pure := range map[string][]sdk.Hook{
		"":                                    {sdk.MessagePublish},
		`(did you mean "client.authorize"?)`:  {"client.authorise"},
		"client.connected has no answer":      {"client.connected"},
		"no method OnMessageIngress(":         {sdk.MessageIngress},
		"message.acked has no answer, only c": {sdk.MessagePublish, sdk.MessageAcked},
	} {
		h, err := sdk.NewHandler(pureOf{pure: pure})
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q", pure, err, want)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		loaded, err := h.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{})
		if err != nil {
			t.Error(err)
		}
		for _, spec := range loaded.GetHooks() {
			if spec.Pure != (spec.Name == "message.publish") {
				t.Errorf("declared %v", spec)
			}
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		filter, asked string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "a/#", true},
		{"a/#", "a/+/c", true},
		{"a/#", "ab", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/+", true},
		{"a/+", "a/#", false},
		{"a/b", "a/+", false},
		{"+", "#", false},
		{"#", "#", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"+/+", "/b", true},
		{"#", "/", true},
		{"a/+/#", "a/b", true},
		{"a/+/#", "a", false},
	} {
		if got := sdk.Covers(tt.filter, tt.asked); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v", tt.filter, tt.asked, got)
		}
	}
}

// Covers must never allow more than the filter matches; held for every filter
// and topic of up to three levels.
func TestCoversIsSound(t *testing.T) {
	t.Parallel()
	var all []string
	levels := []string{"a", "$b", "", "+", "#"}
	for _, x := range levels {
		all = append(all, x)
		for _, y := range levels {
			all = append(all, x+"/"+y)
			for _, z := range levels {
				all = append(all, x+"/"+y+"/"+z)
			}
		}
	}
	matches := func(filter, topic string) bool { // MQTT's own rule, level by level
		f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
		if strings.HasPrefix(t[0], "$") && (f[0] == "+" || f[0] == "#") {
			return false
		}
		for i := range f {
			if f[i] == "#" {
				return true
			}
			if i >= len(t) || f[i] != "+" && f[i] != t[i] {
				return false
			}
		}
		return len(f) == len(t)
	}
	var filters, topics []string
	for _, s := range all {
		if s != "" && sdk.CheckFilter(s) == nil {
			filters = append(filters, s)
			if !strings.ContainsAny(s, "+#") {
				topics = append(topics, s)
			}
		}
	}
	for _, f := range filters {
		for _, topic := range topics {
			if got, want := sdk.Covers(f, topic), matches(f, topic); got != want {
				t.Errorf("Covers(%q, %q) = %v", f, topic, got)
			}
		}
		for _, g := range filters {
			if !sdk.Covers(f, g) {
				continue
			}
			for _, topic := range topics {
				if matches(g, topic) && !matches(f, topic) {
					t.Errorf("%q covers %q, but not its topic %q", f, g, topic)
				}
			}
		}
	}
}
