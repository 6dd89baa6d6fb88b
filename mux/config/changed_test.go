package config

import (
	"reflect"
	"slices"
	"testing"
)

func TestChanged(t *testing.T) {
	t.Parallel()
	if keys := Changed(&Config{Files: []string{"a"}}, &Config{Providers: []Provider{{}}, GCHeadroom: 1, Spool: Spool{Tries: 2}}); !slices.Equal(keys, []string{"spool", "gc_headroom"}) {
		t.Errorf("%q", keys)
	}
	var fields []string
	for f := range reflect.TypeFor[Config]().Fields() {
		if key := keyOf(f.Name); key != "" {
			fields = append(fields, key)
		}
	}
	for _, key := range keyNames(new(Config).keys()) {
		if key != "providers" && !slices.Contains(fields, key) {
			t.Errorf("no field is called after the key %s", key)
		}
		fields = slices.DeleteFunc(fields, func(f string) bool { return f == key })
	}
	if len(fields) > 0 {
		t.Errorf("there are no keys %q", fields)
	}
}
