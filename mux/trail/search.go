package trail

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hookmux/hookmux/mux"
)

// Query is which decisions to find; an empty field asks for all.
type Query struct {
	Client   string // the client id
	Hook     string // such as client.authorize
	Provider string // who was asked
	Topic    string // a topic, or a filter that matches it
	// Answer is ignore, allow, deny, pass, rewrite or drop; refused for deny and drop;
	// unanswered for decisions for which somebody's answer was missing.
	Answer string
	Limit  int    // the most to find; default 100
	Before uint64 // only those with a smaller ID; 0: all
}

// MaxLimit is the most decisions that Search finds at a time.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Found is what Search found.
type Found struct {
	Decisions []*Decision `json:"decisions"` // newest first
	Kept      int         `json:"kept"`      // how many there are to search
	Limit     int         `json:"limit"`     // how many there can be
}

// Words for Query.Answer beside the verdicts.
const (
	AnswerRefused    = "refused"
	AnswerUnanswered = "unanswered"
)

// AnswerWords lists the words that Query.Answer takes.
func AnswerWords() []string {
	var words []string
	for v := mux.VerdictIgnore; v <= mux.VerdictDrop; v++ {
		words = append(words, v.String())
	}
	return append(words, AnswerRefused, AnswerUnanswered)
}

// Check says what is wrong with the query.
func (q *Query) Check() error {
	if q.Answer != "" && !slices.Contains(AnswerWords(), q.Answer) {
		return fmt.Errorf("answer: %q is none: use %s", q.Answer, strings.Join(AnswerWords(), ", "))
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return fmt.Errorf("limit: %d is not between 1 and %d", q.Limit, MaxLimit)
	}
	return (&Filter{q.Client, q.Hook, q.Provider, q.Topic}).Check()
}

// Search finds decisions, newest first. The query must be one that Check finds right.
func (t *Trail) Search(q Query) *Found {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	s := t.store.Load()
	found := &Found{Decisions: []*Decision{}, Limit: numKinds * s.opts.Size}
	f := newMatcher(Filter{q.Client, q.Hook, q.Provider, q.Topic})
	for kind, r := range s.rings {
		found.Kept += r.kept()
		if kind == kindPassed && (q.Answer == AnswerRefused || q.Answer == AnswerUnanswered) || kind == kindUnanswered && q.Answer == AnswerRefused {
			continue
		}
		n := 0
		r.each(func(r *record) bool {
			if (q.Before == 0 || r.id < q.Before) && r.answered(q.Answer) && f.matchesRecord(r) {
				found.Decisions = append(found.Decisions, r.decision(s.opts.Payloads))
				n++
			}
			return n < q.Limit
		})
	}
	slices.SortFunc(found.Decisions, func(a, b *Decision) int {
		if a.ID > b.ID {
			return -1
		}
		return 1
	})
	if len(found.Decisions) > q.Limit {
		found.Decisions = found.Decisions[:q.Limit]
	}
	return found
}

// answered says whether the record has the answer that Query.Answer asks for.
func (r *record) answered(word string) bool {
	switch word {
	case "":
		return true
	case AnswerRefused:
		return refused(r.answer)
	case AnswerUnanswered:
		return slices.ContainsFunc(r.asked, func(a asked) bool { return a.reason != mux.ReasonNone })
	}
	return r.answer.String() == word
}

// Filter is which events to follow; an empty field asks for all.
type Filter struct {
	Client, Hook string
	Provider     string // who was asked or told
	Topic        string // a topic, or a filter that matches it
}

// Check says what is wrong with the filter.
func (f *Filter) Check() error {
	if f.Hook != "" {
		if h, ok := mux.HookByName(f.Hook); !ok || h.String() != f.Hook {
			return fmt.Errorf("hook: %q is none, such as client.authenticate or message.publish", f.Hook)
		}
	}
	if f.Topic != "" {
		if err := mux.CheckTopicFilter(f.Topic); err != nil {
			return err
		}
	}
	return nil
}

// matcher is a Filter made ready.
type matcher struct {
	client, provider string
	hook             mux.Hook
	anyHook          bool
	topic            *mux.TopicMatcher
	plain            string // the topic as it was given: what is cut is found by it, too
}

func newMatcher(f Filter) *matcher {
	m := &matcher{client: cutClient(f.Client), provider: f.Provider, anyHook: f.Hook == "", plain: f.Topic}
	m.hook, _ = mux.HookByName(f.Hook)
	if f.Topic != "" {
		topic := mux.NewTopicMatcher(f.Topic)
		m.topic = &topic
	}
	return m
}

// cutClient is as much of a client id as is kept.
func cutClient(s string) string { return s[:min(len(s), maxClient)] }

// matches holds what every event has against the filter.
func (m *matcher) matches(h mux.Hook, client, topic []byte) bool {
	return (m.anyHook || h == m.hook) &&
		(m.client == "" || string(client[:min(len(client), maxClient)]) == m.client) &&
		(m.topic == nil || string(topic) == m.plain || m.topic.Matches(topic))
}

func (m *matcher) matchesRecord(r *record) bool {
	if !m.matches(r.hook, r.subject.bytes(textClient), r.subject.bytes(textTopic)) &&
		(r.newTopic == "" || !m.matches(r.hook, r.subject.bytes(textClient), []byte(r.newTopic))) {
		return false
	}
	return m.provider == "" || slices.ContainsFunc(r.asked, func(a asked) bool { return a.provider == m.provider })
}
