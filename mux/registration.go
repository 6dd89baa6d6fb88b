package mux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxBrokers bounds the brokers whose registration is remembered: their names
// come from outside.
const maxBrokers = 1024

// registrations is what each loaded broker was told that we want. It may grow
// and must not shrink while that broker is loaded: EMQX keeps calling hooks
// that a later answer leaves out, and then refuses every event of them.
type registrations struct {
	mu     sync.Mutex
	byNode map[string]*registration
	order  []string // nodes by age
}

type registration struct {
	api    API
	load   []byte // the broker's ProviderLoadedRequest, to show to providers that start later
	told   [NumHooks]HookSpec
	has    [NumHooks]bool
	warned string // what it lacks, as last logged
	twice  bool   // it has loaded hookmux under two names; see ExpectDoubles
	since  time.Time
}

// maxLoad is how large a ProviderLoadedRequest may be, to be remembered; EMQX's has
// some 200 bytes.
const maxLoad = 4 << 10

// Load answers a broker's OnProviderLoaded: the union of what the providers
// want, in the names that this API and this EMQX version know. It waits until
// the providers have had their first chance to start, as far as ctx allows.
func (m *Mux) Load(ctx context.Context, api API, body []byte) []byte {
	ctx, cancel := context.WithDeadline(ctx, m.deadline(ctx))
	defer cancel()
	m.awaitReady(ctx)
	node, version := brokerOf(body)
	ev := NewEvent(ProviderLoaded, body)
	remember := len(body) <= maxLoad && !ev.malformed
	if !remember {
		node = "unknown"
		m.log.Warn("a broker loaded hookmux as no EMQX does: it is answered, and forgotten", "bytes", len(body), "malformed", ev.malformed)
	}

	m.brokers.mu.Lock()
	t := m.table.Load() // with the lock, so that warnGrown misses nobody
	r := m.brokers.byNode[node]
	if r == nil || !remember {
		r = &registration{}
		if remember {
			m.brokers.add(node, r)
		}
	}
	if d := m.doubles.Load(); d != nil && remember {
		// Whoever announced it knows that it is loaded already, also when it loaded
		// another hookmux, which was here before.
		r.twice = true
		d.loaded(node)
	}
	r.api, r.load, r.warned, r.since = api, body, "", time.Now()
	for h := range t.wanted {
		switch w := t.wanted[h]; {
		case !t.isWanted[h] || !known(api, version, Hook(h)):
		case r.has[h]:
			r.told[h] = joinTopics(r.told[h], w)
		default:
			r.has[h], r.told[h] = true, w
		}
	}
	told := r.toldTo(api, version)
	m.brokers.mu.Unlock()
	answer, names := encodeLoaded(api, told)

	m.log.Info("broker loaded hookmux", "node", node, "emqx", version, "api", api.Service(), "hooks", strings.Join(names, " "))
	for _, p := range t.providers {
		if w, known := p.Wants(); !known {
			m.log.Warn("provider has never started, so nobody knows which hooks it answers: until it does, every hook it might decide follows its failure policy; list its hooks in the config to narrow that",
				"provider", p.Name(), "hooks_assumed", len(w))
		}
		if remember && p.IsUp() { // else it is told when it starts
			p.lane.push(ctx, &Event{Hook: ProviderLoaded, Body: body, client: []byte(node)})
		}
	}
	return answer
}

// toldTo is what the broker has been told, in order of the hook table. A node
// that came back as an older EMQX is told less than before: it does not know
// more.
func (r *registration) toldTo(api API, version string) (told []HookSpec) {
	for h := range r.told {
		if r.has[h] && known(api, version, Hook(h)) {
			told = append(told, r.told[h])
		}
	}
	return told
}

// Unload takes a broker's OnProviderUnloaded.
func (m *Mux) Unload(ctx context.Context, body []byte) {
	ctx, cancel := context.WithDeadline(ctx, m.deadline(ctx))
	defer cancel()
	node := nodeOf(body, 1)
	if m.unloadOne(node) {
		m.log.Info("broker unloaded one of two names of hookmux", "node", node)
		return
	}
	m.log.Info("broker unloaded hookmux", "node", node)
	for _, p := range m.table.Load().providers {
		if len(body) <= maxLoad && p.IsUp() {
			p.lane.push(ctx, &Event{Hook: ProviderUnloaded, Body: body, client: []byte(node)})
		}
	}
}

// unloadOne takes one of the names away by which a broker knows hookmux, and says
// whether there is another.
func (m *Mux) unloadOne(node string) (another bool) {
	m.brokers.mu.Lock()
	defer m.brokers.mu.Unlock()
	if r := m.brokers.byNode[node]; r != nil && r.twice {
		r.twice = false
		if d := m.doubles.Load(); d != nil {
			d.unloaded(node)
		}
		return true
	}
	m.brokers.remove(node)
	return false
}

