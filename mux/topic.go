package mux

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckTopicFilter says what is wrong with an MQTT topic filter, or nil.
func CheckTopicFilter(filter string) error {
	if filter == "" {
		return fmt.Errorf("topic filter is empty")
	}
	if len(filter) > 65535 {
		return fmt.Errorf("topic filter of %d bytes: MQTT allows 65535", len(filter))
	}
	if !utf8.ValidString(filter) {
		return fmt.Errorf("topic filter %q is not UTF-8", filter)
	}
	if strings.ContainsRune(filter, 0) {
		return fmt.Errorf("topic filter %q contains a NUL", filter)
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		switch {
		case l == "#" && i != len(levels)-1:
			return fmt.Errorf("topic filter %q: # must be the last level", filter)
		case len(l) > 1 && strings.ContainsAny(l, "+#"):
			return fmt.Errorf("topic filter %q: %q must stand alone in its level", filter, l[strings.IndexAny(l, "+#"):][:1])
		}
	}
	return nil
}

// cutLevel splits a topic or filter before its first slash.
func cutLevel(topic []byte) (level, rest []byte, more bool) {
	for i, c := range topic {
		if c == '/' {
			return topic[:i], topic[i+1:], true
		}
	}
	return topic, nil, false
}

// checkTopicName says what is wrong with a topic to publish to, or "".
func checkTopicName(topic []byte) string {
	if len(topic) == 0 {
		return "its topic is empty"
	}
	if len(topic) > 65535 {
		return "its topic is longer than 65535 bytes"
	}
	if !utf8.Valid(topic) {
		return "its topic is not UTF-8"
	}
	for _, c := range topic {
		switch c {
		case '+', '#':
			return "its topic contains a wildcard"
		case 0:
			return "its topic contains a NUL"
		}
	}
	return ""
}
