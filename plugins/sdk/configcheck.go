package sdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// checkConfig walks the JSON along the type it is meant for. encoding/json
// does find unknown keys, but says neither where nor what is allowed, takes
// "Users" for "users", and lets the last of two equal keys win.
func checkConfig(raw []byte, t reflect.Type) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	var object json.RawMessage
	if err := d.Decode(&object); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON ends in the middle")
		}
		return fmt.Errorf("not JSON, at byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is something behind the JSON object: %.20q", raw[len(object):])
	}
	if object[0] != '{' {
		return errors.New("must be an object of keys and values")
	}
	return checkValue(object, t, "")
}

// checkValue checks one value; t is nil where anything is right.
func checkValue(raw json.RawMessage, t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer && !readsItself(t) {
		t = t.Elem()
	}
	switch {
	case t == nil || t.Kind() == reflect.Interface:
		return checkMembers(raw, nil, path)
	case readsItself(t), string(raw) == "null":
	case raw[0] == '{' && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map),
		raw[0] == '[' && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		return checkMembers(raw, t, path)
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		return valueError(err, path)
	}
	return nil
}

// checkMembers checks what is in an object or a list.
func checkMembers(raw json.RawMessage, t reflect.Type, path string) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if raw[0] != '{' && raw[0] != '[' {
		return nil
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	var next reflect.Type
	var allowed map[string]reflect.Type
	var names []string
	if t != nil {
		if t.Kind() == reflect.Struct {
			allowed = map[string]reflect.Type{}
			names = structKeys(t, allowed)
		} else {
			next = t.Elem()
		}
	}
	seen := map[string]bool{}
	for i := 0; d.More(); i++ {
		full := fmt.Sprintf("%s[%d]", path, i)
		if raw[0] == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := token.(string)
			full = strings.TrimPrefix(path+"."+key, ".")
			if seen[key] {
				return fmt.Errorf("key %q is given twice", full)
			}
			seen[key] = true
			if allowed != nil {
				var ok bool
				if next, ok = allowed[key]; !ok {
					return unknownKey(full, key, names)
				}
			}
		}
		var member json.RawMessage
		if err := d.Decode(&member); err != nil {
			return err
		}
		if err := checkValue(member, next, full); err != nil {
			return err
		}
	}
	return nil
}

// readsItself reports whether a type decodes its own JSON.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func unknownKey(full, key string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("unknown key %q; no keys are allowed here", full)
	}
	return fmt.Errorf("unknown key %q%s; allowed: %s", full, didYouMean(key, names), strings.Join(names, ", "))
}

// valueError says it in terms of the config instead of Go's.
func valueError(err error, path string) error {
	var wrongType *json.UnmarshalTypeError
	if !errors.As(err, &wrongType) {
		return fmt.Errorf("key %q: %w", path, err)
	}
	return fmt.Errorf("key %q must be %s, not %s", path, inWords(wrongType.Type), withArticle(wrongType.Value))
}

func inWords(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return `a string such as "5s"`
	case readsItself(t):
		return "a string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("an integer (%s)", t.Kind())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("an integer not below 0 (%s)", t.Kind())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return inWords(t.Elem())
	default:
		return "a " + t.String()
	}
}

func withArticle(jsonType string) string {
	switch {
	case jsonType == "array":
		return "a list"
	case jsonType == "bool":
		return "true or false"
	case strings.HasPrefix(jsonType, "o"):
		return "an " + jsonType
	}
	return "a " + jsonType
}

// structKeys collects a struct's JSON keys into types and lists them in order.
func structKeys(t reflect.Type, types map[string]reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
			continue
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			names = append(names, structKeys(inner, types)...)
			continue
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		if _, twice := types[name]; !twice {
			types[name] = f.Type
			names = append(names, name)
		}
	}
	return names
}
