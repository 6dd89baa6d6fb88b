package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hookmux/hookmux/mux"
)

// hookNames lists the hooks' names of today, those that pass.
func hookNames(passes func(mux.Hook) bool) []string {
	var out []string
	for _, h := range mux.Hooks() {
		if passes(h) {
			out = append(out, h.String())
		}
	}
	return out
}

func anyHook(mux.Hook) bool { return true }

// hook reads a hook's name. A name that v1 had is an error that says today's,
// so that a file has one name for one thing.
func (r *reader) hook(line int, path, s string, filled bool, passes func(mux.Hook) bool, only string) (mux.Hook, bool) {
	shown := quote(s)
	if filled {
		shown = "what ${…} stands for"
	}
	h, ok := mux.HookByName(s)
	switch {
	case ok && s != h.String():
		r.fail(line, path, "%s is the name that EMQX 4 has for this hook; write %s", shown, h)
	case ok && !passes(h):
		r.fail(line, path, "%s cannot be here: %s. Allowed: %s", h, only, strings.Join(hookNames(passes), ", "))
	case ok:
		return h, true
	default:
		near := ""
		if !filled {
			near = nearHook(s)
		}
		r.fail(line, path, "%s is no hook%s Allowed: %s", shown, orStop(near), strings.Join(hookNames(passes), ", "))
	}
	return 0, false
}

func nearHook(s string) string {
	for _, h := range mux.Hooks() {
		for _, api := range []mux.API{mux.V1, mux.V2, mux.V3} {
			if strings.EqualFold(s, api.Method(h)) {
				return "; did you mean " + h.String() + "?"
			}
		}
	}
	return didYouMean(strings.ReplaceAll(s, "_", "."), hookNames(anyHook))
}

// hookList is which hooks a provider is asked about.
func hookList(into *[]mux.HookSpec) value {
	const expects = "a list of hooks, such as [client.authenticate, {name: message.publish, topics: [\"sensors/#\"]}]"
	item := schema{"anyOf": []schema{enumSchema(hookNames(anyHook)), objectSchema(hookKeys(new(mux.HookSpec), new(bool)))}}
	return value{expects: expects, list: true, schema: listSchema(item), read: func(r *reader, path string, n *node) {
		if !r.is(list, path, n, expects) {
			return
		}
		if len(n.items) == 0 {
			r.fail(n.line, path, "the list is empty, so the provider would never be asked; leave the key out to ask it about all that it answers")
		}
		first := make(map[mux.Hook]int)
		for i, item := range n.items {
			spec, ok := r.hookItem(index(path, i), item)
			if !ok {
				continue
			}
			if line, twice := first[spec.Hook]; twice {
				r.fail(item.line, index(path, i), "%s is listed twice, first in line %d; put its topics into one list", spec.Hook, line)
				continue
			}
			first[spec.Hook] = item.line
			*into = append(*into, spec)
		}
	}}
}

func (r *reader) hookItem(path string, n *node) (spec mux.HookSpec, ok bool) {
	switch n.kind {
	case text:
		spec.Hook, ok = r.hook(n.line, path, n.text, n.filled, anyHook, "")
		return spec, ok
	case mapping:
		given := r.mapping(path, n, hookKeys(&spec, &ok))
		if p, there := given["topics"]; ok && there && !spec.Hook.HasTopics() {
			r.fail(p.line, join(path, "topics"), "%s has no topic to filter by; only message hooks have", spec.Hook)
		}
		return spec, ok
	default:
		r.fail(n.line, path, "expected a hook's name, or a mapping with its name and topics; found %s", show(n))
		return spec, false
	}
}

func hookKeys(spec *mux.HookSpec, ok *bool) []key {
	return []key{
		{name: "name", required: true, doc: "the hook's name, such as message.publish", value: value{
			expects: "a hook's name",
			schema:  enumSchema(hookNames(anyHook)),
			read: func(r *reader, path string, n *node) {
				if r.isShown(text, path, n, "a hook's name") {
					spec.Hook, *ok = r.hook(n.line, path, n.text, n.filled, anyHook, "")
				}
			},
		}},
		{name: "topics", doc: "only messages whose topic matches one of these filters; for message hooks", value: topics(&spec.Topics)},
	}
}

// topics is a list of MQTT topic filters.
func topics(into *[]string) value {
	const expects = `a list of topic filters, such as ["sensors/#"]`
	return value{expects: expects, list: true, schema: listSchema(schema{"type": []string{"string", "integer"}, "minLength": 1}), read: func(r *reader, path string, n *node) {
		if !r.is(list, path, n, expects) {
			return
		}
		if len(n.items) == 0 {
			r.fail(n.line, path, "the list is empty; leave the key out for every topic")
		}
		for i, item := range n.items {
			at := index(path, i)
			// A level may look like a number: topics: [42].
			if item.kind != text && item.kind != integer {
				r.fail(item.line, at, "expected a topic filter; found %s", show(item))
				continue
			}
			err := mux.CheckTopicFilter(item.text)
			switch {
			case err != nil && item.filled:
				r.fail(item.line, at, "what ${…} stands for is no valid topic filter")
			case err != nil && len(item.text) > 200:
				r.fail(item.line, at, "this is no valid topic filter: %s", quote(item.text))
			case err != nil:
				r.fail(item.line, at, "%v", err)
			case strings.HasPrefix(item.text, "$SYS/"):
				r.fail(item.line, at, "EMQX sends no messages of $SYS/ topics to hooks")
			default:
				*into = append(*into, item.text)
			}
		}
	}}
}

