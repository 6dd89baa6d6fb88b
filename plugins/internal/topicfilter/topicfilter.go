// Package topicfilter says whether a rule about topics is about what a client asks for. Rules
// have placeholders for the client's names, and clients ask for filters: both are traps, see
// Filter.Fits.
package topicfilter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// Question is what a client wants to do.
type Question struct {
	Client    *sdk.ClientInfo
	Subscribe bool
	Topic     string // or a filter to subscribe to

	levels []string
}

// Of is the question that a broker asks.
func Of(r *sdk.ClientAuthorizeRequest) Question {
	return Question{
		Client: r.GetClientinfo(), Subscribe: r.GetType() == sdk.Subscribe,
		Topic: r.GetTopic(), levels: strings.Split(r.GetTopic(), "/"),
	}
}

// Wild reports whether it is about a filter with wildcards, and so about many topics.
func (q *Question) Wild() bool {
	return q.Subscribe && slices.ContainsFunc(q.levels, func(l string) bool { return l == "+" || l == "#" })
}

// Action is "publish" or "subscribe".
func (q *Question) Action() string {
	if q.Subscribe {
		return "subscribe"
	}
	return "publish"
}

// Filter is a topic filter of a rule.
type Filter struct {
	// exactly: the filter must be just this text, which has wildcards.
	exactly bool
	levels  []level
	// values are those that placeholders stand for, each once.
	values []value
	// first is the value that the filter begins with, if it does.
	first value
}

// level is what a filter has between two slashes: a text, a wildcard, or parts of which some
// stand for a value of the client.
type level struct {
	text  string
	wild  byte // '+', '#', or 0
	parts []part
}

type part struct {
	text  string
	value value // nil: the text
}

type value func(*sdk.ClientInfo) string

// placeholders, also in the words of EMQX 5.
//
//nolint:gochecknoglobals // a constant table
var placeholders = map[string]value{
	"%c":                  (*sdk.ClientInfo).GetClientid,
	"%u":                  (*sdk.ClientInfo).GetUsername,
	"${clientid}":         (*sdk.ClientInfo).GetClientid,
	"${username}":         (*sdk.ClientInfo).GetUsername,
	"${cert_common_name}": (*sdk.ClientInfo).GetCn,
}

// New reads a filter. With exactly, it is just this text: with + and # in it, it is the filter
// that is meant, and without them it is a topic, of which a wider filter has a part.
//
// Placeholders are %c or ${clientid}, %u or ${username}, and ${cert_common_name}.
func New(text string, exactly bool) (Filter, error) {
	var f Filter
	var sample []string
	for i, l := range strings.Split(text, "/") {
		if l == "+" || l == "#" {
			if f.exactly = exactly; exactly {
				f.levels = append(f.levels, level{text: l})
			} else {
				f.levels = append(f.levels, level{wild: l[0]})
			}
			sample = append(sample, l)
			continue
		}
		parts, err := partsOf(l)
		if err != nil {
			return f, err
		}
		if parts == nil {
			f.levels = append(f.levels, level{text: l})
			sample = append(sample, l)
			continue
		}
		f.levels = append(f.levels, level{parts: parts})
		word := ""
		for n, p := range parts {
			word += p.text
			if p.value != nil {
				f.values = append(f.values, p.value)
				word += "x"
			}
			if i == 0 && n == 0 {
				f.first = p.value
			}
		}
		sample = append(sample, word)
	}
	if text == "" {
		return f, errors.New("an empty topic filter")
	}
	if exactly {
		return f, nil
	}
	return f, sdk.CheckFilter(strings.Join(sample, "/"))
}

// partsOf takes a level apart; without a placeholder there are none.
func partsOf(l string) (parts []part, err error) {
	constant := ""
	for rest := l; rest != ""; {
		name, v := placeholderAt(rest)
		if v == nil {
			if strings.HasPrefix(rest, "${") {
				return nil, fmt.Errorf("there is no placeholder %.30q; there are ${clientid}, ${username}, ${cert_common_name}, %%c, %%u", rest)
			}
			constant += rest[:1]
			rest = rest[1:]
			continue
		}
		if constant != "" {
			parts = append(parts, part{text: constant})
		}
		parts = append(parts, part{value: v})
		constant, rest = "", rest[len(name):]
	}
	if parts != nil && constant != "" {
		parts = append(parts, part{text: constant})
	}
	return parts, nil
}

