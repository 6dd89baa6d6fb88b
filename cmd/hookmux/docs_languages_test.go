package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// The other languages' blocks are parsed by their own parsers, where these are there. Whether the
// SDKs do what the guides say is for the SDKs' tests.

// with runs a program on the block's text, in a file of that name in a folder of its own.
func with(t *testing.T, lane, name, text string, command func(l lanes.Lane, file string) []string) error {
	t.Helper()
	l, err := lanes.Locate(t.Context(), lane)
	if err != nil {
		if lanes.AllRequired() {
			return err
		}
		t.Logf("%s is not checked: %v", name, err)
		return nil
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	argv := command(l, file)
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// parsePython also looks whether what is taken from the SDK is there, where that is installed.
const parsePython = `
import ast, sys
tree = ast.parse(open(sys.argv[1]).read())
try:
    sys.path.insert(0, sys.argv[2])
    import hookmux
except ImportError:
    sys.exit()
for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hookmux":
        if not hasattr(hookmux, node.attr):
            sys.exit(f"hookmux has no {node.attr}")
`

func checkPython(t *testing.T, b *block) error {
	sdk, err := filepath.Abs(root + "/plugins/sdk/python/src")
	if err != nil {
		return err
	}
	return with(t, "python", "snippet.py", b.text, func(l lanes.Lane, file string) []string {
		program := l.Program
		if installed := filepath.Join(l.Dir, "bin", "python"); exists(installed) {
			program = installed
		}
		return []string{program, "-B", "-c", parsePython, file, sdk}
	})
}

// checkJavaScript takes a module, or else the body of a class.
func checkJavaScript(t *testing.T, b *block) error {
	check := func(l lanes.Lane, file string) []string { return []string{l.Program, "--check", file} }
	err := with(t, "node", "snippet.mjs", b.text, check)
	if err != nil && with(t, "node", "snippet.mjs", "class Snippet {\n"+b.text+"}\n", check) == nil {
		return nil
	}
	return err
}

// checkTypeScript looks for mistakes of syntax (TS1…) with the compiler of the Node SDK's lane,
// where that is installed.
func checkTypeScript(t *testing.T, b *block) error {
	l, err := lanes.Find(t.Context(), "node")
	if err != nil {
		if lanes.AllRequired() {
			return err
		}
		t.Logf("%v is not checked: %v", b, err)
		return nil
	}
	file := filepath.Join(t.TempDir(), "snippet.ts")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.Dir, "node_modules", ".bin", "tsc"), "--noEmit", "--noResolve", "--target", "esnext", file)
	cmd.Dir = filepath.Dir(file)
	out, _ := cmd.CombinedOutput() // which has what the block takes from elsewhere, too
	if wrong := regexp.MustCompile(`(?m)^.*error TS(1|[5-9])\d{3}: .*$`).FindAll(out, -1); wrong != nil {
		return fmt.Errorf("%s", bytes.Join(wrong, []byte("\n")))
	}
	if !bytes.Contains(out, []byte("error TS2")) && len(out) > 0 {
		return fmt.Errorf("tsc: %s", out)
	}
	return nil
}

// parseJava parses a file, and resolves nothing.
const parseJava = `
import com.sun.source.util.JavacTask;
import javax.tools.*;
import java.nio.file.*;
import java.util.*;

public class Parse {
  public static void main(String[] args) throws Exception {
    var compiler = ToolProvider.getSystemJavaCompiler();
    var found = new DiagnosticCollector<JavaFileObject>();
    var files = compiler.getStandardFileManager(found, null, null);
    ((JavacTask) compiler.getTask(null, files, found, List.of(), null, files.getJavaFileObjects(Path.of(args[0])))).parse();
    for (var d : found.getDiagnostics()) System.err.println(d);
    System.exit(found.getDiagnostics().isEmpty() ? 0 : 1);
  }
}
`

// checkJava takes a file, or else members of a class, or else statements.
func checkJava(t *testing.T, b *block) error {
	parser := filepath.Join(t.TempDir(), "Parse.java")
	if err := os.WriteFile(parser, []byte(parseJava), 0o600); err != nil {
		return err
	}
	// javac's own launcher needs the file's class first, so it is of an older form.
	check := func(l lanes.Lane, file string) []string { return []string{l.Program, parser, file} }
	var first error
	for _, form := range []string{"%s", "class Snippet {\n%s}\n", "class Snippet { void f() throws Exception {\n%s}}\n"} {
		err := with(t, "java", "Snippet.java", strings.Replace(form, "%s", b.text, 1), check)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}