// onFailure is a failure policy for all valued hooks, or a mapping from hook to
// failure policy. A policy is a word, or a mapping from cause to word.
func onFailure(into *[mux.NumHooks]mux.Policies) value {
	expects := "one of " + strings.Join(mux.PolicyNames(), ", ") + ", or a mapping from hook or cause to one of them"
	one := enumSchema(mux.PolicyNames())
	byCause := mapSchema(causeNames(), one)
	byHook := mapSchema(hookNames(mux.Hook.Valued), schema{"anyOf": []schema{one, byCause}})
	return value{expects: expects, schema: schema{"anyOf": []schema{one, byCause, byHook}}, read: func(r *reader, path string, n *node) {
		if n.kind != mapping && n.kind != text {
			r.fail(n.line, path, "expected %s; found %s", expects, show(n))
			return
		}
		if n.kind == text || len(n.pairs) > 0 && isCause(n.pairs[0].key) {
			if p, ok := r.policies(path, n); ok {
				for _, h := range mux.Hooks() {
					if h.Valued() {
						into[h] = p
					}
				}
			}
			return
		}
		for _, p := range n.pairs {
			at := join(path, p.key)
			if isCause(p.key) {
				r.fail(p.line, at, "a cause cannot stand beside a hook; put it into the hook's own mapping, such as {client.authenticate: {timeout: ignore}}")
				continue
			}
			h, ok := r.hook(p.line, at, p.key, false, mux.Hook.Valued, "EMQX expects no answer to it")
			if policies, right := r.policies(at, p.value); ok && right {
				into[h] = policies
			}
		}
	}}
}

// isCause says what a key is meant to be: every hook's name has a dot, no
// cause's has.
func isCause(key string) bool { return !strings.Contains(key, ".") && nearHook(key) == "" }

// policies is a word for every cause, or a mapping from cause to word; a cause
// that it leaves out is denied.
func (r *reader) policies(path string, n *node) (p mux.Policies, ok bool) {
	if n.kind != mapping {
		w, ok := r.word(path, n, mux.PolicyNames())
		if ok {
			word, _ := mux.ParsePolicy(w)
			p = mux.Always(word)
		}
		return p, ok
	}
	ok = true
	for _, pair := range n.pairs {
		at := join(path, pair.key)
		i := slices.Index(causeNames(), pair.key)
		if i < 0 {
			r.fail(pair.line, at, "%s is no cause of a missing answer%s Allowed: %s", quote(pair.key), orStop(didYouMean(pair.key, causeNames())), strings.Join(causeNames(), ", "))
		}
		w, isWord := r.word(at, pair.value, mux.PolicyNames())
		if i < 0 || !isWord {
			ok = false
			continue
		}
		p[mux.Causes()[i]], _ = mux.ParsePolicy(w)
	}
	return p, ok
}

func causeNames() (names []string) {
	for _, c := range mux.Causes() {
		names = append(names, c.String())
	}
	return names
}

// defaults is a mapping from access hook to allow or deny.
func defaults(into *map[mux.Hook]bool) value {
	words := []string{mux.Allow.String(), mux.Deny.String()}
	expects := fmt.Sprintf("a mapping from %s to %s", strings.Join(hookNames(mux.Hook.Access), " or "), strings.Join(words, " or "))
	return value{expects: expects, schema: mapSchema(hookNames(mux.Hook.Access), enumSchema(words)), read: func(r *reader, path string, n *node) {
		if !r.is(mapping, path, n, expects) {
			return
		}
		*into = make(map[mux.Hook]bool)
		for _, p := range n.pairs {
			at := join(path, p.key)
			h, ok := r.hook(p.line, at, p.key, false, mux.Hook.Access, "only access hooks have a default")
			if w, isWord := r.word(at, p.value, words); ok && isWord {
				(*into)[h] = w == mux.Allow.String()
			}
		}
	}}
}

// strategies is a mapping from valued hook to strategy.
func strategies(into *[mux.NumHooks]mux.Strategy) value {
	expects := fmt.Sprintf("a mapping from %s to one of %s", strings.Join(hookNames(mux.Hook.Access), " or "), strings.Join(mux.StrategyNames(), ", "))
	byHook := mapSchema(hookNames(mux.Hook.Valued), enumSchema(mux.StrategyNames()))
	return value{expects: expects, schema: byHook, read: func(r *reader, path string, n *node) {
		if !r.is(mapping, path, n, expects) {
			return
		}
		for _, p := range n.pairs {
			at := join(path, p.key)
			h, ok := r.hook(p.line, at, p.key, false, mux.Hook.Valued, "EMQX expects no answer to it")
			w, isWord := r.word(at, p.value, mux.StrategyNames())
			if !ok || !isWord {
				continue
			}
			s, _ := mux.ParseStrategy(w)
			if s != mux.Chain && !h.Access() {
				r.fail(p.line, at, "a message goes from one provider to the next, so %s can only be chain; %s is for %s", h, s, strings.Join(hookNames(mux.Hook.Access), " and "))
				continue
			}
			into[h] = s
		}
	}}
}