// Brokers are the ProviderLoadedRequests of the brokers that are loaded, which
// a provider that starts is shown: as the brokers would send them now.
func (m *Mux) Brokers() [][]byte {
	m.brokers.mu.Lock()
	defer m.brokers.mu.Unlock()
	var out [][]byte
	for _, node := range m.brokers.order {
		r := m.brokers.byNode[node]
		out = append(out, aged(r.load, time.Since(r.since)))
	}
	return out
}

// warnGrown says which brokers have not been told of a hook that is wanted now:
// once, not at each restart of a provider, and in one line for all that lack the same.
func (m *Mux) warnGrown(t *table) {
	m.brokers.mu.Lock()
	defer m.brokers.mu.Unlock()
	nodes := make(map[string][]string) // by what they lack
	for _, node := range m.brokers.order {
		r := m.brokers.byNode[node]
		missing := r.missing(t)
		lacks := fmt.Sprint(missing) // with topics, which may grow, too
		if len(missing) > 0 && lacks != r.warned {
			names := strings.Join(hookNames(missing), " ")
			nodes[names] = append(nodes[names], node)
		}
		r.warned = lacks
	}
	for hooks, nodes := range nodes {
		m.log.Warn("the broker does not yet send everything that the providers want: it learns of it when it loads hookmux again (hookmux emqx register does that without a gap)",
			"node", strings.Join(nodes, " "), "hooks", hooks)
	}
}

func hookNames(specs []HookSpec) (names []string) {
	for _, s := range specs {
		names = append(names, s.Hook.String())
	}
	return names
}

// missing is what is wanted and the broker was not told of.
func (r *registration) missing(t *table) (missing []HookSpec) {
	_, version := brokerOf(r.load)
	for h, w := range t.wanted {
		if !t.isWanted[h] || !known(r.api, version, Hook(h)) {
			continue
		}
		if !r.has[h] || len(joinTopics(r.told[h], w).Topics) != len(r.told[h].Topics) {
			missing = append(missing, w)
		}
	}
	return missing
}

// Registration is what a broker that is loaded was told.
type Registration struct {
	Node    string
	Version string // of EMQX
	API     API
	Since   time.Time  // when it last loaded hookmux
	Told    []HookSpec // what it sends
	Missing []HookSpec // what is wanted now and it was not told of
}

// Registrations are the loaded brokers', by node.
func (m *Mux) Registrations() []Registration {
	t := m.table.Load()
	m.brokers.mu.Lock()
	defer m.brokers.mu.Unlock()
	var out []Registration
	for node, r := range m.brokers.byNode {
		_, version := brokerOf(r.load)
		out = append(out, Registration{Node: node, Version: version, API: r.api, Since: r.since, Told: r.toldTo(r.api, version), Missing: r.missing(t)})
	}
	slices.SortFunc(out, func(a, b Registration) int { return strings.Compare(a.Node, b.Node) })
	return out
}

func (b *registrations) add(node string, r *registration) {
	if b.byNode == nil {
		b.byNode = make(map[string]*registration)
	}
	if len(b.order) >= maxBrokers {
		b.remove(b.order[0])
	}
	b.byNode[node] = r
	b.order = append(b.order, node)
}

func (b *registrations) remove(node string) {
	delete(b.byNode, node)
	for i, n := range b.order {
		if n == node {
			b.order = append(b.order[:i:i], b.order[i+1:]...)
			return
		}
	}
}

// known says whether a broker knows the hook's name. It would refuse the whole
// load for one that it does not.
func known(api API, emqx string, h Hook) bool {
	if !api.Has(h) {
		return false
	}
	since := hooks[h].since
	if since == [2]int{} {
		return true
	}
	major, minor, ok := parseVersion(emqx)
	return ok && (major > since[0] || major == since[0] && minor >= since[1])
}

// parseVersion reads the first two numbers of "5.10.3", "v6.3.0-alpha.1" and
// the like.
func parseVersion(s string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	digits := strings.IndexFunc(parts[1]+"-", func(r rune) bool { return r < '0' || r > '9' })
	minor, err2 := strconv.Atoi(parts[1][:digits])
	return major, minor, err1 == nil && err2 == nil
}

// brokerOf reads a ProviderLoadedRequest: meta.node, or the version where an
// old broker sends no meta, and broker.version.
func brokerOf(body []byte) (node, version string) {
	var v []byte
	eachField(body, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		if num == 1 && typ == protowire.BytesType {
			lastBytes(val, 1, &v)
		}
		return true
	})
	node = nodeOf(body, 2)
	if node == "" {
		node = fmt.Sprintf("unnamed EMQX %s", v)
	}
	return node, string(v)
}

