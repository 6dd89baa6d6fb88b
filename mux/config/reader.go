package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// key is a row of the tables: all there is to say about one key of the file.
type key struct {
	name     string
	def      string // the default as one would write it; empty: there is none
	doc      string
	required bool
	plugin   bool // only a provider with a command has it
	value    value
}

// value is how a key's value is written, and how it is read.
type value struct {
	expects string       // completes "expected …"
	schema  schema       // the same for machines; nil if keys say it
	keys    func() []key // what a mapping holds, or each mapping of a list
	list    bool         // it is a list
	read    func(r *reader, path string, n *node)
}

// reader takes a file apart and collects what is wrong with it.
type reader struct {
	file string
	src  Sources
	errs []*Error
	more int // errors that were not kept

	files    map[string]string // what ${file:…} has read
	unfilled map[string]*Error // paths of values that ${…} could not fill: there is no more to say about them

	nodes, depth, expanded int // see the max… constants
	gaveUp                 bool
	alias                  *yaml.Node      // the outermost alias that is being followed
	read                   map[string]bool // files that were asked for, by absolute path
}

func (r *reader) fail(line int, path, format string, args ...any) {
	if r.unfilled[path] != nil {
		return
	}
	if r.full() {
		r.more++
		return
	}
	r.errs = append(r.errs, &Error{File: r.file, Line: max(line, 1), Key: path, Text: fmt.Sprintf(format, args...)})
}

// full says that no more errors are kept: far more than are shown, since they
// are not found in the order of their lines.
func (r *reader) full() bool { return len(r.errs) >= 10*maxErrors }

// err is all that was found, by line.
func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	// A mapping that is used twice has its mistakes twice.
	r.errs = slices.CompactFunc(r.errs, func(a, b *Error) bool { return *a == *b })
	var all []error
	for i, e := range r.errs {
		if i == maxErrors {
			all = append(all, &Error{File: r.file, Line: e.Line, Text: fmt.Sprintf("and %d more errors from here on", len(r.errs)-i+r.more)})
			break
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// mapping reads the keys of a mapping and returns those that are there.
func (r *reader) mapping(path string, n *node, keys []key) map[string]pair {
	if !r.is(mapping, path, n, "a mapping with the keys "+names(keys)) {
		return nil
	}
	given := make(map[string]pair)
	for _, p := range n.pairs {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == p.key })
		if i < 0 && r.full() {
			r.more++
			continue
		}
		if i < 0 {
			hint := didYouMean(p.key, keyNames(keys))
			if at := whereIs(p.key, "", new(Config).keys()); at != "" && !strings.HasPrefix(path, "providers") {
				hint = "; it belongs to " + at + ", check the indentation."
			}
			r.fail(p.line, join(path, p.key), "unknown key%s Allowed: %s", orStop(hint), names(keys))
			continue
		}
		given[p.key] = p
		keys[i].value.read(r, join(path, p.key), p.value)
	}
	for _, k := range keys {
		if _, ok := given[k.name]; k.required && !ok {
			r.fail(n.line, join(path, k.name), "this key is missing: %s", k.doc)
		}
	}
	return given
}

// whereIs is where else in the file a key would be right, or empty.
func whereIs(name, path string, keys []key) string {
	for _, k := range keys {
		if k.name == name && path != "" {
			return path
		}
		if k.value.keys == nil {
			continue
		}
		below := join(path, k.name)
		if k.value.list {
			below += "[]"
		}
		if at := whereIs(name, below, k.value.keys()); at != "" {
			return at
		}
	}
	return ""
}

func orStop(s string) string {
	if s == "" {
		return "."
	}
	return s
}

func keyNames(keys []key) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.name)
	}
	return out
}

func names(keys []key) string { return strings.Join(keyNames(keys), ", ") }

// is reports a value that is not of the kind.
func (r *reader) is(k kind, path string, n *node, expected string) bool {
	if n.kind == k {
		return true
	}
	r.fail(n.line, path, "expected %s; found %s", expected, n.kind)
	return false
}

// isShown is is for values that are no secrets, and so are shown.
func (r *reader) isShown(k kind, path string, n *node, expected string) bool {
	if n.kind == k {
		return true
	}
	r.fail(n.line, path, "expected %s; found %s", expected, show(n))
	return false
}

// show is a value as an error may show it.
func show(n *node) string {
	switch {
	case n.kind == nothing || n.kind == mapping || n.kind == list:
		return n.kind.String()
	case n.filled:
		return n.kind.String() + " (from ${…}, not shown)"
	}
	return n.kind.String() + ", " + quote(n.text)
}

// quote is a string in quotes, not too long.
func quote(s string) string { return strconv.Quote(cut(s)) }

func cut(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
