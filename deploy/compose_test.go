package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The compose file is one by the rules of the specification, as its own loader reads it, and has
// what keeps EMQX closed until hookmux answers.
func TestCompose(t *testing.T) {
	t.Parallel()
	loader := tool(t, "compose")
	var project struct {
		Services map[string]struct {
			Image       string
			ReadOnly    bool `yaml:"read_only"`
			Environment map[string]string
			DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
			Networks    map[string]any
			Build       *struct{ Context, Dockerfile, Target string }
			Volumes     []struct{ Type, Source, Target string }
		}
	}
	if err := yaml.Unmarshal(output(t, "env", "-C", "compose", loader, "compose.yaml"), &project); err != nil {
		t.Fatal(err)
	}
	emqx, hookmux := project.Services["emqx"], project.Services["hookmux"]
	if got := emqx.DependsOn["hookmux"].Condition; got != "service_healthy" {
		t.Errorf("EMQX does not wait until hookmux is ready: %q", got)
	}
	checkEMQXEnvironment(t, emqx.Environment, "http://hookmux:9000")
	for name, s := range project.Services {
		if s.Build == nil {
			continue
		}
		for _, file := range []string{s.Build.Context, filepath.Join(s.Build.Context, s.Build.Dockerfile)} {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		target := s.Build.Target
		if target != "" && !slices.ContainsFunc(instructions("docker/Dockerfile"), func(in instruction) bool { return in.name == "FROM" && strings.HasSuffix(in.rest, " AS "+target) }) {
			t.Errorf("%s: the Dockerfile has no target %s", name, target)
		}
	}
	if !hookmux.ReadOnly {
		t.Error("hookmux's container can be written to")
	}
	if cfg := checkConfig(t, "compose/hookmux.yaml", []byte(read(t, "compose/hookmux.yaml"))); cfg != nil && cfg.Listen != "0.0.0.0:9000" {
		t.Errorf("hookmux listens at %s", cfg.Listen)
	}

	wrong := filepath.Join(t.TempDir(), "compose.yaml")
	text := strings.Replace(read(t, "compose/compose.yaml"), "read_only:", "readonly:", 1)
	if err := os.WriteFile(wrong, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), loader, wrong).CombinedOutput(); err == nil || !strings.Contains(string(out), "readonly") {
		t.Errorf("a misspelled key is not found: %v\n%s", err, out)
	}
}

// checkEMQXEnvironment fails unless EMQX is told of hookmux, closed while hookmux is away, and asks
// it about permissions.
func checkEMQXEnvironment(t *testing.T, env map[string]string, url string) {
	t.Helper()
	servers := env["EMQX_EXHOOK__SERVERS"]
	for _, want := range []string{"name = hookmux", `url = "` + url + `"`, "failed_action = deny", "request_timeout = 5s"} {
		if !strings.Contains(servers, want) {
			t.Errorf("EMQX_EXHOOK__SERVERS has no %s: %s", want, servers)
		}
	}
	if got := env["EMQX_AUTHORIZATION__SOURCES"]; got != "[]" {
		t.Errorf("EMQX_AUTHORIZATION__SOURCES is %q: acl.conf would answer before hookmux is asked", got)
	}
}

// emqx.conf, the README and the environments of the containers say the same.
func TestEMQXConfig(t *testing.T) {
	t.Parallel()
	conf := read(t, "emqx/emqx.conf")
	for _, want := range []string{"name = hookmux", `url = "http://127.0.0.1:9000"`, "failed_action = deny", "request_timeout = 5s", "auto_reconnect = 5s", "authorization.sources = []"} {
		if !strings.Contains(conf, want) {
			t.Errorf("emqx/emqx.conf has no %s", want)
		}
	}
	if begin := strings.Index(conf, "exhook.servers"); !strings.Contains(read(t, "../README.md"), conf[begin:strings.Index(conf, "\n]")+3]) {
		t.Error("README.md and emqx/emqx.conf tell EMQX of hookmux in different ways")
	}
}