// aged is a ProviderLoadedRequest with broker.uptime and broker.datetime as they are some
// time later: since when a broker runs is told by its uptime, and that by when it arrives.
func aged(load []byte, by time.Duration) []byte {
	var broker, datetime []byte
	var uptime uint64 // milliseconds; 0 with EMQX 4.x, which sends a text
	lastBytes(load, 1, &broker)
	eachField(broker, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		switch {
		case num == 3 && typ == protowire.VarintType:
			uptime, _ = protowire.ConsumeVarint(val)
		case num == 4 && typ == protowire.BytesType:
			datetime = val
		}
		return true
	})
	if uptime == 0 {
		return load
	}
	broker = appendVarintField(slices.Clone(broker), 3, uptime+uint64(by.Milliseconds())) // the last one counts
	if then, err := time.Parse(time.RFC3339Nano, string(datetime)); err == nil {
		broker = appendBytesField(broker, 4, []byte(then.Add(by).Format(time.RFC3339Nano)))
	}
	out := appendBytesField(nil, 1, broker)
	for rest := load; len(rest) > 0; {
		num, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return load
		}
		if num != 1 {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}

// nodeOf reads node of the RequestMeta in field num.
func nodeOf(body []byte, num protowire.Number) string {
	var node []byte
	eachField(body, func(n protowire.Number, typ protowire.Type, val []byte) bool {
		if n == num && typ == protowire.BytesType {
			lastBytes(val, 1, &node)
		}
		return true
	})
	return string(node)
}

// encodeLoaded is the LoadedResponse: hooks = 1 repeated HookSpec{name = 1,
// topics = 2 repeated}; and the names in it.
func encodeLoaded(api API, told []HookSpec) (b []byte, names []string) {
	b = []byte{}
	for _, s := range told {
		names = append(names, api.HookName(s.Hook))
		spec := appendBytesField(nil, 1, []byte(api.HookName(s.Hook)))
		for _, t := range s.Topics {
			spec = appendBytesField(spec, 2, []byte(t))
		}
		b = appendBytesField(b, 1, spec)
	}
	return b, names
}

// pureField is hookmux's own field in a HookSpec; others skip it.
const pureField = 1000

// ParseLoaded reads a provider's LoadedResponse, in any API version's names; a
// hook named twice has its topics joined. A name that no EMQX knows is an error,
// as it is for EMQX, and so are no hooks at all: a misspelt hook would be one that
// nobody decides.
func ParseLoaded(b []byte) (specs []HookSpec, err error) {
	ok := eachField(b, func(num protowire.Number, typ protowire.Type, val []byte) bool {
		if num != 1 || typ != protowire.BytesType {
			return true
		}
		var name []byte
		var topics []string
		var pure bool
		if !eachField(val, func(num protowire.Number, typ protowire.Type, val []byte) bool {
			if typ == protowire.BytesType && num == 1 {
				name = val
			} else if typ == protowire.BytesType && num == 2 {
				topics = append(topics, string(val))
			} else if typ == protowire.VarintType && num == pureField {
				v, _ := protowire.ConsumeVarint(val)
				pure = v != 0
			}
			return true
		}) {
			return false
		}
		h, found := HookByName(string(name))
		if !found {
			err = fmt.Errorf("it declares the hook %.80q, which no EMQX knows", name)
			return true
		}
		if !h.HasTopics() {
			topics = nil // EMQX, too, takes no notice of them
		}
		spec := HookSpec{Hook: h, Topics: unique(nil, topics), Pure: pure && h.Valued()}
		for i := range specs {
			if specs[i].Hook == h {
				specs[i] = joinTopics(specs[i], spec)
				return true
			}
		}
		specs = append(specs, spec)
		return true
	})
	switch {
	case !ok:
		return nil, errors.New("its answer to OnProviderLoaded is no LoadedResponse")
	case err != nil:
		return nil, err
	case len(specs) == 0:
		return nil, errors.New("it declares no hooks")
	}
	return specs, nil
}

// OwnLoadRequest is the ProviderLoadedRequest with which hookmux itself greets
// a provider that starts, whether or not a broker is there yet.
func OwnLoadRequest(version string, now time.Time) []byte {
	broker := appendBytesField(nil, 1, []byte(version))
	broker = appendBytesField(broker, 2, []byte(ownName))
	broker = appendBytesField(broker, 4, []byte(now.UTC().Format(time.RFC3339)))
	return append(appendBytesField(nil, 1, broker), ownMeta(2, version)...)
}

// OwnUnloadRequest is the ProviderUnloadedRequest with which hookmux takes
// leave of a provider.
func OwnUnloadRequest(version string) []byte { return ownMeta(1, version) }

const ownName = "hookmux"

func ownMeta(num protowire.Number, version string) []byte {
	meta := appendBytesField(nil, 1, []byte(ownName))
	meta = appendBytesField(meta, 2, []byte(version))
	meta = appendBytesField(meta, 3, []byte(ownName))
	return appendBytesField(nil, num, meta)
}
