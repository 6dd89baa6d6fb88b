package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// cannotFill is fail for a value of which no reader has anything to say any more.
func (r *reader) cannotFill(line int, path, format string, args ...any) (string, bool) {
	before := len(r.errs)
	r.fail(line, path, format, args...)
	if r.unfilled == nil {
		r.unfilled = make(map[string]*Error)
	}
	if len(r.errs) > before {
		r.unfilled[path] = r.errs[before]
	}
	return "", true
}

// expand puts in what ${env:NAME} and ${file:PATH} stand for. Errors name the
// variable or the file, and never the rest of the value: it may be a secret.
func (r *reader) expand(line int, path, s string) (out string, filled bool) {
	if !strings.Contains(s, "${") {
		return s, false
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			break
		}
		if escaped := strings.HasSuffix(before, "$"); escaped {
			b.WriteString("{") // the $ before is the one that stays
			s = rest
			continue
		}
		kind, rest, _ := strings.Cut(rest, ":")
		if kind != "env" && kind != "file" {
			return r.cannotFill(line, path, "${ begins ${env:NAME} or ${file:PATH}; write $${ for the characters themselves")
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return r.cannotFill(line, path, "${%s: has no closing }", kind)
		}
		value, problem := r.lookUp(kind, name)
		switch {
		case problem != "":
		case r.expanded+len(value) > maxExpanded:
			r.expanded = maxExpanded // no further file is worth reading
			problem = "brings all that ${…} stand for to more than 4 MiB"
		case !utf8.ValidString(value):
			problem = "is not UTF-8 text"
		case strings.ContainsRune(value, 0):
			problem = "contains a NUL character"
		}
		if problem != "" {
			return r.cannotFill(line, path, "${%s:%s} %s", kind, cut(name), problem)
		}
		r.expanded += len(value)
		b.WriteString(value)
		filled, s = true, rest
	}
	return b.String(), filled
}

func (r *reader) lookUp(kind, name string) (value, problem string) {
	if kind == "env" {
		if !envName.MatchString(name) {
			return "", "is not the name of an environment variable: letters, digits and _"
		}
		value, ok := r.src.Env(name)
		if !ok {
			return "", "is not set in hookmux's environment"
		}
		return value, ""
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return "", "is not the name of a file"
	}
	if value, ok := r.files[name]; ok { // an alias may ask for it many times
		return value, ""
	}
	if r.expanded >= maxExpanded {
		return "", "was not read, because all that ${…} stand for is more than 4 MiB"
	}
	if r.read == nil {
		r.read = make(map[string]bool)
	}
	r.read[r.abs(name)] = true
	data, err := r.src.ReadFile(r.abs(name))
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "does not exist; it is looked for at " + r.abs(name)
	case errors.As(err, &pathErr):
		return "", "cannot be read: " + pathErr.Err.Error()
	case err != nil:
		return "", "cannot be read"
	}
	value = strings.TrimSuffix(string(data), "\n")
	if len(value) < len(data) {
		value = strings.TrimSuffix(value, "\r")
	}
	if r.files == nil {
		r.files = make(map[string]string)
	}
	r.files[name] = value
	return value, ""
}

// abs is a path relative to the config file's folder.
func (r *reader) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.src.Dir, path)
}
