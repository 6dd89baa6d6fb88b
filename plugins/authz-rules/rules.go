package main

import (
	"net/netip"
	"regexp"
	"slices"

	"cel.dev/cel-go/cel"

	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
)

// A rule says yes or no to who fits, what and where. What it does not say fits all.
type rule struct {
	line               int // in the file
	allow              bool
	publish, subscribe bool

	username, clientid, cn *text
	ips                    []netip.Prefix
	topics                 []topicfilter.Filter
	when                   cel.Program
}

// text is what a value must be: one of a few, or as an expression says.
type text struct {
	is []string
	re *regexp.Regexp
}

func (t *text) fits(value string) bool {
	return t == nil || slices.Contains(t.is, value) || t.re != nil && t.re.MatchString(value)
}

// fits reports whether the rule is about the question. Where it is in doubt, a rule that
// denies is, and one that allows is not.
func (r *rule) fits(q *topicfilter.Question) (bool, error) {
	c := q.Client
	if q.Subscribe && !r.subscribe || !q.Subscribe && !r.publish ||
		!r.username.fits(c.GetUsername()) || !r.clientid.fits(c.GetClientid()) || !r.cn.fits(c.GetCn()) {
		return false, nil
	}
	if r.ips != nil && !r.fromThere(c.GetPeerhost()) {
		return false, nil
	}
	if r.topics != nil && !slices.ContainsFunc(r.topics, func(f topicfilter.Filter) bool { return f.Fits(q, r.allow) }) {
		return false, nil
	}
	if r.when != nil {
		return holds(r.when, q, !r.allow)
	}
	return true, nil
}

func (r *rule) fromThere(peerhost string) bool {
	addr, err := netip.ParseAddr(peerhost)
	if err != nil {
		return !r.allow // it may be the one that is denied
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(r.ips, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ruleSet is the rules of a file, with those that are about certain users or clients
// found by name, so that a rule for each device does not cost each device a look at all.
type ruleSet struct {
	rules      []*rule
	general    []int // of rules, in their order
	byUsername map[string][]int
	byClient   map[string][]int
}

func newRuleSet(rules []*rule) *ruleSet {
	s := &ruleSet{rules: rules, byUsername: map[string][]int{}, byClient: map[string][]int{}}
	for i, r := range rules {
		switch {
		case r.username != nil && r.username.re == nil:
			add(s.byUsername, r.username.is, i)
		case r.clientid != nil && r.clientid.re == nil:
			add(s.byClient, r.clientid.is, i)
		default:
			s.general = append(s.general, i)
		}
	}
	return s
}

func add(index map[string][]int, names []string, i int) {
	for _, n := range names {
		if list := index[n]; len(list) == 0 || list[len(list)-1] != i { // a name given twice
			index[n] = append(list, i)
		}
	}
}

// first is the first rule that fits, in the file's order, or nil. With an error it is the
// rule that could not be decided about.
func (s *ruleSet) first(q *topicfilter.Question) (*rule, error) {
	lists := [...][]int{s.general, s.byUsername[q.Client.GetUsername()], s.byClient[q.Client.GetClientid()]}
	for {
		next := -1
		for l, list := range lists {
			if len(list) > 0 && (next < 0 || list[0] < lists[next][0]) {
				next = l
			}
		}
		if next < 0 {
			return nil, nil
		}
		r := s.rules[lists[next][0]]
		lists[next] = lists[next][1:]
		if fits, err := r.fits(q); fits || err != nil {
			return r, err
		}
	}
}
