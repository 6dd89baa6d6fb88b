package sdk_test

import (
	"os"
	"strings"
	"testing"
)

// The plugin in plugins/README.md is the example, to the letter.
func TestReadmeHasTheExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("../../examples/go/minimal/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(code)+"```\n") {
		t.Error("the Go code in plugins/README.md is not examples/go/minimal/main.go")
	}
	if n := strings.Count(string(code), "\n"); n > 20 {
		t.Errorf("the plugin in 20 lines has %d", n)
	}
}
