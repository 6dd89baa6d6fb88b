package mux

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hookmux/hookmux"

// repository is the way from this package's folder to the root.
const repository = ".."

// importRules say which folder may import which of ours, and why not others.
// The first rule whose folder fits holds; "x/..." is x and all below.
var importRules = []struct {
	folder string
	may    []string
	why    string
}{
	{"proto/...", []string{"proto/..."}, "the wire belongs to everyone and knows no one"},
	{"mux/internal/...", []string{"proto/...", "mux/internal/..."}, "helpers of all packages under mux cannot depend on one of them"},
	{"mux", []string{"proto/...", "mux/internal/..."}, "the engine is what all others build on; what it needs of them it declares as an interface"},
	{"mux/server", []string{"mux", "proto/...", "mux/internal/..."}, "it only turns gRPC calls into events"},
	{"mux/host/...", []string{"mux", "proto/...", "mux/internal/..."}, "it only gives providers their connections; who reads the config is above it"},
	{"mux/condition", []string{"mux", "proto/..."}, "it brings CEL, which the engine must not link, and knows of the engine only what an event is"},
	{"mux/config", []string{"mux", "mux/condition", "mux/trail", "mux/internal/..."}, "a validated value must be had without starting anything"},
	{"mux/admin/...", []string{"mux", "mux/trail", "mux/internal/...", "mux/admin/..."}, "it declares what it shows as interfaces, so that it can be tested and left out"},
	{"mux/observe", []string{"mux", "mux/internal/..."}, "Prometheus and OpenTelemetry stay behind the interface that mux declares"},
	{"mux/trail", []string{"mux", "mux/internal/..."}, "it remembers decisions and lets others follow events; it knows of the engine only what a Recorder is told"},
	{"mux/secure", []string{"mux/internal/..."}, "TLS from files that change, for whoever listens or dials"},
	{"mux/emqx", []string{"mux/internal/..."}, "EMQX's REST API, which has nothing to do with its hooks' wire"},
	{"mux/spool", []string{"mux", "mux/internal/..."}, "durable delivery is one more delivery of the engine"},
	{"mux/muxtest/...", []string{"mux", "proto/...", "mux/internal/...", "mux/muxtest/..."}, "the packages that it tests would import themselves"},
	{"mux/devbroker/...", []string{"proto/...", "mux/devbroker/..."}, "it stands for EMQX, which shares nothing with us but the wire"},
	{"mux/app", []string{"mux/...", "proto/..."}, "it wires everything, and nothing but cmd may import it"},
	{"plugins/sdk/...", []string{"proto/...", "plugins/sdk/..."}, "a plugin's author must not have to build the sidecar"},
	{"plugins/internal/plugintest", []string{"mux/...", "plugins/sdk", "proto/..."}, "it runs plugins under a real hookmux, for their tests; only tests import it"},
	{"plugins/...", []string{"plugins/...", "proto/..."}, "the plugins we ship live from what everyone has: the SDK and the wire, never the engine"},
	{"examples/fleet", []string{"mux/devbroker"}, "a whole scenario brings a broker along, for those who have no EMQX at hand"},
	{"examples/...", []string{"plugins/sdk/...", "proto/...", "examples/..."}, "an example shows what a reader can do outside this repository"},
	{"deploy/...", nil, "it builds and packs what is there, and is part of none of it"},
	{"cmd/...", []string{"mux/...", "plugins/...", "proto/...", "cmd/..."}, "a command is a face on packages that tests can reach"},
}

func fits(pattern, folder string) bool {
	base, deep := strings.CutSuffix(pattern, "/...")
	return folder == base || deep && strings.HasPrefix(folder, base+"/")
}

// eachGoFile calls f for every Go file of the module, by its path from the root.
func eachGoFile(t *testing.T, f func(path string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != repository && (name == "testdata" || name == "node_modules" || name[0] == '.' || name[0] == '_') {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".go") {
			n++
			rel, err := filepath.Rel(repository, path)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("%d Go files read: %v", n, err)
	}
}

func TestWhoMayImportWhom(t *testing.T) {
	t.Parallel()
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return // a test may use what its package may not
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		i := slices.IndexFunc(importRules, func(r struct {
			folder string
			may    []string
			why    string
		}) bool {
			return fits(r.folder, folder)
		})
		if i < 0 {
			t.Errorf("%s: no rule for this folder; say in importRules what it may import, and why", path)
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, imp := range file.Imports {
			ours, ok := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module+"/")
			if ok && !slices.ContainsFunc(importRules[i].may, func(p string) bool { return fits(p, ours) }) {
				t.Errorf("%s must not import %s: %s", path, ours, importRules[i].why)
			}
		}
	})
}

// What the engine links, everyone who embeds it links.
func TestEngineLinksNoHeavyDependency(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for prefix, why := range map[string]string{
		"github.com/hashicorp/":        "child processes are package host's",
		"google.golang.org/grpc":       "the engine passes bytes; gRPC is at its two ends, server and host",
		"go.yaml.in/":                  "the engine takes values; package config reads them",
		"github.com/goccy/go-yaml":     "the engine takes values; package config reads them",
		"github.com/prometheus/":       "metrics are behind an interface, in package observe",
		"go.opentelemetry.io/":         "metrics are behind an interface, in package observe",
		"cel.dev/":                     "conditions are behind an interface, in package condition",
		"net/http":                     "the admin face is package admin's",
		"os/exec":                      "child processes are package host's",
		"github.com/mochi-mqtt/server": "the broker of the demo is package devbroker's",
	} {
		for dep := range strings.FieldsSeq(string(out)) {
			if dep == prefix || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
				t.Errorf("mux links %s: %s", dep, why)
			}
		}
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	const limit = 500
	eachGoFile(t, func(path string) {
		b, err := os.ReadFile(filepath.Join(repository, path))
		if err != nil {
			t.Error(err)
			return
		}
		if lines := bytes.Count(b, []byte("\n")); lines > limit && !generated.Match(b) {
			t.Errorf("%s has %d lines, more than %d: split it by what it holds, so that the folder listing leads there", path, lines, limit)
		}
	})
}
