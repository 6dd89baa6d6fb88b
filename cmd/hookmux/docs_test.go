package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// root is the way from this folder to the repository's.
const root = "../.."

// A block is what stands between two lines with ``` in a guide.
type block struct {
	file string // from the root
	line int    // of its first line
	kind string // the word behind ```: sh, yaml, …
	note string // what follows that word
	text string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// checkers say of each kind of block what is wrong with it. A kind that is not among them
// must be the text of a file; see checkCopied.
//
//nolint:gochecknoglobals // a constant table
var checkers = map[string]func(*testing.T, *block) error{
	"text":    nothingToCheck, // a picture, or what a program prints
	"mermaid": nothingToCheck, // a picture; GitHub draws it
	"sh":      checkShell,
	"console": checkConsole,
	"yaml":    checkYAML,
	"json":    checkJSON,
	"hocon":   checkHOCON,
	"xml":     checkXML,
	"go":      checkGo,
	"python":  checkPython,
	"js":      checkJavaScript,
	"ts":      checkTypeScript,
	"java":    checkJava,
}

const howToMend = `Every block in a guide is run or checked (cmd/hookmux/docs_test.go). Begin it with one of
	sh        commands: hookmux's are parsed by hookmux, make's targets and paths in the repository must exist
	console   the same for lines that begin with "$ ", and what they print between them
	yaml      a hookmux.yaml or a part of it: top level keys, or a list of whole providers
	go        a program is compiled; of a part, what it takes from packages must exist
	json, xml, hocon (emqx.conf), python, js, ts, java
	text      no command and no config: output, a picture
or else let it be word for word part of a file beside the guide that a test uses, such as one in testdata.`

// Every block of every guide is right, as far as it can be known without doing it.
func TestSnippetsInTheDocs(t *testing.T) {
	t.Parallel()
	found := make(map[string]int)
	for _, file := range guides(t) {
		for _, b := range blocksOf(t, file) {
			found[b.kind]++
			check := checkers[b.kind]
			if check == nil {
				check = checkCopied
			}
			if err := check(t, &b); err != nil {
				t.Errorf("%v: %v\n%s", &b, err, b.text)
			}
		}
	}
	for _, kind := range []string{"sh", "yaml", "go", "hocon"} {
		if found[kind] < 1 {
			t.Errorf("no block of kind %s was found: %v", kind, found)
		}
	}
	if t.Failed() {
		t.Log(howToMend)
	}
}

// The plugin in README.md is the example, to the letter.
func TestReadmeHasTheExample(t *testing.T) {
	t.Parallel()
	code := string(readFile(t, "examples/go/minimal/main.go"))
	if !strings.Contains(string(readFile(t, "README.md")), "```go\n"+code+"```\n") {
		t.Error("the plugin in README.md is not examples/go/minimal/main.go")
	}
}

// laneOf is whose tools check a kind.
//
//nolint:gochecknoglobals // a constant table
var laneOf = map[string]string{"python": "python", "js": "node", "ts": "node", "java": "java"}

// A fence that is not closed, or of no kind, is found, and so is a wrong block of each kind.
func TestBrokenSnippetsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, text, want string }{
		{"sh", "hookmux chekc", "unknown command"},
		{"sh", "hookmux check --foo", "unknown flag"},
		{"sh", "cd x && ./bin/hookmux restart", "name one provider"},
		{"sh", "make lnit", "no target"},
		{"sh", "make demo ARGS=--ounce", "unknown flag: --ounce"},
		{"sh", "frobnicate", "frobnicate"},
		{"sh", "cat deploy/nothing.yaml", "deploy/nothing.yaml"},
		{"sh", "if", "must be followed"},
		{"yaml", "lisen: 127.0.0.1:1", "lisen"},
		{"yaml", "providers: [{name: x, comand: [x]}]", "comand"},
		{"yaml", "- {name: x, command: [x], timeout: 1}", "timeout"},
		{"json", "{", "unexpected"},
		{"xml", "<a>", "unexpected EOF"},
		{"hocon", "exhook.servers = [{nane = x}]", "nane"},
		{"hocon", "exhook.servers = [{name = x]", "closed by"},
		{"go", "x := sdk.Nothing", "sdk.Nothing"},
		{"go", "func (p *plugin) Pure() []sdk.Hok { return nil }", "sdk.Hok"},
		{"go", "package main\n\nfunc main() { x }", "undefined: x"},
		{"python", "def f(:", "SyntaxError"},
		{"js", "class {{", "SyntaxError"},
		{"java", "class X {", "reached end of file"},
		{"ts", "const x: = 1;", "error TS1"},
		{"conf", "nowhere to be found", "no file"},
	} {
		check := checkers[c.kind]
		if check == nil {
			check = checkCopied
		}
		if lane := laneOf[c.kind]; lane != "" {
			if _, err := lanes.Find(t.Context(), lane); err != nil {
				continue
			}
		}
		err := check(t, &block{file: "README.md", line: 1, kind: c.kind, text: c.text + "\n"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: error %v, want one with %q", c.kind, c.text, err, c.want)
		}
	}
}

