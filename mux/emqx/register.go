package emqx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Wanted are the settings that hookmux's entry in EMQX is to have. What is zero stays as
// EMQX has it if that will do, and else becomes the default.
type Wanted struct {
	Name string // with -2 behind it is its other name
	URL  string
	// DefaultURL is where hookmux listens, as far as it knows; empty: that is no address
	// to call.
	DefaultURL    string
	Timeout       time.Duration // request_timeout; default 5 s, or 1 s more than Least
	Least         time.Duration // what Timeout must be more than
	AutoReconnect time.Duration // default 10 s
	PoolSize      int           // default 8
	// SSL is EMQX's object ssl, for https; PEM texts in it are not shown.
	SSL map[string]any
}

// filled is w with nothing left open, for an entry; nil: a new one.
func (w Wanted) filled(s *Server) (Wanted, error) {
	if s == nil {
		s = new(Server)
	}
	if w.URL == "" {
		w.URL = w.DefaultURL
		// The host may be what hookmux is called from there.
		if has, err := url.Parse(s.URL); err == nil && s.URL != "" {
			if is, err := url.Parse(w.DefaultURL); err == nil && (w.DefaultURL == "" || is.Scheme == has.Scheme && is.Port() == has.Port()) {
				w.URL = s.URL
			}
		}
	}
	if w.URL == "" {
		return w, ErrNoURL
	}
	keep := func(v *time.Duration, has, least, most, def time.Duration) {
		switch {
		case *v != 0:
		case has > least && has <= most:
			*v = has
		default:
			*v = def
		}
	}
	keep(&w.Timeout, s.Timeout, w.Least, math.MaxInt64, max(5*time.Second, w.Least+time.Second))
	keep(&w.AutoReconnect, s.AutoReconnect, 0, time.Minute, 10*time.Second)
	if w.PoolSize == 0 {
		if w.PoolSize = 8; s.PoolSize >= smallPool {
			w.PoolSize = s.PoolSize
		}
	}
	return w, nil
}

// ErrNoURL is why nothing could be registered.
var ErrNoURL = errors.New("hookmux listens on every interface, which is no address for EMQX to call: name one with --url, such as http://10.0.0.5:9000")

// settings are w as EMQX has them.
func (w *Wanted) settings(name string) map[string]any {
	m := map[string]any{
		"name": name, "enable": true, "url": w.URL, "request_timeout": seconds(w.Timeout),
		"failed_action": "deny", "auto_reconnect": seconds(w.AutoReconnect), "pool_size": w.PoolSize,
	}
	if w.SSL != nil {
		m["ssl"] = w.SSL
	}
	return m
}

// Window tells hookmux that events may come twice, and which nodes have loaded it a
// second time.
type Window interface {
	// Expect announces it for so long; 0 says that it is over. recognised is how many
	// second calls there were so far.
	Expect(ctx context.Context, during time.Duration) (nodes []string, recognised int64, err error)
}

// Registration brings hookmux's entry into EMQX, and up to date.
type Registration struct {
	Client *Client
	Wanted Wanted
	Hooks  []Hook // that hookmux wants; nil: not known, only the settings count
	// Window is hookmux; nil: it cannot be asked, and nothing is replaced that runs.
	Window Window
	// Known are the nodes that have loaded this hookmux. Beside each node there may be
	// one of its own.
	Known  []string
	DryRun bool
	// Force has an entry replaced that is as it should be, for another certificate.
	Force bool
	// Patience is how long EMQX may take to load the entry on every node. Default 30 s.
	Patience time.Duration
	// Say is told each step, a line at a time.
	Say func(format string, args ...any)

	pause time.Duration // between two looks
	want  Wanted        // with nothing left open
}

// ErrNoWindow is why an entry that runs was not replaced.
var ErrNoWindow = errors.New("hookmux itself cannot be asked, so that it does not know that events come twice for a moment: run this where hookmux runs, with its config or --admin")

// windowFor is how long hookmux is told at a time that events may come twice.
const windowFor = 30 * time.Second

// Run does it, and returns when EMQX has loaded hookmux on every node, as it is wanted.
// Run again, it finds nothing to do. When it fails half-way, what ran before still runs.
func (r *Registration) Run(ctx context.Context) error {
	if r.Patience == 0 {
		r.Patience = 30 * time.Second
	}
	if r.pause == 0 {
		r.pause = 250 * time.Millisecond
	}
	servers, err := r.Client.Servers(ctx)
	if err != nil {
		return err
	}
	nodes, err := r.Client.Nodes(ctx)
	if err != nil {
		return err
	}
	names := [2]string{r.Wanted.Name, r.Wanted.Name + "-2"}
	var mine []*Server
	for _, s := range servers {
		switch {
		case slices.Contains(names[:], s.Name):
			mine = append(mine, s)
		case s.Enabled && (s.URL == r.Wanted.URL || s.URL == r.Wanted.DefaultURL):
			return fmt.Errorf("EMQX calls %s already, by its entry %s: to take that one, write --name %[2]s", s.URL, s.Name)
		}
	}
	var first *Server
	if len(mine) > 0 {
		first = mine[0]
	}
	if r.want, err = r.Wanted.filled(first); err != nil {
		return err
	}
	switch len(mine) {
	case 0:
		return r.createFirst(ctx, nodes)
	case 2:
		if mine, err = r.finish(ctx, mine, nodes); err != nil {
			return err
		}
	}
	return r.renew(ctx, mine[0], len(servers) > 1, nodes)
}

