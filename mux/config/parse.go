package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parse makes a tree of the file's text; nil after an error.
func (r *reader) parse(data []byte) *node {
	if len(data) > maxFile {
		r.fail(1, "", "the file is larger than 1 MiB")
		return nil
	}
	if at := invalidUTF8(data); at >= 0 {
		r.fail(lineAt(data, at), "", "the file is not UTF-8 text here")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		r.fail(1, "", "the file is empty; at least it needs providers, such as\n%s", indent(Example))
		return nil
	}
	if err != nil {
		r.syntaxError(data, err)
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntaxError(data, err)
		return nil
	default:
		r.fail(second.Line, "", "a second document begins here; the file must be one: remove the line ---")
		return nil
	}
	root := r.tree("", doc.Content[0])
	if r.gaveUp {
		return nil
	}
	return root
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func lineAt(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte("\n")) }

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ")
}

var (
	yamlError    = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	unknownAlias = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
	// The library gives these with a line that counts from 0.
	parserError = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or|<)`)
	tabIndent   = regexp.MustCompile(`^ *\t`)
	controlChar = regexp.MustCompile(`[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\x{fffe}|\x{ffff}|[\x{80}-\x{84}\x{86}-\x{9f}]`)
)

// syntaxError reports what the YAML library says, with the right line and a way
// out where it is a well-known trap.
func (r *reader) syntaxError(data []byte, err error) {
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		m = []string{"", "", "it cannot be read"} // the library's text may show a value
	}
	line, _ := strconv.Atoi(m[1])
	text := m[2]
	if parserError.MatchString(text) {
		line++
	}
	// Errors at the end of the file have the line after the last one.
	line = min(max(line, 1), 1+bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n")))
	lines := strings.Split(string(data), "\n")
	at := lines[line-1]
	switch alias := unknownAlias.FindStringSubmatch(text); {
	case alias != nil:
		// The "anchor" may be a password, so it is not shown.
		line = lineAt(data, max(0, bytes.Index(data, []byte("*"+alias[1]))))
		text = "a value that begins with * refers to an anchor, which this file does not define; quote the value if it is text"
	case strings.Contains(text, "control characters"):
		if at := controlChar.FindIndex(data); at != nil {
			line = lineAt(data, at[0])
		}
		text = "there is a control character in this line; inside double quotes it can be written as an escape, such as \\u0007"
	case strings.Contains(text, "tab character"), strings.Contains(text, "cannot start any token") && tabIndent.MatchString(at):
		if i := slices.IndexFunc(lines[line-1:], tabIndent.MatchString); i > 0 {
			line += i
		}
		text = "YAML does not allow tabs for indentation: use spaces"
	case strings.Contains(text, "cannot start any token"):
		text += "; a value that begins with @, ` or % must be quoted"
	case strings.Contains(text, "expected ',' or") && strings.Contains(at, "${"):
		text += "; within [ ] and { } a value with ${…} must be quoted"
	case strings.Contains(text, "mapping values are not allowed"):
		text += ": check the indentation, and quote a value that contains a colon and a space"
	}
	r.fail(line, "", "this is not YAML, here or shortly above: %s", text)
}
