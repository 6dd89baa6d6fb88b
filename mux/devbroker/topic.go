package devbroker

import "strings"

// matchTopic is MQTT's matching of a topic name against a filter; wildcards at
// the first level do not match topics that begin with $.
func matchTopic(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		if filter == "#" {
			return true
		}
		f, fRest, fMore := strings.Cut(filter, "/")
		t, tRest, tMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !fMore || !tMore {
			return fMore == tMore || (fMore && fRest == "#") // a/# matches a too
		}
		filter, topic = fRest, tRest
	}
}

func matchesAny(filters []string, topic string) bool {
	if len(filters) == 0 {
		return true
	}
	for _, f := range filters {
		if matchTopic(f, topic) {
			return true
		}
	}
	return false
}

// isSys says whether a topic is the broker's own; no message hook sees those.
func isSys(topic string) bool { return strings.HasPrefix(topic, "$SYS/") }

// splitShared takes "$share/group/topic" apart; group is empty for other filters.
func splitShared(filter string) (group, topic string) {
	rest, ok := strings.CutPrefix(filter, "$share/")
	if !ok {
		return "", filter
	}
	group, topic, ok = strings.Cut(rest, "/")
	if !ok {
		return "", filter
	}
	return group, topic
}
