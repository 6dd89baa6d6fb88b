package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// description is openapi.yaml in the hands of a validator that is not ours.
type description struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

func readDescription(t *testing.T) *description {
	t.Helper()
	data, err := os.ReadFile("../admin/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &description{compiler: jsonschema.NewCompiler()}
	if err := yaml.Unmarshal(data, &d.doc); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(d.doc)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return d
}

// holds validates data against the schema at a JSON pointer.
func (d *description) holds(t *testing.T, pointer string, data []byte) {
	t.Helper()
	s, err := d.compiler.Compile("openapi.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("not as %s says: %v\n%s", pointer, err, data)
	}
}

// answer is the pointer to the schema of what an operation answers with a status.
func (d *description) answer(t *testing.T, method, path, status string) string {
	t.Helper()
	op, ok := d.doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
	if !ok {
		t.Fatalf("there is no %s %s", method, path)
	}
	responses := op["responses"].(map[string]any)
	if responses[status] == nil {
		status = "default"
	}
	pointer := fmt.Sprintf("/paths/%s/%s/responses/%s", strings.ReplaceAll(path, "/", "~1"), strings.ToLower(method), status)
	response, _ := responses[status].(map[string]any)
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	return strings.ReplaceAll(strings.ReplaceAll(pointer, "{", "%7B"), "}", "%7D") + "/content/application~1json/schema"
}

// Real answers of a hookmux with plugins that are up, down and out of service are what
// the description says.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	d := readDescription(t)
	const token = "0123456789abcdef"
	cfg := config.Config{
		Admin:    config.Admin{Listen: "127.0.0.1:0", Token: token},
		Default:  map[mux.Hook]bool{mux.ClientAuthorize: true},
		Strategy: [mux.NumHooks]mux.Strategy{mux.ClientAuthorize: mux.Any},
	}
	cfg.Trail.Payloads = true
	broken := plugin(t, "broken", muxtest.Behaviour{Do: muxtest.ExitAtStart})
	broken.Hooks = []mux.HookSpec{{Hook: mux.MessagePublish, Topics: []string{"b/#"}}, {Hook: mux.ClientConnected}}
	watcher := plugin(t, "watcher", muxtest.Behaviour{})
	watcher.Observe = true
	cfg.Providers = []config.Provider{
		plugin(t, "login", muxtest.Behaviour{Answer: "rewrite", Topics: []string{"a/#"}}), broken, watcher,
		{Spec: mux.Spec{Name: "legacy", Hooks: []mux.HookSpec{{Hook: mux.SessionCreated}}}, URL: "http://127.0.0.1:1"},
	}
	s := start(t, cfg, func(o *app.Options) {
		o.ConfigPath, o.DrainTimeout = "hookmux.yaml", time.Second
		o.Load = func() (*config.Config, error) { return nil, errors.New("the config is <broken>") }
	})
	at := s.operators(t)
	tail := s.followed(t, at, token)
	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	broker.Load(t, "5.10.3")
	broker.Authenticate(t, "good")
	broker.Authenticate(t, "bad")
	broker.Authorize(t, "c", "t")
	broker.Publish(t, "c", "a/1", "payload")
	broker.Publish(t, "c", "b/1", "payload")
	broker.Delivered(t, "c", 0)
	broker.Event(t, mux.ClientConnected, "c", &exhookv3.ClientConnectedRequest{})

	for _, c := range []struct {
		method, path, name, query string
		status                    int
	}{
		{"GET", "/v1/status", "", "", 200},
		{"GET", "/v1/providers", "", "", 200},
		{"GET", "/v1/providers/{name}", "login", "", 200},
		{"GET", "/v1/providers/{name}", "broken", "", 200},
		{"GET", "/v1/providers/{name}", "nobody", "", 404},
		{"GET", "/v1/hooks", "", "", 200},
		{"GET", "/v1/decisions", "", "?limit=100", 200},
		{"GET", "/v1/decisions", "", "?client=nobody", 200},
		{"GET", "/v1/decisions", "", "?limit=x", 400},
		{"GET", "/v1/tail", "", "?topic=%23%23", 400},
		{"POST", "/v1/reload", "", "", 422},
		{"POST", "/v1/providers/{name}/restart", "login", "", 200},
		{"POST", "/v1/providers/{name}/restart", "legacy", "", 422},
		{"POST", "/v1/providers/{name}/drain", "broken", "", 200},
		{"POST", "/v1/providers/{name}/disable", "login", "", 200},
		{"POST", "/v1/providers/{name}/restart", "login", "", 422},
		{"GET", "/v1/status", "", "", 200},
		{"POST", "/v1/providers/{name}/enable", "login", "", 200},
		{"POST", "/v1/doubles", "", "?for=1m", 200},
		{"GET", "/v1/doubles", "", "", 200},
		{"POST", "/v1/doubles", "", "?for=1h", 400},
		{"POST", "/v1/doubles", "", "?for=0s", 200},
		{"GET", "/healthz", "", "", 200},
		{"GET", "/readyz", "", "", 200},
		{"POST", "/login", "", "", 400},
	} {
		body := s.ask(t, c.method, at+strings.ReplaceAll(c.path, "{name}", c.name)+c.query, token, c.status)
		d.holds(t, d.answer(t, c.method, c.path, fmt.Sprint(c.status)), body)
	}
	d.holds(t, d.answer(t, "GET", "/v1/status", "401"), s.ask(t, "GET", at+"/v1/status", "", 401))
	if changes, err := json.Marshal(app.Changes{Added: []string{"a"}, Removed: []string{"b"}, Restarted: []string{"c"}, Changed: []string{"d"}, Reordered: true, Settings: []string{"timeout"}}); err != nil {
		t.Error(err)
	} else {
		d.holds(t, d.answer(t, "POST", "/v1/reload", "200"), changes)
	}

	var found struct{ Decisions []map[string]any }
	if err := json.Unmarshal(s.ask(t, "GET", at+"/v1/decisions", token, 200), &found); err != nil || len(found.Decisions) != 5 {
		t.Errorf("%d decisions are found, %v", len(found.Decisions), err)
	}
	want := map[string]int{"decision": 5, "notification": 4} // at least
	for want["decision"] > 0 || want["notification"] > 0 {
		e := <-tail
		want[e.event]--
		d.holds(t, "/components/schemas/"+strings.ToUpper(e.event[:1])+e.event[1:], e.data)
	}
	lost, _ := json.Marshal(admin.Lost{Events: 1})
	d.holds(t, "/components/schemas/Lost", lost)
}

// ask makes a request and gives the answer.
func (s *sidecar) ask(t *testing.T, method, url, token string, status int) []byte {
	t.Helper()
	resp := s.open(t, method, url, token)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s %s: %s, want %d: %v\n%s", method, url, resp.Status, status, err, body)
	}
	return body
}

func (s *sidecar) open(t *testing.T, method, url, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// sse is a server-sent event.
type sse struct {
	event string
	data  []byte
}

// followed is all that happens from now on.
func (s *sidecar) followed(t *testing.T, at, token string) <-chan sse {
	t.Helper()
	resp := s.open(t, "GET", at+"/v1/tail", token)
	t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %s", kind)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != ": following" {
		t.Fatalf("it begins with %q", lines.Text())
	}
	out := make(chan sse, 1000)
	go func() {
		var e sse
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				e.event = text
			} else if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				e.data = []byte(text)
				out <- e
			}
		}
	}()
	return out
}
