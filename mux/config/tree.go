package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// kind is what a value in the file is.
type kind uint8

const (
	nothing kind = iota
	mapping
	list
	text
	integer
	decimal
	boolean
)

func (k kind) String() string {
	return [...]string{"nothing", "a mapping", "a list", "a string", "a whole number", "a number", "a boolean"}[k]
}

// node is a value of the file: YAML without aliases, merge keys, tags and ${…}.
type node struct {
	kind   kind
	line   int
	text   string // of a scalar, as it was written; of a string, after expansion
	filled bool   // text holds what ${…} brought in: it must not be shown, and may stand for a number
	pairs  []pair // of a mapping, in the file's order
	items  []*node
}

type pair struct {
	key   string
	line  int
	value *node
}

// tree makes a node of what YAML has at a path. It reports what no reader
// could make sense of, and gives up on a file that unfolds without end.
func (r *reader) tree(path string, y *yaml.Node) *node {
	if r.gaveUp {
		return &node{}
	}
	r.nodes++
	r.depth++
	defer func() { r.depth-- }()
	switch {
	case r.nodes > maxNodes:
		return r.giveUp(y, "", "the file has more than 100000 values once its aliases (*name) are followed")
	case r.depth > maxDepth:
		return r.giveUp(y, cut(path), "more than 64 values lie within each other here (an alias within its own anchor?)")
	}
	n := &node{line: y.Line}
	switch y.Kind {
	case yaml.AliasNode:
		if r.alias == nil {
			r.alias = y
			defer func() { r.alias = nil }()
		}
		return r.tree(path, y.Alias)
	case yaml.MappingNode:
		n.kind = mapping
		r.pairs(path, n, y)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, r.tree(index(path, i), item))
		}
	case yaml.ScalarNode:
		r.scalar(path, n, y)
	}
	return n
}

func (r *reader) giveUp(y *yaml.Node, path, text string) *node {
	r.gaveUp = true
	if r.alias != nil {
		y = r.alias
	}
	// What else is wrong was found in half a tree.
	r.errs, r.more = nil, 0
	r.fail(y.Line, path, "%s", text)
	return &node{}
}

// pairs reads a mapping's content, those of merge keys (<<) last, because its
// own keys win.
func (r *reader) pairs(path string, n *node, y *yaml.Node) {
	own := make(map[string]int) // line
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		for depth := 0; k.Kind == yaml.AliasNode && depth < maxDepth; depth++ {
			k = k.Alias
		}
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode || isNull(k) {
			r.fail(k.Line, path, "a key of a mapping must be a string")
			continue
		}
		at := join(path, k.Value)
		if first, ok := own[k.Value]; ok {
			r.fail(k.Line, at, "the key is given twice, first in line %d", first)
			continue
		}
		own[k.Value] = k.Line
		n.pairs = append(n.pairs, pair{k.Value, k.Line, r.tree(at, v)})
	}
	for _, m := range merged {
		r.merge(path, n, own, m)
	}
}

func (r *reader) merge(path string, n *node, own map[string]int, y *yaml.Node) {
	from := []*node{r.tree(join(path, "<<"), y)}
	if from[0].kind == list {
		from = from[0].items
	}
	for _, f := range from {
		if f.kind != mapping && !r.gaveUp {
			r.fail(y.Line, join(path, "<<"), "only mappings can be merged in, found %s", f.kind)
		}
		for _, p := range f.pairs {
			if _, ok := own[p.key]; !ok {
				own[p.key] = p.line
				n.pairs = append(n.pairs, p)
			}
		}
	}
}

func (r *reader) scalar(path string, n *node, y *yaml.Node) {
	n.text = y.Value
	switch y.ShortTag() {
	case "!!null":
		n.kind = nothing
	case "!!bool":
		n.kind = boolean
	case "!!int":
		n.kind = integer
	case "!!float":
		n.kind = decimal
	case "!!str", "!!timestamp", "!!merge":
		n.kind = text
		n.text, n.filled = r.expand(n.line, path, y.Value)
		return
	default:
		r.fail(n.line, path, "a value that begins with ! has a YAML tag, which hookmux.yaml does not use; quote the value if it is text")
		n.kind = text
		return
	}
	if y.Style&yaml.TaggedStyle != 0 {
		r.fail(n.line, path, "YAML tags such as %s are not used in hookmux.yaml", y.ShortTag())
	}
}

// join is the path of a key within a mapping.
func join(path, key string) string {
	if plain := strings.Trim(key, keyChars) == ""; !plain || len(key) > 64 || key == "" {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

const keyChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.<"
