package sdk

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

type testConfig struct {
	Users    map[string]string `json:"users"`
	Rules    []testRule        `json:"rules"`
	Limit    uint8             `json:"limit"`
	Wait     Duration          `json:"wait"`
	Strict   *bool             `json:"strict"`
	Any      any               `json:"any"`
	Untagged int
	testEmbedded
	Hidden string `json:"-"`
	secret string
}

type testEmbedded struct {
	Level string `json:"level"`
}

type testRule struct {
	Topic string `json:"topic"`
	QoS   int    `json:"qos"`
}

func TestConfig(t *testing.T) {
	t.Parallel()
	yes := true
	got := testConfig{Limit: 7, Wait: Duration(time.Second)}
	err := decodeConfig([]byte(` {"users":{"a.b":"x"},"rules":[{"topic":"t","qos":1}],"wait":"250ms","strict":true,
		"any":{"free":[1,{"form":null}]},"Untagged":3,"level":"high"} `), &got)
	want := testConfig{
		Users: map[string]string{"a.b": "x"}, Rules: []testRule{{"t", 1}}, Limit: 7, Wait: Duration(250 * time.Millisecond),
		Strict: &yes, Any: map[string]any{"free": []any{1.0, map[string]any{"form": nil}}}, Untagged: 3, testEmbedded: testEmbedded{"high"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	if got.secret != "" {
		t.Error("an unexported field was filled")
	}
	free := map[string]any{}
	if err := decodeConfig([]byte(`{"what":"ever"}`), &free); err != nil || free["what"] != "ever" {
		t.Errorf("a map: %v %v", free, err)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	const allowed = "allowed: users, rules, limit, wait, strict, any, Untagged, level"
	for _, tt := range []struct{ json, want string }{
		{`{"usrs":{}}`, `unknown key "usrs" (did you mean "users"?); ` + allowed},
		{`{"Users":{}}`, `unknown key "Users" (did you mean "users"?); ` + allowed},
		{`{"quite_another":1}`, `unknown key "quite_another"; ` + allowed},
		{`{"Hidden":"x"}`, `unknown key "Hidden"; ` + allowed},
		{`{"secret":"x"}`, `unknown key "secret"; ` + allowed},
		{`{"rules":[{"topic":"t"},{"topc":"t"}]}`, `unknown key "rules[1].topc" (did you mean "topic"?); allowed: topic, qos`},
		{`{"rules":[{"topic":"t"},{"topic":5}]}`, `key "rules[1].topic" must be a string, not a number`},
		{`{"users":{"alice":["x"]}}`, `key "users.alice" must be a string, not a list`},
		{`{"users":["x"]}`, `key "users" must be an object, not a list`},
		{`{"users":true}`, `key "users" must be an object, not true or false`},
		{`{"rules":{}}`, `key "rules" must be a list, not an object`},
		{`{"rules":[7]}`, `key "rules[0]" must be an object, not a number`},
		{`{"limit":-1}`, `key "limit" must be an integer not below 0 (uint8), not a number -1`},
		{`{"limit":256}`, `key "limit" must be an integer not below 0 (uint8), not a number 256`},
		{`{"limit":1.5}`, `key "limit" must be an integer not below 0 (uint8), not a number 1.5`},
		{`{"Untagged":"3"}`, `key "Untagged" must be an integer (int), not a string`},
		{`{"strict":"yes"}`, `key "strict" must be true or false, not a string`},
		{`{"wait":"soon"}`, `key "wait": time: invalid duration "soon"`},
		{`{"wait":5}`, `key "wait" must be a string such as "5s", not a number`},
		{`{"users":{"a":"1","a":"2"}}`, `key "users.a" is given twice`},
		{`{"limit":1,"limit":2}`, `key "limit" is given twice`},
		{`{"any":{"x":1,"x":2}}`, `key "any.x" is given twice`},
		{`{"limit":1} x`, `there is something behind the JSON object: " x"`},
		{`{"limit":1}{}`, `there is something behind the JSON object: "{}"`},
		{`{"limit":`, `the JSON ends in the middle`},
		{``, `the JSON ends in the middle`},
		{`{limit:1}`, `not JSON`},
		{`[]`, `must be an object of keys and values`},
		{`null`, `must be an object of keys and values`},
		{`"x"`, `must be an object of keys and values`},
	} {
		got := testConfig{}
		err := decodeConfig([]byte(tt.json), &got)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.json, err, tt.want)
		}
		if !reflect.DeepEqual(got, testConfig{}) {
			t.Errorf("%s: half of it was taken over: %+v", tt.json, got)
		}
	}
	if err := decodeConfig([]byte(`{"x":1}`), &struct{}{}); err == nil || !strings.Contains(err.Error(), "no keys are allowed") {
		t.Error(err)
	}
	for _, into := range []any{nil, testConfig{}, (*testConfig)(nil)} {
		if err := decodeConfig([]byte(`{}`), into); err == nil || !strings.Contains(err.Error(), "needs a pointer") {
			t.Errorf("%T: %v", into, err)
		}
	}
}
