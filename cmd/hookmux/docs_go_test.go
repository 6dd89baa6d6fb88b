package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// snippetImports are the packages that parts of Go programs in guides may use, by the name that
// stands before the dot.
//
//nolint:gochecknoglobals // a constant table
var snippetImports = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "os": "os", "slog": "log/slog",
	"strings": "strings", "testing": "testing", "time": "time", "filepath": "path/filepath",
	"sdk": "github.com/hookmux/hookmux/plugins/sdk",
	"mux": "github.com/hookmux/hookmux/mux", "config": "github.com/hookmux/hookmux/mux/config", "app": "github.com/hookmux/hookmux/mux/app",
	"muxtest": "github.com/hookmux/hookmux/mux/muxtest", "devbroker": "github.com/hookmux/hookmux/mux/devbroker",
}

// exports gives the compiled form of these packages and all that they import.
var exports = sync.OnceValues(func() (map[string]string, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}\t{{.Export}}{{end}}"}
	for _, path := range snippetImports {
		args = append(args, path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			files[path] = file
		}
	}
	return files, nil
})

// notInSnippet is what the compiler misses in a part of a program: the reader has it.
var notInSnippet = regexp.MustCompile(`^(undefined: \w+$|declared and not used|missing return|.* imported and not used|cannot use .* as .* value in)`)

// checkGo compiles the block. Of what is no whole program, what it takes from packages
// must be there.
func checkGo(t *testing.T, b *block) error {
	t.Helper()
	if regexp.MustCompile(`(?m)^package `).MatchString(b.text) {
		return typeCheck(b.text, nil)
	}
	var header strings.Builder
	header.WriteString("package snippet; ")
	for name, path := range snippetImports {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(b.text) {
			fmt.Fprintf(&header, "import %s %q; ", name, path)
		}
	}
	text := header.String() + b.text // declarations
	if _, err := parser.ParseFile(token.NewFileSet(), b.file, text, 0); err != nil {
		text = header.String() + "func _() {" + b.text + "\n}" // statements
	}
	return typeCheck(text, notInSnippet)
}

func typeCheck(text string, ignore *regexp.Regexp) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", text, 0)
	if err != nil {
		return err
	}
	compiled, err := exports()
	if err != nil {
		return err
	}
	var errs []error
	config := types.Config{
		Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
			name := compiled[path]
			if name == "" {
				return nil, fmt.Errorf("%s is not among snippetImports in docs_go_test.go", path)
			}
			data, err := os.ReadFile(name)
			return io.NopCloser(bytes.NewReader(data)), err
		}),
		Error: func(err error) {
			var e types.Error
			if errors.As(err, &e) && ignore != nil && ignore.MatchString(e.Msg) {
				return
			}
			errs = append(errs, err)
		},
	}
	_, _ = config.Check("snippet", fset, []*ast.File{file}, nil)
	return errors.Join(errs...)
}
