package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux/config"
)

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```")

// Every hookmux.yaml in a README is one that hookmux takes, and the plugin in the
// README is the one in examples.
func TestSnippetsInTheDocs(t *testing.T) {
	t.Parallel()
	configs := 0
	for _, pattern := range []string{"README.md", "*/README.md", "examples/*/*/README.md"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
				if m[1] != "yaml" || !strings.Contains(m[2], "providers:") {
					continue
				}
				configs++
				_, err := config.Parse(f, []byte(m[2]), config.Sources{
					Env:      func(string) (string, bool) { return "value", true },
					ReadFile: func(string) ([]byte, error) { return []byte("value"), nil },
				})
				if err != nil {
					t.Errorf("%s: %v\n%s", f, err, m[2])
				}
			}
		}
	}
	if _, err := config.Load("../../examples/hookmux.yaml"); err != nil {
		t.Error(err)
	}
	if configs < 5 {
		t.Errorf("found only %d configs", configs)
	}

	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	minimal, err := os.ReadFile("../../examples/go/minimal/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(minimal)+"```") {
		t.Error("the plugin in README.md is not examples/go/minimal/main.go")
	}
}
