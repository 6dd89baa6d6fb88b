package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hookmux/hookmux/mux"
)

// maxEnvString is what Linux allows for one argument or environment variable
// (128 KiB with its name and the final NUL). A plugin's config is one of them.
const maxEnvString = 127 << 10

// maxProviders is more than EMQX has patience for.
const maxProviders = 256

// providers is the list of providers.
func providers(into *[]Provider) value {
	const expects = "a list of providers, each a mapping with a name and a command or url"
	return value{
		expects: expects,
		list:    true,
		keys:    func() []key { return new(Provider).keys() },
		read: func(r *reader, path string, n *node) {
			if !r.is(list, path, n, expects) {
				return
			}
			if len(n.items) == 0 {
				r.fail(n.line, path, "the list is empty; at least one provider is needed")
			}
			if len(n.items) > maxProviders {
				r.fail(n.line, path, "the list has %d providers; at most %d are possible", len(n.items), maxProviders)
				return
			}
			first := make(map[string]int)
			for i, item := range n.items {
				var p Provider
				r.provider(index(path, i), item, &p, first)
				*into = append(*into, p)
			}
		},
	}
}

// provider reads one provider and checks what its keys mean together. first
// has the line of each name so far.
func (r *reader) provider(path string, n *node, p *Provider, first map[string]int) {
	keys := p.keys()
	given := r.mapping(path, n, keys)
	if given == nil {
		return
	}
	if at := given["name"]; p.Name != "" {
		if line, ok := first[p.Name]; ok {
			r.fail(at.line, join(path, "name"), "the name %s is taken by the provider in line %d", p.Name, line)
		} else {
			first[p.Name] = at.line
		}
	}
	if at, ok := given["config"]; ok {
		p.ConfigAt = fmt.Sprintf("%s:%d", r.file, at.line)
	}
	_, isPlugin := given["command"]
	remote, isRemote := given["url"]
	switch {
	case isPlugin && isRemote:
		r.fail(remote.line, join(path, "url"), "a provider has a command or a url, not both")
	case !isPlugin && !isRemote:
		r.fail(n.line, path, "the provider needs a command (a plugin that hookmux starts) or a url (a server that runs already)")
	case isRemote:
		for _, k := range keys {
			if at, ok := given[k.name]; ok && k.plugin {
				r.fail(at.line, join(path, k.name), "a provider with a url cannot have this key: hookmux does not start it")
			}
		}
	case isPlugin:
		if p.Dir == "" {
			p.Dir = r.src.Dir
		}
		if p.StartTimeout == 0 {
			p.StartTimeout = DefaultStartTimeout
		}
	}
	r.checkGrants(path, p, given)
	r.checkRemoteTLS(path, p, given)
	r.checkDelivery(path, p, given)
	for _, key := range []string{"on_failure", "required"} {
		if at, ok := given[key]; ok && p.Observe && !p.storesValued() {
			r.fail(at.line, join(path, key), "a provider with observe: true decides nothing, so nothing follows when it does not answer; leave out one of the two keys")
		}
	}
	if at, ok := given["pure"]; ok && p.Observe {
		r.fail(at.line, join(path, "pure"), "a provider with observe: true is never asked, so not ahead of its turn either; leave out one of the two keys")
	}
	if _, ok := given["on_failure"]; ok && p.optional {
		r.fail(given["required"].line, join(path, "required"), "required: false is short for on_failure: ignore, and on_failure is given too; leave out one of them")
	} else if p.optional {
		for _, h := range mux.Hooks() {
			if h.Valued() {
				p.OnFailure[h] = mux.Always(mux.Ignore)
			}
		}
	}
	hooks, narrowed := given["hooks"]
	narrowed = narrowed && len(p.Hooks) == len(hooks.value.items) // else the list has errors of its own
	if at, ok := given["on_failure"]; ok && at.value.kind == mapping && narrowed {
		for _, f := range at.value.pairs {
			h, ok := mux.HookByName(f.key)
			if ok && h.Valued() && h.String() == f.key && !slices.ContainsFunc(p.Hooks, func(s mux.HookSpec) bool { return s.Hook == h }) {
				r.fail(f.line, join(join(path, "on_failure"), f.key), "the provider is not asked about this hook: its key hooks does not list it")
			}
		}
	}
}

