package config

import (
	"encoding/json"
	"maps"

	"go.yaml.in/yaml/v3"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// JSONSchema is a JSON Schema (draft 2020-12) of hookmux.yaml, for editors and
// other tools. A file that it refuses, Parse refuses too; Parse knows more.
func JSONSchema() []byte {
	s := objectSchema(new(Config).keys())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "hookmux.yaml"
	s["$defs"] = schema{
		// What a ${…} stands for is only known when hookmux reads the file.
		"filled": schema{"type": "string", "pattern": `\$\{(env|file):`},
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the tables are at fault
	}
	return append(out, '\n')
}

// objectSchema is a mapping with the keys of a table.
func objectSchema(keys []key) schema {
	properties, required := schema{}, []string{}
	for _, k := range keys {
		var p schema
		switch {
		case k.value.schema != nil:
			p = maps.Clone(k.value.schema)
		case k.value.list:
			p = listSchema(providerSchema())
		default:
			p = objectSchema(k.value.keys())
		}
		p["description"] = k.doc
		if k.def != "" {
			var def any
			_ = yaml.Unmarshal([]byte(k.def), &def)
			p["default"] = def
		}
		properties[k.name] = p
		if k.required {
			required = append(required, k.name)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// providerSchema adds to a provider's keys that it is a plugin or a remote.
func providerSchema() schema {
	keys := new(Provider).keys()
	ofPlugins := schema{}
	for _, k := range keys {
		if k.plugin {
			ofPlugins[k.name] = false
		}
	}
	s := objectSchema(keys)
	s["oneOf"] = []schema{
		{"required": []string{"command"}, "properties": schema{"url": false}},
		{"required": []string{"url"}, "properties": ofPlugins},
	}
	return s
}

// orFilled is a scalar of a kind, or a string with ${…} in it.
func orFilled(s schema) schema {
	return schema{"anyOf": []schema{s, {"$ref": "#/$defs/filled"}}}
}

func patternSchema(pattern string) schema {
	return orFilled(schema{"type": "string", "pattern": pattern})
}

func enumSchema(words []string) schema { return orFilled(schema{"enum": words}) }

// listSchema is a list that is not empty.
func listSchema(items schema) schema {
	return schema{"type": "array", "items": items, "minItems": 1}
}

// mapSchema is a mapping with keys of a few names, all of the same kind.
func mapSchema(names []string, of schema) schema {
	properties := schema{}
	for _, n := range names {
		properties[n] = of
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// anyScalar is what becomes a string.
var anyScalar = schema{"type": []string{"string", "number", "boolean"}}
