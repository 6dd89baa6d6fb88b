package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// check finds the hooks a plugin answers, and everything its author will want
// to know before the first event does: a hook that is never called because of
// a typing error would be a hole nobody sees.
func check(plugin any) ([]hookRow, error) {
	v := reflect.ValueOf(plugin)
	if !v.IsValid() {
		return nil, errors.New("the plugin is nil")
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("the plugin is a nil %s", v.Type())
	}
	if t := v.Type(); t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && t.Name() != "" {
		if err := checkPointerMethods(t); err != nil {
			return nil, err
		}
	}

	var problems []error
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		row, known := rowOfMethod(name)
		switch {
		case known && !row.has(plugin):
			problems = append(problems, fmt.Errorf("method %s has the wrong signature\n\thave %s\n\twant %s",
				name, name+strings.TrimPrefix(v.Method(i).Type().String(), "func"), row.signature()))
		case !known && looksLikeHook(name):
			problems = append(problems, unknownMethod(name))
		}
	}
	if t := v.Type(); t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		problems = append(problems, hidden(t, t.Elem())...)
	} else if t.Kind() == reflect.Struct {
		problems = append(problems, hidden(t, t)...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	if err := checkBatchHooks(plugin); err != nil {
		return nil, err
	}
	var inBatches []Hook
	if p, ok := plugin.(BatchHook); ok {
		inBatches = p.BatchHooks()
	}
	var hooks []hookRow
	for _, r := range rows {
		if r.name != "" && (r.has(plugin) || slices.Contains(inBatches, r.name)) {
			hooks = append(hooks, r)
		}
	}
	if len(hooks) == 0 {
		return nil, fmt.Errorf("%T has no hook: give it at least one method such as %s", plugin, rows[2].signature())
	}
	return hooks, nil
}

// checkPointerMethods catches sdk.Serve(p) where sdk.Serve(&p) is meant: the
// methods with a pointer receiver would be missing.
func checkPointerMethods(t reflect.Type) error {
	p := reflect.PointerTo(t)
	for i := range p.NumMethod() {
		name := p.Method(i).Name
		if _, known := rowOfMethod(name); !known && !looksLikeHook(name) {
			continue
		}
		if _, ok := t.MethodByName(name); !ok {
			return fmt.Errorf("method %s has a pointer receiver, so hand over a pointer: a *%s instead of a %s", name, t, t)
		}
	}
	return nil
}

// hidden finds what Go leaves out of the plugin's methods without a word: a
// hook that two embedded structs have, and one that is a field.
func hidden(plugin, t reflect.Type) []error {
	var problems []error
	for f := range t.Fields() {
		if f.Type.Kind() == reflect.Func && looksLikeHook(f.Name) {
			problems = append(problems, fmt.Errorf("%s is a field of %s; a hook must be a method", f.Name, t))
		}
		if !f.Anonymous {
			continue
		}
		embedded := f.Type
		if k := embedded.Kind(); k != reflect.Pointer && k != reflect.Interface {
			embedded = reflect.PointerTo(embedded)
		}
		for i := range embedded.NumMethod() {
			name := embedded.Method(i).Name
			if _, ok := plugin.MethodByName(name); !ok && looksLikeHook(name) {
				problems = append(problems, fmt.Errorf("method %s of the embedded %s is hidden by another of that name, so it would never be called: give %s one of its own",
					name, f.Type, plugin))
			}
		}
		if embedded.Kind() == reflect.Pointer && embedded.Elem().Kind() == reflect.Struct {
			problems = append(problems, hidden(plugin, embedded.Elem())...)
		}
	}
	return problems
}

func rowOfMethod(method string) (hookRow, bool) {
	for _, r := range rows {
		if r.method == method {
			return r, true
		}
	}
	return hookRow{}, false
}

// looksLikeHook reports whether a name is On and an upper-case letter.
func looksLikeHook(name string) bool {
	rest, ok := strings.CutPrefix(name, "On")
	first, _ := utf8.DecodeRuneInString(rest)
	return ok && unicode.IsUpper(first)
}

// otherNames are what hooks and methods are called elsewhere: too far from the
// right name for the edit distance.
//
//nolint:gochecknoglobals // a constant table
var otherNames = map[string]string{
	"OnClientCheckAcl":      "OnClientAuthorize",
	"OnClientCheckACL":      "OnClientAuthorize",
	"OnSessionTakeovered":   "OnSessionTakenover",
	"OnClientAuth":          "OnClientAuthenticate",
	"OnClientAuthn":         "OnClientAuthenticate",
	"OnClientAuthz":         "OnClientAuthorize",
	"OnAuthenticate":        "OnClientAuthenticate",
	"OnAuthorize":           "OnClientAuthorize",
	"OnConnect":             "OnClientConnect",
	"OnConnected":           "OnClientConnected",
	"OnDisconnected":        "OnClientDisconnected",
	"OnSubscribe":           "OnClientSubscribe",
	"OnUnsubscribe":         "OnClientUnsubscribe",
	"OnPublish":             "OnMessagePublish",
	"OnDelivered":           "OnMessageDelivered",
	"OnDropped":             "OnMessageDropped",
	"OnAcked":               "OnMessageAcked",
	"OnLoaded":              "OnProviderLoaded",
	"OnUnloaded":            "OnProviderUnloaded",
	"OnStart":               "Start",
	"OnStop":                "Stop",
	"OnTopics":              "Topics",
	"OnClientAuthorise":     "OnClientAuthorize",
	"OnClientAuthenticated": "OnClientAuthenticate",
}

func unknownMethod(name string) error {
	nearest, ok := otherNames[name]
	if !ok {
		best := len(name)
		for _, r := range rows {
			if d := distance(name, r.method); d < best {
				best, nearest = d, r.method
			}
		}
	}
	row, _ := rowOfMethod(nearest)
	return fmt.Errorf("method %s is no hook; did you mean %s?\n\twant %s\n\t(a method that is meant to be something else must not begin with On)",
		name, nearest, row.signature())
}
