package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compiled is the schema in the hands of a validator that is not ours.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hookmux.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hookmux.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML text as a tool that knows nothing of hookmux sees it.
func asJSON(data []byte) (any, error) {
	var v any
	err := yaml.Unmarshal(data, &v)
	return plainJSON(v), err
}

// plainJSON is v with what YAML has and JSON has not as strings.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := make(map[string]any)
		for key, value := range v {
			out[fmt.Sprint(key)] = plainJSON(value)
		}
		return out
	case map[string]any:
		for key, value := range v {
			v[key] = plainJSON(value)
		}
	case []any:
		for i, value := range v {
			v[i] = plainJSON(value)
		}
	case time.Time:
		return v.String()
	}
	return v
}

// What Parse takes, the schema takes: a good file is never marked in an editor.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	files, err := filepath.Glob("testdata/good_*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range append(files, "../../examples/hookmux.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := asJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// beyondSchema are broken files that the schema takes: it compares no two
// values, knows little of addresses and nothing of files, and is asked about one document.
var beyondSchema = []string{"admin_no_token_key", "admin_public", "admin_tls", "admin_token_missing", "admin_token_short", "admin_unix_tls", "admin_unix_token", "duplicate_hook", "durable_both", "durable_no_name", "durable_no_url", "listen_ipv6", "listen_port", "two_documents"}

// What the schema refuses, Parse refuses, and of the broken files it finds all
// but those above.
func TestSchemaRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := asJSON(data)
		if err != nil || strings.HasPrefix(name, "good_") {
			continue // no YAML at all
		}
		err = s.Validate(v)
		if known := slices.Contains(beyondSchema, name); (err == nil) != known {
			t.Errorf("%s: validates with %v, among those that the schema does not find: %v", name, err, known)
		}
	}
	for name, text := range map[string]string{
		"unknown key":          "colour: red\nproviders: [{name: a, command: a}]",
		"unknown key below":    "providers: [{name: a, command: a, lane: {size: 1}}]",
		"missing providers":    "listen: :9000",
		"missing name":         "providers: [{command: a}]",
		"missing hook name":    "providers: [{name: a, command: a, hooks: [{topics: [a]}]}]",
		"neither":              "providers: [{name: a}]",
		"both":                 "providers: [{name: a, command: a, url: 'http://a:1'}]",
		"plugin's key":         "providers: [{name: a, url: 'http://a:1', dir: x}]",
		"no word of it":        "providers: [{name: a, command: a, delivery: fast}]",
		"no unit":              "timeout: 4\nproviders: [{name: a, command: a}]",
		"number as string":     "providers: [{name: a, command: a, concurrency: many}]",
		"out of bounds":        "providers: [{name: a, command: a, concurrency: 0}]",
		"no such hook":         "providers: [{name: a, command: a, hooks: [client.login]}]",
		"policy of no cause":   "providers: [{name: a, command: a, on_failure: {client.authenticate: {rain: deny}}}]",
		"default of a message": "default: {message.publish: deny}\nproviders: [{name: a, command: a}]",
	} {
		v, err := asJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var invalid *jsonschema.ValidationError
		if err := s.Validate(v); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Parse("x.yaml", []byte(text), testSources()); err == nil {
			t.Errorf("%s: Parse took it", name)
		}
	}
}