// command is a program and its arguments.
func command(into *[]string) value {
	const expects = "a program and its arguments, such as [./login, --verbose]"
	return value{expects: expects, list: true, schema: schema{"anyOf": []schema{{"type": "string", "minLength": 1}, listSchema(anyScalar)}}, read: func(r *reader, path string, n *node) {
		var words []string
		switch n.kind {
		case text:
			if strings.ContainsAny(n.text, " \t\n") {
				r.fail(n.line, path, "a string is the program alone; with arguments, write a list: %s", expects)
				return
			}
			words = []string{n.text}
		case list:
			for i, item := range n.items {
				w, ok := r.plain(index(path, i), item)
				if !ok {
					return
				}
				words = append(words, w)
			}
		default:
			r.fail(n.line, path, "expected %s; found %s", expects, n.kind)
			return
		}
		if len(words) == 0 || words[0] == "" {
			r.fail(n.line, path, "expected %s; found none", expects)
			return
		}
		if strings.Contains(words[0], "/") {
			words[0] = r.abs(words[0])
		}
		*into = words
	}}
}

// plain is any scalar as it was written: in an argument or an environment
// variable all are text. The value is not shown.
func (r *reader) plain(path string, n *node) (string, bool) {
	switch {
	case n.kind == nothing:
		r.fail(n.line, path, `expected a string; found nothing (write "" for an empty one)`)
	case n.kind == mapping || n.kind == list:
		r.fail(n.line, path, "expected a string; found %s", n.kind)
	case strings.ContainsRune(n.text, 0):
		r.fail(n.line, path, "the string contains a NUL character")
	case len(n.text) > maxEnvString:
		r.fail(n.line, path, "the string has %d bytes; a process can be given %d", len(n.text), maxEnvString)
	default:
		return n.text, true
	}
	return "", false
}

var (
	envKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// reserved are the variables that hookmux and go-plugin set for a plugin.
	reserved = regexp.MustCompile(`^(HOOKMUX_.*|PLUGIN_(MIN_PORT|MAX_PORT|PROTOCOL_VERSIONS|CLIENT_CERT|MULTIPLEX_GRPC|UNIX_SOCKET_DIR|UNIX_SOCKET_GROUP))$`)
)

// environment is a mapping from name to value.
func environment(into *map[string]string) value {
	const expects = "a mapping from variable to value, such as {LANG: C.UTF-8}"
	return value{expects: expects, schema: schema{"type": "object", "propertyNames": schema{"pattern": envKey.String()}, "additionalProperties": anyScalar}, read: func(r *reader, path string, n *node) {
		if !r.is(mapping, path, n, expects) {
			return
		}
		*into = make(map[string]string)
		for _, p := range n.pairs {
			at := join(path, p.key)
			switch {
			case !envKey.MatchString(p.key):
				r.fail(p.line, at, "this is not the name of an environment variable: letters, digits and _")
			case reserved.MatchString(p.key):
				r.fail(p.line, at, "hookmux sets this variable itself")
			}
			if v, ok := r.plain(at, p.value); ok {
				(*into)[p.key] = v
			}
		}
	}}
}

// directory is a path relative to the file.
func directory(into *string) value {
	const expects = "the path of a directory"
	return value{expects: expects, schema: anyScalar, read: func(r *reader, path string, n *node) {
		s, ok := r.plain(path, n)
		if ok && s == "" {
			r.fail(n.line, path, "expected %s; found an empty string", expects)
		} else if ok {
			*into = filepath.Clean(r.abs(s))
		}
	}}
}

// Off is what switches something off that has a path.
const Off = "off"

// pathOrOff is the path of a file.
func pathOrOff(into *string) value {
	const expects = "the path of a file, or off"
	return value{expects: expects, schema: schema{"type": "string"}, read: func(r *reader, path string, n *node) {
		switch s, ok := r.plain(path, n); {
		case !ok:
		case s == "":
			r.fail(n.line, path, "expected %s; found an empty string", expects)
		case s == Off:
			*into = Off
		default:
			*into = r.abs(s)
		}
	}}
}
