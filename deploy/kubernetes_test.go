package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// kubernetesVersions are the oldest in which a sidecar may be an init container, and a new one.
var kubernetesVersions = []string{"1.29", "1.37"}

// object is what a manifest holds, or a part of one.
type object map[string]any

// at is the value at the end of a path of keys and, for lists, names: at("spec", "containers", "emqx").
func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, key := range path {
		switch now := v.(type) {
		case map[string]any:
			v = now[key]
		case []any:
			i := slices.IndexFunc(now, func(item any) bool { m, ok := item.(map[string]any); return ok && m["name"] == key })
			if i < 0 {
				return nil
			}
			v = now[i]
		default:
			return nil
		}
	}
	return v
}

func (o object) text(path ...string) string {
	if v := o.at(path...); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func objects(t *testing.T, manifests []byte) (all []object) {
	t.Helper()
	for dec := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var o map[string]any
		err := dec.Decode(&o)
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		case o != nil:
			all = append(all, o)
		}
	}
}

func find(t *testing.T, all []object, kind, name string) object {
	t.Helper()
	i := slices.IndexFunc(all, func(o object) bool { return o["kind"] == kind && o.text("metadata", "name") == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	return all[i]
}

// checkKinds has Kubernetes' own schemas check manifests, where a field that they do not know is
// an error.
func checkKinds(t *testing.T, manifests []byte) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, manifests, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range kubernetesVersions {
		out, err := exec.CommandContext(t.Context(), tool(t, "kubernetes-validate"), "--strict", "-k", version, file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("Kubernetes %s: %w\n%s", version, err, out)
		}
		if strings.Contains(string(out), "WARN") {
			return fmt.Errorf("Kubernetes %s:\n%s", version, out)
		}
	}
	return nil
}

// A pod with hookmux in it is as safe as it is meant to be, and starts hookmux first.
func checkPod(t *testing.T, pod object, config object) {
	t.Helper()
	inits, _ := pod.at("initContainers").([]any)
	if len(inits) == 0 || object(inits[len(inits)-1].(map[string]any)).text("name") != "hookmux" {
		t.Fatal("the last of the init containers is not hookmux")
	}
	if got := pod.text("initContainers", "hookmux", "restartPolicy"); got != "Always" {
		t.Errorf("hookmux is no sidecar, so the pod would wait for its end: restartPolicy %q", got)
	}
	if pod.at("initContainers", "hookmux", "startupProbe") == nil {
		t.Error("without a startupProbe, EMQX would not wait until hookmux is ready")
	}
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		command, _ := pod.at("initContainers", "hookmux", probe, "exec", "command").([]any)
		var words []string
		for _, w := range command {
			words = append(words, fmt.Sprint(w))
		}
		if len(words) != 2 || words[0] != "/usr/bin/hookmux" {
			t.Errorf("%s: %q", probe, words)
			continue
		}
		output(t, filepath.Join(installedTree(t), words[0]), append(words[1:], "--help")...)
	}
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := pod.at(list).([]any)
		for _, c := range containers {
			checkContainer(t, pod, c.(map[string]any))
		}
	}
	cfg := checkConfig(t, "hookmux.yaml", []byte(config.text("data", "hookmux.yaml")))
	if cfg != nil && !strings.HasPrefix(cfg.Listen, "127.0.0.1:") {
		t.Errorf("hookmux listens beyond its pod: %s", cfg.Listen)
	}
}

func checkContainer(t *testing.T, pod, c object) {
	t.Helper()
	name := c.text("name")
	want := map[string]string{"allowPrivilegeEscalation": "false", "capabilities": "map[drop:[ALL]]"}
	if strings.HasPrefix(name, "hookmux") {
		maps.Copy(want, map[string]string{"readOnlyRootFilesystem": "true", "runAsNonRoot": "true", "seccompProfile": "map[type:RuntimeDefault]"})
	}
	for key, value := range want {
		if got := c.text("securityContext", key); got != value {
			t.Errorf("%s: securityContext.%s is %q, not %s", name, key, got, value)
		}
	}
	if c.text("resources", "limits", "memory") == "" || c.text("resources", "requests", "memory") == "" {
		t.Errorf("%s: no limit, or no request, of memory", name)
	}
	mounts, _ := c.at("volumeMounts").([]any)
	for _, m := range mounts {
		volume := object(m.(map[string]any)).text("name")
		if pod.at("volumes", volume) == nil && volume != "data" { // of a volume claim
			t.Errorf("%s: there is no volume %s", name, volume)
		}
	}
}