func (r *Registration) createFirst(ctx context.Context, nodes []Node) error {
	want := r.want.settings(r.want.Name)
	r.Say("EMQX has no entry for hookmux: %s is made", r.want.Name)
	r.sayAll(nil, want)
	if r.DryRun {
		return nil
	}
	if err := r.Client.create(ctx, want); err != nil {
		return err
	}
	if err := r.await(ctx, r.want.Name, nodes, nil); err != nil {
		return fmt.Errorf("the entry is made, but %w", err)
	}
	return nil
}

// finish deletes one of two entries, which somebody who was interrupted left: the one
// that is less of use.
func (r *Registration) finish(ctx context.Context, mine []*Server, nodes []Node) ([]*Server, error) {
	keep, drop := mine[0], mine[1]
	use := func(s *Server) (n int) {
		for _, good := range []bool{s.runs(), s.connected(nodeNames(nodes)), len(s.lacks(r.Hooks)) == 0, len(r.changes(s)) == 0} {
			n *= 2
			if good {
				n++
			}
		}
		return n
	}
	if use(drop) > use(keep) {
		keep, drop = drop, keep
	}
	r.Say("EMQX has two entries for hookmux, %s and %s: %s goes", mine[0].Name, mine[1].Name, drop.Name)
	if r.DryRun {
		return []*Server{keep}, nil
	}
	if keep.runs() && drop.runs() && r.Window != nil {
		if _, _, err := r.Window.Expect(ctx, windowFor); err != nil {
			return nil, err
		}
		defer func() { _, _, _ = r.Window.Expect(context.WithoutCancel(ctx), 0) }()
	}
	return []*Server{keep}, r.Client.remove(ctx, drop.Name)
}

// renew brings the one entry up to date.
func (r *Registration) renew(ctx context.Context, s *Server, others bool, nodes []Node) error {
	changes, lacks := r.changes(s), s.lacks(r.Hooks)
	if !s.runs() {
		lacks = nil // it learns of all when it is loaded
	}
	if len(changes) == 0 && len(lacks) == 0 && !r.Force {
		if !s.connected(nodeNames(nodes)) {
			return fmt.Errorf("%s is as it should be, but not connected on %s: does %s answer from there?", s.Name, strings.Join(s.notConnected(nodeNames(nodes)), ", "), s.URL)
		}
		r.Say("%s is as it should be: nothing to do", s.Name)
		return nil
	}
	if len(changes) > 0 {
		r.Say("%s changes:", s.Name)
		r.sayAll(s.raw, r.merged(s, s.Name))
	}
	if len(lacks) > 0 {
		r.Say("EMQX is to send what it does not yet: %s", strings.Join(lacks, ", "))
	}
	if !s.runs() {
		if r.DryRun {
			return nil
		}
		if err := r.Client.update(ctx, s.Name, r.merged(s, s.Name)); err != nil {
			return err
		}
		return r.await(ctx, s.Name, nodes, nil)
	}
	return r.replace(ctx, s, others, nodes)
}

// replace has an entry of the other name take over from one that runs: to change that
// one in its place would have EMQX unload it first, and ask nobody until it is loaded.
func (r *Registration) replace(ctx context.Context, old *Server, others bool, nodes []Node) (err error) {
	next := r.want.Name
	if old.Name == next {
		next += "-2"
	}
	if err := r.keepsCertificates(old); err != nil {
		return err
	}
	if others := slices.DeleteFunc(nodeNames(nodes), func(n string) bool { return slices.Contains(r.Known, n) }); len(others) > 0 {
		r.Say("%s did not load this hookmux, but perhaps one beside it, which is not told that events come twice for a moment: there they count twice", strings.Join(others, ", "))
	}
	r.Say("%s takes over from %s: it is loaded first, then %s goes, and events that come twice meanwhile count once", next, old.Name, old.Name)
	if r.DryRun {
		return nil
	}
	if r.Window == nil {
		return ErrNoWindow
	}
	if _, _, err := r.Window.Expect(ctx, windowFor); err != nil {
		return fmt.Errorf("hookmux cannot be told that events come twice for a moment: %w", err)
	}
	// Whatever comes of it, and whoever gives up, hookmux is told that it is over.
	undoing := context.WithoutCancel(ctx)
	defer func() {
		if _, recognised, over := r.Window.Expect(undoing, 0); over == nil && err == nil {
			r.Say("done: %d events came twice, and counted once", recognised)
		}
	}()
	if err := r.Client.create(ctx, r.merged(old, next)); err != nil {
		return fmt.Errorf("%s runs as before: %w", old.Name, err)
	}
	giveUp := func(err error) error {
		if gone := r.Client.remove(undoing, next); gone != nil {
			return fmt.Errorf("%w; and %s could not be deleted again: %w", err, next, gone)
		}
		return fmt.Errorf("%s runs as before: %w", old.Name, err)
	}
	if others {
		if err := r.Client.moveBehind(ctx, next, old.Name); err != nil {
			return giveUp(err)
		}
	}
	if err := r.await(ctx, next, nodes, r.Window); err != nil {
		return giveUp(err)
	}
	if err := r.Client.remove(ctx, old.Name); err != nil {
		return fmt.Errorf("%s is loaded, but %s could not be deleted: run this again: %w", next, old.Name, err)
	}
	return r.awaitGone(ctx)
}

