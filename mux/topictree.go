package mux

// topicTree finds out whether any of many topic filters matches a topic, in
// time that grows with the topic's levels and hardly with the filters. nil
// matches every topic.
type topicTree struct {
	literal map[string]*topicTree // the next level is this
	any     *topicTree            // the next level is +
	rest    bool                  // a filter ends here with #
	end     bool                  // a filter ends here
}

// newTopicTree takes filters that CheckTopicFilter takes; none match everything.
func newTopicTree(filters []string) *topicTree {
	if len(filters) == 0 {
		return nil
	}
	root := new(topicTree)
	for _, f := range filters {
		root.add(f)
	}
	return root
}

func (t *topicTree) add(filter string) {
	for more := true; more; {
		var level []byte
		var rest []byte
		level, rest, more = cutLevel([]byte(filter))
		filter = string(rest)
		switch string(level) {
		case "#":
			t.rest = true
			return
		case "+":
			if t.any == nil {
				t.any = new(topicTree)
			}
			t = t.any
		default:
			next := t.literal[string(level)]
			if next == nil {
				if t.literal == nil {
					t.literal = make(map[string]*topicTree)
				}
				next = new(topicTree)
				t.literal[string(level)] = next
			}
			t = next
		}
	}
	t.end = true
}

// matches says whether a filter matches the topic: + is one level, a last # any
// number, and neither as the first level matches a topic that begins with $.
func (t *topicTree) matches(topic []byte) bool {
	if t == nil {
		return true
	}
	if len(topic) > 0 && topic[0] == '$' {
		level, rest, more := cutLevel(topic)
		next := t.literal[string(level)]
		return next != nil && next.matchesLevels(rest, more)
	}
	return t.matchesLevels(topic, true)
}

// matchesLevels matches what is left of a topic; more is false when nothing is.
func (t *topicTree) matchesLevels(topic []byte, more bool) bool {
	if t.rest {
		return true // also "a/#" and the topic "a"
	}
	if !more {
		return t.end
	}
	level, rest, more := cutLevel(topic)
	if next := t.literal[string(level)]; next != nil && next.matchesLevels(rest, more) {
		return true
	}
	return t.any != nil && t.any.matchesLevels(rest, more)
}

// covers says whether one of the filters matches every topic that this one matches;
// "" matches all.
func (t *topicTree) covers(filter string) bool {
	switch {
	case t == nil:
		return true
	case filter == "":
		return false // not even # matches what begins with $
	case filter[0] == '$':
		level, rest, more := cutLevel([]byte(filter))
		next := t.literal[string(level)]
		return next != nil && next.coversLevels(rest, more)
	}
	return t.coversLevels([]byte(filter), true)
}

func (t *topicTree) coversLevels(filter []byte, more bool) bool {
	if t.rest {
		return true
	}
	if !more {
		return t.end
	}
	level, rest, more := cutLevel(filter)
	if string(level) == "#" {
		return false
	}
	if next := t.literal[string(level)]; next != nil && next.coversLevels(rest, more) {
		return true
	}
	return t.any != nil && t.any.coversLevels(rest, more)
}
