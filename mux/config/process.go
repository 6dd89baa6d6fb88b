package config

import (
	"regexp"
	"strconv"
	"strings"
)

// Process is what a plugin's process may be and use. A zero value leaves things
// as they are for hookmux.
type Process struct {
	User      string            // user or user:group, by name or number
	Umask     *int              // nil: hookmux's
	Nice      int               // 0: hookmux's
	Memory    int64             // bytes
	CPUWeight int               // 1 to 10000
	OpenFiles int               // of each of its processes
	SHA256    map[string]string // hexadecimal, by absolute path; "" is the executable
}

func (p *Process) keys() []key {
	return []key{
		{name: "user", doc: "who the plugin runs as, `user` or `user:group`, by name or number; needs root",
			value: userName(&p.User)},
		{name: "umask", doc: "what the files it makes are not allowed to be, in octal, such as 027",
			value: umask(&p.Umask)},
		{name: "nice", doc: "its priority: positive gives way to others, negative needs root",
			value: count(&p.Nice, -20, 19)},
		{name: "memory", doc: "what it and all it starts may use together; over that it is killed and restarted. Held by the kernel where hookmux's cgroup (v2) is delegated to it, else looked at every 2 s",
			value: size(&p.Memory, 1<<20, 1<<40)},
		{name: "cpu_weight", doc: "its share when the CPU is short, against 100 for what has none given; needs a delegated cgroup (v2)",
			value: count(&p.CPUWeight, 1, 10_000)},
		{name: "open_files", doc: "how many files, sockets among them, each of its processes may have open",
			value: count(&p.OpenFiles, 16, 1<<20)},
		{name: "sha256", doc: "the sum that the executable must have, or a mapping from file, relative to this one, to sum; it is compared before every start, and without a match there is none",
			value: sums(&p.SHA256)},
	}
}

var userText = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*[$]?(:[A-Za-z0-9_][A-Za-z0-9_.@-]*)?$`)

// userName is a user, and perhaps a group, by name or number.
func userName(into *string) value {
	v := value{expects: "a user, such as nobody, nobody:nogroup, or 1000:1000",
		schema: orFilled(schema{"type": []string{"string", "integer"}, "pattern": userText.String()})}
	v.read = func(r *reader, path string, n *node) {
		if scalar := n.kind == text || n.kind == integer; !scalar || !userText.MatchString(n.text) {
			r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
			return
		}
		*into = n.text
	}
	return v
}

var octal = regexp.MustCompile(`^(0o)?[0-7]{1,4}$`)

// umask is octal however YAML takes it.
func umask(into **int) value {
	v := value{expects: "an octal number from 0 to 777, such as 027",
		schema: orFilled(schema{"type": []string{"string", "integer"}, "pattern": octal.String()})}
	v.read = func(r *reader, path string, n *node) {
		bits, err := strconv.ParseUint(strings.TrimPrefix(n.text, "0o"), 8, 16)
		if scalar := n.kind == text || n.kind == integer; !scalar || !octal.MatchString(n.text) || err != nil || bits > 0o777 {
			r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
			return
		}
		mask := int(bits)
		*into = &mask
	}
	return v
}

var sumText = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// sums is a SHA-256 sum, or a mapping from file to sum.
func sums(into *map[string]string) value {
	const expects = "the SHA-256 sum of the executable, 64 hexadecimal digits as sha256sum prints them, or a mapping from file to sum"
	one := orFilled(schema{"type": []string{"string", "number"}, "pattern": sumText.String()})
	return value{expects: expects, schema: schema{"anyOf": []schema{one, {"type": "object", "additionalProperties": one}}}, read: func(r *reader, path string, n *node) {
		found := make(map[string]string)
		one := func(at, file string, n *node) {
			// One of digits alone is a number to YAML.
			if n.kind == mapping || n.kind == list || !sumText.MatchString(n.text) {
				r.fail(n.line, at, "expected %s; found %s", expects, show(n))
				return
			}
			found[file] = strings.ToLower(n.text)
		}
		if n.kind != mapping {
			one(path, "", n)
		}
		for _, p := range n.pairs {
			at := join(path, p.key)
			if p.key == "" {
				r.fail(p.line, at, "expected the name of a file; found an empty string")
				continue
			}
			one(at, r.abs(p.key), p.value)
		}
		*into = found
	}}
}
