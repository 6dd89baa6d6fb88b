package plugintest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// RunWith is Run with this under `config`, and further keys. A decision may take as long as it
// needs on a machine that is busy with many tests.
func RunWith(t testing.TB, pluginConfig any, keys ...string) *Hookmux {
	t.Helper()
	data, err := json.Marshal(pluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"timeout", "start_timeout"} {
		if !slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, k+":") }) {
			keys = append(keys, k+": 1m")
		}
	}
	return RunTop(t, "timeout: 1m", strings.Join(append(keys, "config: "+string(data), ""), "\n"))
}

// Login is the answer to client.authenticate.
func (h *Hookmux) Login(t testing.TB, c *exhookv3.ClientInfo) *exhookv3.ValuedResponse {
	t.Helper()
	return h.valued(t, mux.ClientAuthenticate, c.GetClientid(), &exhookv3.ClientAuthenticateRequest{Clientinfo: c})
}

// May is the answer to client.authorize.
func (h *Hookmux) May(t testing.TB, c *exhookv3.ClientInfo, do exhookv3.ClientAuthorizeRequest_AuthorizeReqType, topic string) *exhookv3.ValuedResponse {
	t.Helper()
	return h.valued(t, mux.ClientAuthorize, c.GetClientid(), &exhookv3.ClientAuthorizeRequest{Clientinfo: c, Type: do, Topic: topic})
}

// LoginWithBytes is Login of a client whose user name may be no UTF-8, which no protobuf library
// would write.
func (h *Hookmux) LoginWithBytes(t testing.TB, username, password []byte) *exhookv3.ValuedResponse {
	t.Helper()
	var client []byte
	for field, value := range map[protowire.Number][]byte{2: []byte("car"), 3: username, 4: password} {
		client = protowire.AppendBytes(protowire.AppendTag(client, field, protowire.BytesType), value)
	}
	body, err := h.Call(mux.V3.FullMethod(mux.ClientAuthenticate), "car",
		protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), client))
	res := new(exhookv3.ValuedResponse)
	if err == nil {
		err = proto.Unmarshal(body, res)
	}
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (h *Hookmux) valued(t testing.TB, hook mux.Hook, client string, r proto.Message) *exhookv3.ValuedResponse {
	t.Helper()
	res := new(exhookv3.ValuedResponse)
	if err := proto.Unmarshal(h.Event(t, hook, client, r), res); err != nil {
		t.Fatal(err)
	}
	return res
}

// Verdict is what an access hook was answered: allow, deny or ignore.
func Verdict(res *exhookv3.ValuedResponse) string {
	switch {
	case res == nil:
		return "nothing"
	case res.GetType() == exhookv3.ValuedResponse_IGNORE:
		return "ignore"
	case res.GetBoolResult():
		return "allow"
	}
	return "deny"
}

// Logs waits for a text in the log.
func (h *Hookmux) Logs(t testing.TB, text string) {
	t.Helper()
	muxtest.Eventually(t, fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(h.Log(), text) })
}

// Conformance is `hookmux verify` of this test's plugin, as far as it is the plugin's own
// affair: the SDK's tests have the rest. A check that fails fails the test.
func Conformance(t *testing.T, pluginConfig any) {
	t.Helper()
	data, err := json.Marshal(pluginConfig)
	if err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Run(t.Context(), conformance.Options{
		Command: muxtest.Command(t), Config: data, Patience: time.Minute,
		Only: []string{"start", "declared hooks", "every hook", "garbage", "deadline", "Shutdown"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		t.Logf("%-6s %-10s %-22s %s", c.Outcome, c.Section, c.Name, c.Text)
		if c.Outcome == conformance.Failed {
			t.Errorf("%s: %s: %s", c.Section, c.Name, c.Text)
		}
	}
}

var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// Readme gives the configs of the plugin's own providers in its README.md, which hookmux
// must take: those whose command is ./name. What ${…} stands for is a URL of PostgreSQL if its name
// ends in url, else just some text. It also holds that the README has its sections.
func Readme(t *testing.T, name string) (configs []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"# " + name, "## Name", "## Description", "## Config", "## Examples"} {
		if !strings.Contains("\n"+string(text), "\n"+section+"\n") {
			t.Errorf("README.md has no %q", section)
		}
	}
	value := func(name string) string {
		if strings.HasSuffix(strings.ToLower(name), "url") {
			return "postgres://user:password@localhost/db"
		}
		return "a-value-that-is-long-enough-for-any-key"
	}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[1], "providers:") {
			continue
		}
		cfg, err := config.Parse("README.md", []byte(m[1]), config.Sources{
			Env:      func(name string) (string, bool) { return value(name), true },
			ReadFile: func(path string) ([]byte, error) { return []byte(value(path)), nil },
		})
		if err != nil {
			t.Errorf("README.md: %v\n%s", err, m[1])
			continue
		}
		for _, p := range cfg.Providers {
			if len(p.Command) > 0 && filepath.Base(p.Command[0]) == name {
				configs = append(configs, string(p.Config))
			}
		}
	}
	if len(configs) == 0 {
		t.Error("README.md has no config of the plugin")
	}
	return configs
}