// await waits until every node has loaded the entry; with a window, until hookmux says so,
// too.
func (r *Registration) await(ctx context.Context, name string, nodes []Node, window Window) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	all := nodeNames(nodes)
	missing := all
	for {
		servers, err := r.Client.Servers(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if i := slices.IndexFunc(servers, func(s *Server) bool { return s.Name == name }); i >= 0 {
			missing = servers[i].notConnected(all)
		}
		if len(missing) == 0 && window != nil {
			loaded, _, err := window.Expect(ctx, windowFor)
			if err != nil && ctx.Err() == nil {
				return err
			}
			missing = slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(loaded, n) || !slices.Contains(r.Known, n) })
		}
		if len(missing) == 0 {
			r.Say("%s is loaded on %s", name, strings.Join(all, ", "))
			return nil
		}
		select {
		case <-time.After(r.pause):
		case <-ctx.Done():
			return fmt.Errorf("%s is not loaded on %s within %s: does %s answer from there?", name, strings.Join(missing, ", "), r.Patience, r.want.URL)
		}
	}
}

// awaitGone waits until no node has two names for hookmux any more, or as long as it has
// patience: what is left over is told apart from nothing else.
func (r *Registration) awaitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for {
		nodes, _, err := r.Window.Expect(ctx, windowFor)
		if err != nil || len(nodes) == 0 {
			return err
		}
		select {
		case <-time.After(r.pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// merged are the entry's settings with what is wanted in them: what hookmux has no opinion
// on stays.
func (r *Registration) merged(s *Server, name string) map[string]any {
	m := maps.Clone(s.raw)
	for key, v := range r.want.settings(name) {
		ssl, both := v.(map[string]any)
		had, was := m[key].(map[string]any)
		if both && was {
			had = maps.Clone(had)
			maps.Copy(had, ssl)
			m[key] = had
			continue
		}
		m[key] = v
	}
	return m
}

// changes are the settings that are not as wanted.
func (r *Registration) changes(s *Server) (keys []string) {
	for key, v := range r.want.settings(s.Name) {
		if !same(key, s.raw[key], v) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// same says whether EMQX has what is wanted. A PEM text it keeps in a file and tells only
// the path of, so any is taken for the same; Force is for another.
func same(key string, have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		for k, v := range want {
			ok = ok && same(k, h[k], v)
		}
		return ok
	case string:
		h, ok := have.(string)
		if key == "request_timeout" || key == "auto_reconnect" {
			x, _ := duration(have)
			y, _ := duration(want)
			return x == y
		}
		return ok && (h == want || h != "" && isPEM(want))
	case int:
		return have == float64(want)
	}
	return have == want
}

func isPEM(s string) bool { return strings.Contains(s, "-----BEGIN") }

// keepsCertificates says why an entry that has another's settings would lose its
// certificates: EMQX deletes those of one that is deleted.
func (r *Registration) keepsCertificates(old *Server) error {
	had, _ := old.raw["ssl"].(map[string]any)
	if !old.SSL.Enabled {
		return nil
	}
	for key, flag := range map[string]string{"cacertfile": "--server-ca", "certfile": "--client-cert", "keyfile": "--client-key"} {
		if had[key] != nil && had[key] != "" && r.want.SSL[key] == nil {
			return fmt.Errorf("%s has a %s in EMQX, which goes with it: name the file again, with %s", old.Name, key, flag)
		}
	}
	return nil
}

// sayAll says what changes, a setting a line.
func (r *Registration) sayAll(have, want map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have != nil && same(key, have[key], want[key]) {
			continue
		}
		if was, ok := have[key]; ok {
			r.Say("  - %s: %s", key, show(was))
		}
		r.Say("  + %s: %s", key, show(want[key]))
	}
}

// show is a setting's value. Keys and certificates are not shown.
func show(v any) string {
	switch v := v.(type) {
	case string:
		if isPEM(v) {
			return "(PEM)"
		}
		return v
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+": "+show(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	data, _ := json.Marshal(v)
	return string(data)
}