func environment(c any) map[string]string {
	env := make(map[string]string)
	list, _ := object(c.(map[string]any)).at("env").([]any)
	for _, e := range list {
		o := object(e.(map[string]any))
		env[o.text("name")] = o.text("value")
	}
	return env
}

func TestKustomizeStatefulSet(t *testing.T) {
	t.Parallel()
	manifests := output(t, tool(t, "kustomize"), "build", "kubernetes/emqx")
	if err := checkKinds(t, manifests); err != nil {
		t.Error(err)
	}
	all := objects(t, manifests)
	pod, _ := find(t, all, "StatefulSet", "emqx").at("spec", "template", "spec").(map[string]any)
	checkPod(t, pod, find(t, all, "ConfigMap", "hookmux"))
	checkEMQXEnvironment(t, environment(object(pod).at("containers", "emqx")), "http://127.0.0.1:9000")
	find(t, all, "Secret", "hookmux")
	find(t, all, "NetworkPolicy", "emqx")
	if strings.Contains(string(manifests), "port: 9000") || strings.Contains(string(manifests), "containerPort: 9000") {
		t.Error("hookmux can be reached from outside of the pod")
	}

	wrong := bytes.Replace(manifests, []byte("startupProbe:"), []byte("startProbe:"), 1)
	if err := checkKinds(t, wrong); err == nil || !strings.Contains(err.Error(), "startProbe") {
		t.Errorf("a misspelled field is not found: %v", err)
	}
}

// keysOfOperator are those of the EMQX Operator's custom resource (apps.emqx.io/v2beta1, operator 2.2)
// that are used here.
var keysOfOperator = map[string][]string{
	"":                       {"apiVersion", "kind", "metadata", "spec"},
	"spec":                   {"image", "config", "coreTemplate", "replicantTemplate"},
	"spec.config":            {"mode", "data"},
	"spec.coreTemplate":      {"metadata", "spec"},
	"spec.coreTemplate.spec": {"replicas", "initContainers", "extraContainers", "extraVolumes", "extraVolumeMounts", "resources", "env"},
}

func TestKustomizeOperator(t *testing.T) {
	t.Parallel()
	all := objects(t, output(t, tool(t, "kustomize"), "build", "kubernetes/operator"))
	emqx := find(t, all, "EMQX", "emqx")
	for path, known := range keysOfOperator {
		part := emqx
		if path != "" {
			part, _ = emqx.at(strings.Split(path, ".")...).(map[string]any)
		}
		for key := range part {
			if !slices.Contains(known, key) {
				t.Errorf("the operator's resource has no %s.%s", path, key)
			}
		}
	}
	conf := emqx.text("spec", "config", "data")
	for _, want := range []string{"name = hookmux", `url = "http://127.0.0.1:9000"`, "failed_action = deny", "authorization.sources = []"} {
		if !strings.Contains(conf, want) {
			t.Errorf("EMQX's config has no %s:\n%s", want, conf)
		}
	}
	// What the operator makes of it: a pod with these containers and volumes.
	spec, _ := emqx.at("spec", "coreTemplate", "spec").(map[string]any)
	pod := object{
		"initContainers": spec["initContainers"],
		"volumes":        spec["extraVolumes"],
		"containers":     []any{},
	}
	checkPod(t, pod, find(t, all, "ConfigMap", "hookmux"))
	pod["containers"] = []any{map[string]any{"name": "emqx", "image": emqx.text("spec", "image")}}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "emqx"}, "spec": map[string]any(pod)})
	if err != nil {
		t.Fatal(err)
	}
	others := slices.DeleteFunc(all, func(o object) bool { return o["kind"] == "EMQX" })
	for _, o := range others {
		more, err := yaml.Marshal(map[string]any(o))
		if err != nil {
			t.Fatal(err)
		}
		text = slices.Concat(text, []byte("---\n"), more)
	}
	if err := checkKinds(t, text); err != nil {
		t.Error(err)
	}

	// It is the same sidecar as in the StatefulSet.
	sts := find(t, objects(t, output(t, tool(t, "kustomize"), "build", "kubernetes/emqx")), "StatefulSet", "emqx")
	for ours, theirs := range map[string]string{"initContainers": "initContainers", "volumes": "extraVolumes"} {
		if !reflect.DeepEqual(sts.at("spec", "template", "spec", ours), spec[theirs]) {
			t.Errorf("kubernetes/operator/patch.yaml has other %s than kubernetes/sidecar/statefulset.yaml", ours)
		}
	}
	if read(t, "kubernetes/operator/hookmux.yaml") != read(t, "kubernetes/sidecar/hookmux.yaml") {
		t.Error("the two hookmux.yaml differ")
	}
}
