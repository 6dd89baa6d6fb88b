package event

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Template is the name of a Kafka topic or a NATS subject with placeholders:
//
//	{topic}    the message's topic, its levels divided by dots
//	{topic.2}  the second level of it
//	{client}, {username}, {hook}, {node}
//
// It begins with something fixed, so that no client can choose the whole name. What is filled
// in has only what the target allows there.
type Template struct {
	parts []part
	rules Rules
}

// Rules are what a target wants of its names.
type Rules struct {
	// Escape makes one level of a name, never empty.
	Escape func(level string) string
	// Longest is how many bytes a name may have; a longer one is cut, and a hash of the
	// whole takes the place of what was cut.
	Longest int
}

type part struct {
	text string                // fixed
	fill func(e *Event) string // nil: text
}

// Placeholders are what may stand in a template.
const Placeholders = "{topic}, {topic.N}, {client}, {username}, {hook}, {node}"

// ParseTemplate reads a template.
func ParseTemplate(s string, rules Rules) (*Template, error) {
	t := &Template{rules: rules}
	if s == "" || s[0] == '{' {
		return nil, fmt.Errorf("%q must begin with something fixed, or a client could choose the whole name", s)
	}
	for rest := s; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, fmt.Errorf("%q has a } without a {", s)
		}
		if strings.Contains("."+s+".", "..") {
			return nil, fmt.Errorf("%q has an empty level", s)
		}
		for level := range strings.SplitSeq(text, ".") {
			if level != "" && rules.Escape(level) != level {
				return nil, fmt.Errorf("%q: the target does not allow %q in its names", s, level)
			}
		}
		t.parts = append(t.parts, part{text: text})
		if !found {
			break
		}
		name, more, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q has a { without a }", s)
		}
		fill, err := placeholder(name, rules.Escape)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		t.parts = append(t.parts, part{fill: fill})
		rest = more
	}
	return t, nil
}

// First is the fixed beginning, up to the first dot or placeholder.
func (t *Template) First() string {
	first, _, _ := strings.Cut(t.parts[0].text, ".")
	return first
}

func placeholder(name string, escape func(string) string) (func(*Event) string, error) {
	switch name {
	case "topic":
		return func(e *Event) string {
			var levels []string
			for level := range strings.SplitSeq(e.Topic(), "/") {
				levels = append(levels, escape(level))
			}
			return strings.Join(levels, ".")
		}, nil
	case "client":
		return func(e *Event) string { return escape(e.Client) }, nil
	case "username":
		return func(e *Event) string { return escape(e.Username) }, nil
	case "hook":
		return func(e *Event) string { return string(e.Hook) }, nil
	case "node":
		return func(e *Event) string { return escape(e.Node()) }, nil
	}
	if level, ok := strings.CutPrefix(name, "topic."); ok {
		if n, err := strconv.Atoi(level); err == nil && n > 0 {
			return func(e *Event) string {
				levels := strings.SplitN(e.Topic(), "/", n+1)
				if len(levels) < n {
					return escape("")
				}
				return escape(levels[n-1])
			}, nil
		}
	}
	return nil, fmt.Errorf("there is no placeholder {%s}, only %s", name, Placeholders)
}

// Fill is the name for an event.
func (t *Template) Fill(e *Event) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.fill == nil {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(p.fill(e))
	}
	return shorten(b.String(), t.rules.Longest)
}

// shorten keeps different names different.
func shorten(name string, longest int) string {
	if len(name) <= longest {
		return name
	}
	h := fnv.New128a()
	_, _ = h.Write([]byte(name))
	end := fmt.Sprintf("-%x", h.Sum(nil))
	cut := longest - len(end)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return strings.TrimRight(name[:cut], ".%") + end
}
