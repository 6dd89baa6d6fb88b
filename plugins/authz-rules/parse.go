package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
)

const largestFile = 16 << 20

func readRules(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	if len(text) > largestFile {
		return nil, fmt.Errorf("%s has more than %d MiB", path, largestFile>>20)
	}
	return text, nil
}

// parseRules reads a rules file. An error names the file and the line, and there may be
// several.
func parseRules(path string, text []byte) (*ruleSet, error) {
	p := &parser{path: path}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&doc)
	if err == nil {
		if err = d.Decode(&more); err == nil {
			return nil, fmt.Errorf("%s:%d: a second document, which nobody would read: take the --- out", path, more.Line)
		}
	}
	switch {
	case len(doc.Content) == 0 && errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: is empty; write rules: and a list, which may be []", path)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var rules []*rule
	p.mapping(doc.Content[0], map[string]func(*yaml.Node){
		"rules": func(n *yaml.Node) {
			for _, item := range p.list(n) {
				rules = append(rules, p.rule(item))
			}
		},
	})
	if !has(doc.Content[0], "rules") {
		p.fail(doc.Content[0], "has no key rules")
	}
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	return newRuleSet(rules), nil
}

type parser struct {
	path     string
	problems []error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	const enough = 10
	if len(p.problems) < enough {
		p.problems = append(p.problems, fmt.Errorf("%s:%d: %s", p.path, n.Line, fmt.Sprintf(format, args...)))
	}
}

// mapping reads a mapping with these keys; what it says is given to their functions.
func (p *parser) mapping(n *yaml.Node, keys map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "must be keys and values: %s", strings.Join(sorted(keys), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		read, ok := keys[key.Value]
		switch {
		case !ok:
			p.fail(key, "unknown key %q; allowed: %s", key.Value, strings.Join(sorted(keys), ", "))
		case seen[key.Value]:
			p.fail(key, "key %q is given twice", key.Value)
		default:
			seen[key.Value] = true
			read(n.Content[i+1])
		}
	}
}

func (p *parser) list(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "must be a list")
		return nil
	}
	return n.Content
}

// texts reads one text or a list of them.
func (p *parser) texts(n *yaml.Node) []*yaml.Node {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		if nodes = n.Content; len(nodes) == 0 {
			p.fail(n, "an empty list, which nothing fits; leave the key out if everything should")
		}
	}
	for _, t := range nodes {
		p.text(t)
	}
	return nodes
}

func (p *parser) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fail(n, "must be a text")
		return ""
	}
	return n.Value
}

func (p *parser) rule(n *yaml.Node) *rule {
	r := &rule{line: n.Line}
	p.mapping(n, map[string]func(*yaml.Node){
		"allow":  func(n *yaml.Node) { r.allow = true; p.action(r, "allow", n) },
		"deny":   func(n *yaml.Node) { p.action(r, "deny", n) },
		"who":    func(n *yaml.Node) { p.who(r, n) },
		"topics": func(n *yaml.Node) { p.topics(r, n) },
		"when": func(n *yaml.Node) {
			var err error
			if r.when, err = newCondition(p.text(n)); err != nil {
				p.fail(n, "when: %s", err)
			}
		},
	})
	if n.Kind == yaml.MappingNode && has(n, "allow") == has(n, "deny") {
		p.fail(n, "a rule has either the key allow or the key deny")
	}
	return r
}

func (p *parser) action(r *rule, key string, n *yaml.Node) {
	switch p.text(n) {
	case "publish":
		r.publish = true
	case "subscribe":
		r.subscribe = true
	case "all":
		r.publish, r.subscribe = true, true
	default:
		p.fail(n, "%s: %q is none of publish, subscribe, all", key, n.Value)
	}
}

func (p *parser) who(r *rule, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Value == "all" {
		return
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.fail(n, "who: is empty; write who: all if everybody is meant")
	}
	name := func(into **text) func(*yaml.Node) { return func(n *yaml.Node) { *into = p.name(n) } }
	p.mapping(n, map[string]func(*yaml.Node){
		"username": name(&r.username),
		"clientid": name(&r.clientid),
		"cn":       name(&r.cn),
		"ip": func(n *yaml.Node) {
			for _, t := range p.texts(n) {
				prefix, err := netip.ParsePrefix(t.Value)
				if addr, addrErr := netip.ParseAddr(t.Value); addrErr == nil {
					prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
				}
				if err != nil || prefix.Addr().Is4In6() {
					p.fail(t, "%q is no address such as 10.0.0.7 and no network such as 10.0.0.0/8 or fd00::/8", t.Value)
				}
				r.ips = append(r.ips, prefix)
			}
		},
	})
}

// name reads a name, a list of names, or {re: EXPRESSION}.
func (p *parser) name(n *yaml.Node) *text {
	t := new(text)
	if n.Kind != yaml.MappingNode {
		for _, v := range p.texts(n) {
			t.is = append(t.is, v.Value)
		}
		return t
	}
	p.mapping(n, map[string]func(*yaml.Node){
		"re": func(n *yaml.Node) {
			_, err := regexp.Compile(p.text(n)) // by itself: a)|(?:b is none
			if err == nil {
				t.re, err = regexp.Compile(`\A(?:` + n.Value + `)\z`)
			}
			if err != nil {
				p.fail(n, "%q is no regular expression of RE2", n.Value)
			}
		},
	})
	if !has(n, "re") {
		p.fail(n, "must be a name, a list of names, or {re: EXPRESSION}")
	}
	return t
}

func (p *parser) topics(r *rule, n *yaml.Node) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		if items = n.Content; len(items) == 0 {
			p.fail(n, "topics: an empty list, which nothing fits; leave the key out if every topic should")
		}
	}
	for _, item := range items {
		exactly := item.Kind == yaml.MappingNode
		if exactly {
			eq := item
			p.mapping(item, map[string]func(*yaml.Node){"eq": func(n *yaml.Node) { eq = n }})
			if eq == item {
				p.fail(item, "must be a topic filter or {eq: TEXT}")
				continue
			}
			item = eq
		}
		f, err := topicfilter.New(p.text(item), exactly)
		if err != nil {
			p.fail(item, "%s", err)
		}
		r.topics = append(r.topics, f)
	}
}

func has(n *yaml.Node, key string) bool {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

func sorted[V any](keys map[string]V) []string { return slices.Sorted(maps.Keys(keys)) }
