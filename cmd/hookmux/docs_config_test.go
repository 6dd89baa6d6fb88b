package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hookmux/hookmux/mux/config"
)

// checkYAML has package config read the block as a hookmux.yaml. What is only a part
// of one gets the rest. A note says that it is something else.
func checkYAML(t *testing.T, b *block) error {
	switch b.note {
	case "":
	case "prometheus", "kubernetes", "compose":
		var any map[string]any
		return yaml.Unmarshal([]byte(b.text), &any)
	case "rules": // of plugins/authz-rules, whose own tests read them
		return nil
	default:
		return fmt.Errorf("```yaml %s: no such note; prometheus, kubernetes, compose or rules", b.note)
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(b.text), &node); err != nil {
		return err
	}
	if len(node.Content) == 0 {
		return errors.New("it is empty")
	}
	text := b.text
	switch top := node.Content[0]; {
	case top.Kind == yaml.SequenceNode:
		text = "providers:\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	case top.Kind == yaml.MappingNode && !slices.ContainsFunc(top.Content, func(n *yaml.Node) bool { return n.Value == "providers" }):
		text += "\nproviders: [{name: x, command: [x]}]\n"
	}
	_, err := config.Parse(b.file, []byte(text), config.Sources{
		Env:      func(string) (string, bool) { return "a-value-of-sixteen", true },
		ReadFile: func(string) ([]byte, error) { return []byte("a-value-of-sixteen"), nil },
		Dir:      t.TempDir(),
	})
	return err
}

// The config to start from is one that hookmux takes.
func TestExampleConfig(t *testing.T) {
	t.Parallel()
	if _, err := config.Load(root + "/examples/hookmux.yaml"); err != nil {
		t.Error(err)
	}
}

// keysOfEMQX are the keys of emqx.conf that a guide may use. EMQX does not start
// when it finds one that it does not know.
//
//nolint:gochecknoglobals // a constant table
var keysOfEMQX = []string{
	"exhook.servers", "exhook", "servers", "name", "enable", "url", "request_timeout", "failed_action", "auto_reconnect", "pool_size",
	"ssl", "ssl.enable", "ssl.cacertfile", "ssl.certfile", "ssl.keyfile", "ssl.verify", "ssl.server_name_indication",
	"cacertfile", "certfile", "keyfile", "verify", "server_name_indication",
	"authorization", "authorization.sources", "authorization.no_match", "authorization.deny_action", "authorization.cache", "authorization.cache.enable", "authentication", "sources", "no_match",
}

// checkHOCON knows enough of HOCON to find a misspelled key and a missing bracket.
func checkHOCON(_ *testing.T, b *block) error {
	var open []rune
	for n, line := range strings.Split(b.text, "\n") {
		line, _, _ = strings.Cut(line, " #")
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		quoted := false
		var word strings.Builder // what may turn out to be a key
		for _, c := range line {
			switch {
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '=' || c == ':' || c == '{' && strings.TrimSpace(word.String()) != "":
				if key := strings.TrimSpace(word.String()); !slices.Contains(keysOfEMQX, key) {
					return fmt.Errorf("line %d: %q is not among the keys of EMQX that are known (keysOfEMQX in docs_config_test.go)", n+1, key)
				}
				word.Reset()
				if c == '{' {
					open = append(open, '}')
				}
			case c == '{' || c == '[':
				open = append(open, map[rune]rune{'{': '}', '[': ']'}[c])
				word.Reset()
			case c == '}' || c == ']':
				if len(open) == 0 || open[len(open)-1] != c {
					return fmt.Errorf("line %d: what is open is not closed by %c", n+1, c)
				}
				open = open[:len(open)-1]
				word.Reset()
			case c == ',':
				word.Reset()
			default:
				word.WriteRune(c)
			}
		}
		if quoted {
			return fmt.Errorf("line %d: a quote without its end", n+1)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d brackets are not closed", len(open))
	}
	return nil
}