func placeholderAt(s string) (string, value) {
	if s[0] == '%' || s[0] == '$' {
		for name, v := range placeholders {
			if strings.HasPrefix(s, name) {
				return name, v
			}
		}
	}
	return "", nil
}

// of is the text of a level that is no wildcard.
func (l *level) of(c *sdk.ClientInfo) string {
	if l.parts == nil {
		return l.text
	}
	var b strings.Builder
	for _, p := range l.parts {
		b.WriteString(p.text)
		if p.value != nil {
			b.WriteString(p.value(c))
		}
	}
	return b.String()
}

// is reports whether that text is this, without making it.
func (l *level) is(text string, c *sdk.ClientInfo) bool {
	if l.parts == nil {
		return l.text == text
	}
	for _, p := range l.parts {
		word := p.text
		if p.value != nil {
			word = p.value(c)
		}
		var ok bool
		if text, ok = strings.CutPrefix(text, word); !ok {
			return false
		}
	}
	return text == ""
}

// Fits reports whether the filter is about a topic, or the filter that a client wants to
// subscribe to. To be allowed, all that is asked for must be within the filter; to be
// denied, it is enough that some of it is.
//
// What a placeholder stands for is text, never a wildcard or a level more than the rule's
// author wrote. The client chose it, so a value that could pass for one, is empty, or leads
// to the topics that begin with $ allows nothing. Denied is what its letters say.
func (f *Filter) Fits(q *Question, allow bool) bool {
	if allow {
		if f.exactly {
			return f.same(q) && f.harmless(q.Client)
		}
		return f.covers(q) && f.harmless(q.Client)
	}
	if f.longer(q.Client) {
		f = f.expand(q.Client)
	}
	if f.exactly {
		return f.same(q)
	}
	return f.overlaps(q)
}

func (f *Filter) harmless(c *sdk.ClientInfo) bool {
	for _, v := range f.values {
		if text := v(c); text == "" || strings.ContainsAny(text, "/+#\x00") {
			return false
		}
	}
	return f.first == nil || f.first(c)[0] != '$'
}

// longer reports whether a value has a slash in it.
func (f *Filter) longer(c *sdk.ClientInfo) bool {
	return slices.ContainsFunc(f.values, func(v value) bool { return strings.Contains(v(c), "/") })
}

// expand is the filter with the client's values in it.
func (f *Filter) expand(c *sdk.ClientInfo) *Filter {
	e := &Filter{exactly: f.exactly}
	for _, l := range f.levels {
		if l.wild != 0 {
			e.levels = append(e.levels, l)
			continue
		}
		for text := range strings.SplitSeq(l.of(c), "/") {
			e.levels = append(e.levels, level{text: text})
		}
	}
	return e
}

func (f *Filter) same(q *Question) bool {
	if len(f.levels) != len(q.levels) {
		return false
	}
	for i := range f.levels {
		if !f.levels[i].is(q.levels[i], q.Client) {
			return false
		}
	}
	return true
}

// covers reports whether every topic that is asked for is one of the filter's.
func (f *Filter) covers(q *Question) bool {
	asked := q.levels
	if f.levels[0].wild != 0 && strings.HasPrefix(asked[0], "$") {
		return false
	}
	for i := range f.levels {
		l := &f.levels[i]
		switch {
		case l.wild == '#':
			return true
		case i == len(asked), asked[i] == "#":
			return false
		case l.wild != '+' && !l.is(asked[i], q.Client):
			return false
		}
	}
	return len(f.levels) == len(asked)
}

// overlaps reports whether there is a topic of both.
func (f *Filter) overlaps(q *Question) bool {
	asked := q.levels
	wild := asked[0] == "+" || asked[0] == "#"
	if f.levels[0].wild != 0 && strings.HasPrefix(asked[0], "$") || wild && strings.HasPrefix(f.levels[0].of(q.Client), "$") {
		return false
	}
	for i := range f.levels {
		l := &f.levels[i]
		switch {
		case l.wild == '#':
			return true
		case i == len(asked):
			return false
		case asked[i] == "#":
			return true
		case l.wild != '+' && asked[i] != "+" && !l.is(asked[i], q.Client):
			return false
		}
	}
	n := len(f.levels)
	return n == len(asked) || len(asked) == n+1 && asked[n] == "#"
}
