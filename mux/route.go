package mux

import (
	"sync"
	"sync/atomic"
)

// table is an immutable snapshot of who is asked what. Reading it takes no
// lock; a change builds a new one.
type table struct {
	providers []*Provider        // in chain order
	routes    [NumHooks][]route  // by hook, in chain order
	observers [NumHooks][]route  // of valued hooks
	stores    [NumHooks]bool     // there are observers to whom it is delivered durably
	ahead     [NumHooks]bool     // there are pure providers behind others
	wanted    [NumHooks]HookSpec // the union of what the providers want
	isWanted  [NumHooks]bool
	opts      Options
	users     *users
}

// users counts who is under way with something that is in place until it is
// replaced; for a table, the events.
type users struct {
	n    atomic.Int64 // and one while it is in place
	once sync.Once
	gone chan struct{} // closed when there are none left
	next *users        // nil, or who may be gone only after these
}

func newUsers() *users {
	u := &users{gone: make(chan struct{})}
	u.n.Store(1)
	return u
}

func (u *users) enter() { u.n.Add(1) }

func (u *users) leave() {
	if u.n.Add(-1) == 0 {
		u.once.Do(func() {
			close(u.gone)
			if u.next != nil {
				u.next.leave()
			}
		})
	}
}

// replacedBy leaves the place to next.
func (u *users) replacedBy(next *users) {
	next.enter()
	u.next = next
	u.leave()
}

type route struct {
	p *Provider
	// Both must match the topic: what the config grants, and what the provider
	// asked for.
	topics, and *topicTree
	hide        redactions // what the provider may not see
	pure        bool       // it may be asked ahead of its turn
}

// takes says whether the provider wants an event with this topic.
func (r *route) takes(topic []byte) bool { return r.topics.matches(topic) && r.and.matches(topic) }

// newTable builds the snapshot. A hook with a default is wanted even if no
// provider asks, because the config has a final answer for it.
func newTable(providers []*Provider, opts Options) *table {
	t := &table{providers: providers, opts: opts, users: newUsers()}
	for _, p := range providers {
		wants, _ := p.Wants()
		hide := p.spec.redactions(wants)
		for _, w := range wants {
			to := &t.routes[w.Hook]
			if w.Hook.Valued() && p.spec.Observe {
				to = &t.observers[w.Hook]
				t.stores[w.Hook] = t.stores[w.Hook] || p.spec.Delivery[w.Hook] == Durable
			}
			r := route{p: p, topics: newTopicTree(w.Topics), and: newTopicTree(w.and), hide: hide[w.Hook], pure: w.Pure}
			if p.spec.Pure != nil {
				r.pure = *p.spec.Pure
			}
			t.ahead[w.Hook] = t.ahead[w.Hook] || r.pure && len(*to) > 0
			*to = append(*to, r)
			t.want(w)
		}
	}
	for h := range opts.Defaults {
		t.want(HookSpec{Hook: h})
	}
	return t
}

// want adds to the union: topics are joined, no topics win.
func (t *table) want(w HookSpec) {
	if !t.isWanted[w.Hook] {
		t.isWanted[w.Hook] = true
		t.wanted[w.Hook] = HookSpec{Hook: w.Hook, Topics: unique(nil, w.Topics)}
		return
	}
	t.wanted[w.Hook] = joinTopics(t.wanted[w.Hook], w)
}

func joinTopics(a, b HookSpec) HookSpec {
	if len(a.Topics) == 0 || len(b.Topics) == 0 {
		return HookSpec{Hook: a.Hook, Pure: a.Pure && b.Pure}
	}
	return HookSpec{Hook: a.Hook, Pure: a.Pure && b.Pure, Topics: unique(unique(nil, a.Topics), b.Topics)}
}

// unique appends to dst the strings of add that it lacks.
func unique(dst, add []string) []string {
	seen := make(map[string]bool, len(dst)+len(add))
	for _, s := range dst {
		seen[s] = true
	}
	for _, s := range add {
		if !seen[s] {
			seen[s] = true
			dst = append(dst, s)
		}
	}
	return dst
}
