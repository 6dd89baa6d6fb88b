package sdk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxTopic is MQTT's limit of a topic, in bytes.
const maxTopic = 65535

// Topics limits message hooks to topics that match one of the filters:
//
//	sdk.Topics{sdk.MessagePublish: {"sensors/+/raw", "drop/#"}}
//
// A hook that is not a key gets every topic. Other hooks than message.* cannot
// be limited.
type Topics map[Hook][]string

// check holds what the broker would refuse or silently misunderstand.
func (t Topics) check(hooks []hookRow) error {
	for hook, filters := range t {
		row, ok := rowOf(hook)
		switch {
		case !ok:
			return fmt.Errorf("Topics: there is no hook %q%s", hook, didYouMean(string(hook), messageHooks()))
		case !strings.HasPrefix(string(hook), "message."):
			return fmt.Errorf("Topics: %s cannot be limited to topics, only %s can", hook, strings.Join(messageHooks(), ", "))
		case !slices.ContainsFunc(hooks, func(r hookRow) bool { return r.name == hook }):
			return fmt.Errorf("Topics: filters for %s, but the plugin has no method %s", hook, row.signature())
		case len(filters) == 0:
			return fmt.Errorf("Topics: an empty list for %s would mean every topic; leave the key out if that is meant", hook)
		}
		for _, f := range filters {
			if err := CheckFilter(f); err != nil {
				return fmt.Errorf("Topics: %s: %w", hook, err)
			}
		}
	}
	return nil
}

func rowOf(hook Hook) (hookRow, bool) {
	for _, r := range rows {
		if r.name == hook && hook != "" {
			return r, true
		}
	}
	return hookRow{}, false
}

func messageHooks() []string {
	var names []string
	for _, r := range rows {
		if strings.HasPrefix(string(r.name), "message.") {
			names = append(names, string(r.name))
		}
	}
	return names
}

// CheckFilter reports why a topic filter is not one MQTT allows; use it for
// filters that come from a config.
func CheckFilter(filter string) error {
	bad := func(why string) error { return fmt.Errorf("topic filter %q: %s", filter, why) }
	switch {
	case filter == "":
		return errors.New("an empty topic filter")
	case len(filter) > maxTopic:
		return fmt.Errorf("a topic filter of %d bytes, MQTT allows %d", len(filter), maxTopic)
	case !utf8.ValidString(filter):
		return bad("not valid UTF-8")
	case strings.Contains(filter, "\x00"):
		return bad("has a NUL")
	case strings.HasPrefix(filter, "$share/"):
		return bad("a message never has a shared subscription's name; write the filter behind it")
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		switch {
		case l == "#" && i < len(levels)-1:
			return bad("# must be the last level")
		case l != "#" && strings.Contains(l, "#"):
			return bad("# must be a level of its own")
		case l != "+" && strings.Contains(l, "+"):
			return bad("+ must be a level of its own")
		}
	}
	return nil
}

// Covers reports whether the filter matches every topic that asked stands for.
// asked is a topic, or a filter that a client wants to subscribe to: "a/+"
// covers "a/b" and "a/+", but neither "a/#" nor "a/b/c". As in MQTT, "a/#"
// covers "a", and a wildcard in the first level covers nothing that begins
// with "$".
func Covers(filter, asked string) bool {
	if strings.HasPrefix(asked, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		have, moreHave, hasMore := strings.Cut(filter, "/")
		if have == "#" {
			return true
		}
		want, moreWant, wantsMore := strings.Cut(asked, "/")
		if want == "#" || (have != "+" && have != want) {
			return false
		}
		switch {
		case !wantsMore:
			return !hasMore || moreHave == "#"
		case !hasMore:
			return false
		}
		filter, asked = moreHave, moreWant
	}
}
