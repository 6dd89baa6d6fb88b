package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const chart = "helm/hookmux"

func TestHelmLint(t *testing.T) {
	t.Parallel()
	output(t, tool(t, "helm"), "lint", "--strict", "--quiet", chart)
}

// With the values that matter, the chart makes what Kubernetes and hookmux take.
func TestHelmTemplates(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"sidecar":          nil,
		"sidecar, bare":    {"plugins.image=", "secret=", "networkPolicy.enabled=false"},
		"sidecar, page":    {"admin.tokenSecret=hookmux-admin", "emqx.env.EMQX_LOG__CONSOLE__LEVEL=info", "imagePullSecrets[0].name=pull"},
		"standalone":       {"emqx.enabled=false"},
		"standalone, mTLS": {"emqx.enabled=false", "standalone.tls.secret=tls", "standalone.tls.clients=true", "standalone.tls.names={emqx-0.example}", "admin.tokenSecret=hookmux-admin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"template", "mqtt", chart}
			for _, v := range values {
				args = append(args, "--set", v)
			}
			manifests := output(t, tool(t, "helm"), args...)
			if err := checkKinds(t, manifests); err != nil {
				t.Errorf("%v\n%s", err, manifests)
			}
			all := objects(t, manifests)
			config := find(t, all, "ConfigMap", "mqtt-hookmux")
			if strings.HasPrefix(name, "sidecar") {
				pod, _ := find(t, all, "StatefulSet", "mqtt").at("spec", "template", "spec").(map[string]any)
				checkPod(t, pod, config)
				env := environment(object(pod).at("containers", "emqx"))
				checkEMQXEnvironment(t, env, "http://127.0.0.1:9000")
				if name == "sidecar, page" && env["EMQX_LOG__CONSOLE__LEVEL"] != "info" {
					t.Errorf("EMQX's environment: %v", env)
				}
			} else {
				deployment := find(t, all, "Deployment", "mqtt")
				pod, _ := deployment.at("spec", "template", "spec").(map[string]any)
				for _, c := range slices.Concat(object(pod).at("initContainers").([]any), object(pod).at("containers").([]any)) {
					checkContainer(t, pod, c.(map[string]any))
				}
				cfg := checkConfig(t, name, []byte(config.text("data", "hookmux.yaml")))
				if cfg == nil {
					return
				}
				if cfg.Listen != "0.0.0.0:9000" {
					t.Errorf("hookmux listens at %s", cfg.Listen)
				}
				if mtls := strings.HasSuffix(name, "mTLS"); mtls != strings.Contains(config.text("data", "hookmux.yaml"), "client_ca: /etc/hookmux-tls/ca.crt") {
					t.Errorf("the certificate authority of brokers:\n%s", config.text("data", "hookmux.yaml"))
				}
			}
		})
	}
}

// Values that make no sense are refused before anything is made of them.
func TestHelmRefuses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"emqx.replicas=3":                        "replicas",
		"config.listen=0.0.0.0:9000":             "listen",
		"config.providers=null":                  "providers",
		"emqx.env.EMQX_AUTHORIZATION__SOURCES=x": "EMQX_AUTHORIZATION__SOURCES",
		"standalone.replicas=0":                  "replicas",
		"image.pullPolicy=Sometimes":             "pullPolicy",
	} {
		out, err := exec.CommandContext(t.Context(), tool(t, "helm"), "template", "mqtt", chart, "--set", value).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", value, err, out)
		}
	}
}
