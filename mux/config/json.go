package config

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// jsonObject is a mapping of any content.
func jsonObject(into *json.RawMessage) value {
	const expects = "a mapping"
	return value{expects: expects, schema: schema{"type": "object"}, read: func(r *reader, path string, n *node) {
		if !r.is(mapping, path, n, expects) {
			return
		}
		var b bytes.Buffer
		if !r.json(path, n, &b) {
			return
		}
		if b.Len() > maxEnvString {
			r.fail(n.line, path, "as JSON this has more than %d bytes, which a plugin cannot be given; put what is large into a file and give the plugin its name", maxEnvString)
			return
		}
		*into = b.Bytes()
	}}
}

// json writes a value as JSON, keys in the file's order, and numbers with the
// digits that the file has.
func (r *reader) json(path string, n *node, b *bytes.Buffer) bool {
	if b.Len() > maxEnvString {
		return true // jsonObject says so
	}
	ok := true
	switch n.kind {
	case mapping:
		b.WriteByte('{')
		for i, p := range n.pairs {
			if i > 0 {
				b.WriteByte(',')
			}
			jsonString(b, p.key)
			b.WriteByte(':')
			ok = r.json(join(path, p.key), p.value, b) && ok
		}
		b.WriteByte('}')
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			ok = r.json(index(path, i), item, b) && ok
		}
		b.WriteByte(']')
	case text:
		jsonString(b, n.text)
	case boolean:
		b.WriteString(strings.ToLower(n.text))
	case nothing:
		b.WriteString("null")
	case integer, decimal:
		number, problem := jsonNumber(n.text)
		if problem != "" {
			r.fail(n.line, path, "%s", problem)
			return false
		}
		b.WriteString(number)
	}
	return ok
}

func jsonString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can
	b.Truncate(b.Len() - 1)
}

var (
	isJSONNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	leadingZero  = regexp.MustCompile(`^[-+]?0[0-9_]`)
)

// jsonNumber is a YAML number as JSON. The number may be meant as a secret, so
// problems do not show it.
func jsonNumber(s string) (number, problem string) {
	if isJSONNumber.MatchString(s) {
		return s, ""
	}
	if leadingZero.MatchString(s) {
		return "", "a number with a leading zero is octal in one YAML and decimal in another: quote it if it is text, or write 0o for octal"
	}
	digits := strings.ReplaceAll(s, "_", "")
	unsigned := strings.TrimPrefix(digits, "+")
	if i, err := strconv.ParseInt(unsigned, 0, 64); err == nil {
		return strconv.FormatInt(i, 10), ""
	}
	if u, err := strconv.ParseUint(unsigned, 0, 64); err == nil {
		return strconv.FormatUint(u, 10), ""
	}
	if f, err := strconv.ParseFloat(digits, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		out, err := json.Marshal(f)
		if err == nil {
			return string(out), ""
		}
	}
	return "", "JSON, which the plugin is given, has no such number: quote it if it is text"
}