// guides are all Markdown files of the repository.
func guides(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "testdata" || name == "node_modules" || name == "target" || name == "dist" || name[0] == '.' || name[0] == '_') {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".md") {
			rel, err := filepath.Rel(root, path)
			files = append(files, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil || len(files) < 10 {
		t.Fatalf("%d guides: %v", len(files), err)
	}
	return files
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// blocksOf are the blocks of a guide, those in lists too.
func blocksOf(t *testing.T, file string) (blocks []block) {
	t.Helper()
	var open *block
	var indent string
	for i, line := range strings.SplitAfter(string(readFile(t, file)), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		info, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case !fenced && open != nil:
			open.text += strings.TrimPrefix(line, indent)
		case !fenced:
		case open == nil:
			kind, note, _ := strings.Cut(info, " ")
			if kind == "" {
				t.Errorf("%s:%d: the block does not say what it is, as in ```sh", file, i+1)
				kind = "text"
			}
			open, indent = &block{file: file, line: i + 2, kind: kind, note: note}, line[:len(line)-len(trimmed)]
		default:
			blocks = append(blocks, *open)
			open = nil
		}
	}
	if open != nil {
		t.Errorf("%v: the block has no end", open)
	}
	return blocks
}

func nothingToCheck(*testing.T, *block) error { return nil }

// checkCopied is for the kinds that no checker knows: the block is part of a file beside
// the guide, or below, which is tested there.
func checkCopied(_ *testing.T, b *block) error {
	if _, err := os.Stat(filepath.Join(root, b.file)); err != nil {
		return err
	}
	dir := filepath.Join(root, filepath.Dir(b.file))
	found := errors.New("found")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != dir):
			return filepath.SkipDir
		case !d.Type().IsRegular() || strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(b.text)) {
			return found
		}
		return err
	})
	switch {
	case errors.Is(err, found):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("no checker knows the kind %q, and no file in %s has this text (the kinds: %s)", b.kind, filepath.Dir(b.file),
		strings.Join(slices.Sorted(maps.Keys(checkers)), ", "))
}

func checkJSON(_ *testing.T, b *block) error {
	var value any
	return json.Unmarshal([]byte(b.text), &value)
}

func checkXML(_ *testing.T, b *block) error {
	for dec := xml.NewDecoder(strings.NewReader(b.text)); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	code    = regexp.MustCompile("(?ms)^ *```.*?^ *```|`[^`\n]*`")
)

// Every link between the guides, and from them to files, leads somewhere.
func TestLinksInTheDocs(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, file := range guides(t) {
		text := code.ReplaceAllString(string(readFile(t, file)), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			checked++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(file), path))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: a link leads to %s, which is not there", file, m[1])
			} else if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s: a link leads to %s: %s has no such heading", file, m[1], target)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d links", checked)
	}
}

// anchors are what GitHub calls the headings of a guide.
func anchors(t *testing.T, file string) (names []string) {
	t.Helper()
	for _, m := range heading.FindAllStringSubmatch(string(readFile(t, file)), -1) {
		plain := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(strings.TrimSpace(plain), " ", "-"))
	}
	return names
}
