package config

import (
	"slices"
	"strings"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/condition"
)

// words is a list of some of a few words; an empty list is another thing than none.
func words[T comparable](all []string, into *[]T, parse func(string) (T, error)) value {
	expects := "a list of some of " + strings.Join(all, ", ")
	of := listSchema(enumSchema(all))
	delete(of, "minItems")
	v := value{expects: expects, list: true, schema: of}
	v.read = func(r *reader, path string, n *node) {
		if !r.is(list, path, n, expects) {
			return
		}
		*into = []T{}
		for i, item := range n.items {
			at := index(path, i)
			w, ok := r.word(at, item, all)
			if !ok {
				continue
			}
			one, _ := parse(w)
			if slices.Contains(*into, one) {
				r.fail(item.line, at, "%s is listed twice", w)
				continue
			}
			*into = append(*into, one)
		}
	}
	return v
}

// checkGrants checks that a provider is not to change what it is not shown.
func (r *reader) checkGrants(path string, p *Provider, given map[string]pair) {
	if slices.Contains(p.MayChange, mux.ChangePayload) && slices.Contains(p.Redact, mux.RedactPayload) {
		r.fail(given["may_change"].line, join(path, "may_change"), "the provider cannot change the payload, because redact hides it; take payload out of one of the two lists")
	}
}

// when is a condition in CEL.
func when(into *mux.Condition) value {
	const expects = `a condition, such as client.username != "" or hook == "message.publish"`
	v := value{expects: expects, schema: schema{"type": []string{"string", "boolean"}}}
	v.read = func(r *reader, path string, n *node) {
		if n.kind != text && n.kind != boolean { // true is a condition, too
			r.fail(n.line, path, "expected %s; found %s", expects, show(n))
			return
		}
		c, err := condition.Parse(strings.TrimRight(n.text, " \t\r\n"))
		if err == nil && n.filled {
			*into = hiddenCondition{c}
			return
		}
		if err == nil {
			*into = c
			return
		}
		if n.filled { // what is wrong may show it
			r.fail(n.line, path, "what ${…} stands for is no valid condition")
			return
		}
		r.fail(n.line, path, "%v", err)
	}
	return v
}

// hiddenCondition is one that a secret may be in.
type hiddenCondition struct{ mux.Condition }

func (hiddenCondition) String() string { return "(from ${…}, not shown)" }
