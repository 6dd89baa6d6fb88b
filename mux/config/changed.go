package config

import (
	"reflect"
	"strings"
)

// Changed are the keys of the file, providers aside, about which two configs differ.
func Changed(a, b *Config) (keys []string) {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		key := keyOf(va.Type().Field(i).Name)
		if key != "" && !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}

// keyOf is the key that a field of Config holds, or empty.
func keyOf(field string) string {
	switch field {
	case "Files", "Providers":
		return ""
	case "GCHeadroom":
		return "gc_headroom"
	}
	return strings.ToLower(field)
}
