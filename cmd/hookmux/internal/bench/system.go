package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// poolSize is how many connections EMQX has to a server by default.
const poolSize = 8

// system is what is put under load: hookmux with plugins, or direct servers.
type system struct {
	name    string
	roots   []*child
	servers [][]*grpc.ClientConn // each event goes to one connection of each, one server after another
	plugins []*counters          // of all who handle an event; empty if they do not count
	hooks   []mux.Hook           // what it answers

	unfollow  func() // ends following its events; nil: nobody does
	isHookmux bool
	passes    bool // its plugins rewrite nothing
}

// stop ends all that belongs to the system.
func (s *system) stop() {
	s.disconnect()
	for _, c := range s.roots {
		c.stop()
	}
	s.unmap()
}

// kill is stop for a system that would take long.
func (s *system) kill() {
	s.disconnect()
	for _, c := range s.roots {
		c.kill()
	}
	s.unmap()
}

func (s *system) disconnect() {
	if s.unfollow != nil {
		s.unfollow()
	}
	for _, pool := range s.servers {
		for _, cc := range pool {
			_ = cc.Close()
		}
	}
}

func (s *system) unmap() {
	for _, c := range s.plugins {
		c.Close()
	}
	s.plugins = nil
}

// cpu is the CPU time that the system's processes have used, and the part of
// hookmux itself, if it is one.
func (s *system) cpu() (all, hookmux time.Duration) {
	var pids []int
	for _, c := range s.roots {
		pids = append(pids, c.pid())
	}
	for _, p := range trees(processes(), pids...) {
		all += p.cpu
		if s.isHookmux && p.pid == pids[0] {
			hookmux = p.cpu
		}
	}
	return all, hookmux
}

// warned is how many warnings the system has logged so far, and the latest.
func (s *system) warned() (n int, last string) {
	for _, c := range s.roots {
		if w, l := c.log.warned(); w > 0 {
			n, last = n+w, l
		}
	}
	return n, last
}

// only is the system seen as its first n servers.
func (s *system) only(n int) *system {
	v := *s
	v.roots, v.servers = s.roots[:n], s.servers[:n]
	if len(s.plugins) > 0 {
		v.plugins = s.plugins[:n]
	}
	return &v
}

// pick is the first of the hooks that the system answers.
func (s *system) pick(from []mux.Hook) (mux.Hook, error) {
	for _, h := range from {
		if slices.Contains(s.hooks, h) {
			return h, nil
		}
	}
	return 0, errNoHook
}

// notHere is why something cannot be measured here, with nothing wrong.
type notHere string

func (e notHere) Error() string { return string(e) }

const errNoHook notHere = "the plugin answers no hook of this kind"

// connect opens the connections to one server and tells it that a broker is
// here, as EMQX does; it learns the hooks that the server answers.
func (s *system) connect(ctx context.Context, address string) error {
	var pool []*grpc.ClientConn
	for range poolSize {
		cc, err := grpc.NewClient(address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUserAgent("grpc-erlang/0.1.0"),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawcodec.New()), grpc.MaxCallRecvMsgSize(1<<30)))
		if err != nil {
			return err
		}
		cc.Connect()
		pool = append(pool, cc)
	}
	s.servers = append(s.servers, pool)

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := proto.Marshal(&exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{Version: "5.10.3", Sysdescr: "EMQX"}, Meta: &exhookv3.RequestMeta{Node: "emqx@127.0.0.1"},
	})
	if err != nil {
		return err
	}
	var resp rawcodec.Message
	if err := pool[0].Invoke(ctx, mux.V3.FullMethod(mux.ProviderLoaded), rawcodec.Message(req), &resp, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("%s: OnProviderLoaded: %w", s.name, err)
	}
	specs, err := mux.ParseLoaded(resp)
	if err != nil {
		return fmt.Errorf("%s: the answer to OnProviderLoaded: %w", s.name, err)
	}
	s.hooks = s.hooks[:0]
	for _, spec := range specs {
		s.hooks = append(s.hooks, spec.Hook)
	}
	return nil
}

// providerConfig is a provider in hookmux.yaml.
type providerConfig struct {
	Name      string          `json:"name"`
	Command   []string        `json:"command,omitempty"`
	URL       string          `json:"url,omitempty"`
	Config    json.RawMessage `json:"config,omitempty"`
	Pure      bool            `json:"pure,omitempty"`
	Observe   bool            `json:"observe,omitempty"`
	OnFailure string          `json:"on_failure,omitempty"`
	Timeout   string          `json:"timeout,omitempty"`
	Lane      map[string]any  `json:"lane,omitempty"`
	Delivery  string          `json:"delivery,omitempty"`
}

// hookmux starts hookmux with the providers; change, if not nil, adapts each.
func (l *lab) hookmux(ctx context.Context, plugins int, change func(i int, p *providerConfig)) (s *system, err error) {
	return l.hookmuxAs(ctx, asUsual, plugins, change)
}

func (l *lab) hookmuxAs(ctx context.Context, w watching, plugins int, change func(i int, p *providerConfig)) (s *system, err error) {
	s = &system{name: fmt.Sprintf("hookmux with %d plugins", plugins), isHookmux: true}
	defer func() {
		if err != nil {
			s.kill()
			s = nil
		}
	}()
	var providers []providerConfig
	for i := range plugins {
		p := providerConfig{Name: fmt.Sprintf("p%d", i), Config: l.opts.PluginConfig, Command: l.opts.Plugin}
		if len(p.Command) == 0 {
			l.builtIn(s, &p)
		} else {
			// Nothing tells when it has handled an event, so nothing keeps the
			// load from outrunning it but this.
			p.Lane = map[string]any{"overflow": "block"}
			if n := l.opts.Protocol; n != 0 {
				p.Command = append([]string{"env", fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", n)}, p.Command...)
			}
		}
		if change != nil {
			change(i, &p)
		}
		providers = append(providers, p)
	}
	if plugins == 0 { // one provider must be there
		providers = append(providers, providerConfig{Name: "remote", URL: "http://127.0.0.1:1", OnFailure: "ignore"})
	}
	l.systems++
	dir := filepath.Join(l.dir, fmt.Sprintf("hookmux%d", l.systems))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	admin := "off"
	if w == followed {
		admin = "unix:" + adminSocket(dir)
	}
	timeout := mux.DefaultEventTimeout.String()
	for _, p := range providers {
		timeout = cmp.Or(p.Timeout, timeout) // or it would warn of one that is longer
	}
	// JSON is YAML, but for what hookmux expands.
	cfg, err := json.Marshal(map[string]any{
		"timeout": timeout,
		"state":   "off", "admin": admin, "listen": "127.0.0.1:0", "log": map[string]any{"format": "json"}, "providers": providers, "spool": l.spool(dir),
		"default": map[string]any{"client.authenticate": "allow"}, // or it would warn of a plugin that has no opinion
	})
	if err != nil {
		return s, err
	}
	path := filepath.Join(dir, "hookmux.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(cfg), "${", "$${")), 0o600); err != nil {
		return s, err
	}
	c, err := startChild(s.name, l.command(w, path, plugins))
	if err != nil {
		return s, err
	}
	s.roots = append(s.roots, c)
	address, err := c.await("its address", c.log.listening)
	if err != nil {
		return s, err
	}
	if err := s.connect(ctx, address); err != nil {
		return s, err
	}
	if w == followed {
		if err := s.follow(adminSocket(dir)); err != nil {
			return s, err
		}
	}
	if n, last := s.warned(); n > 0 && plugins > 0 {
		return s, fmt.Errorf("%s did not start well: %s", s.name, last)
	}
	return s, nil
}

// pure is hookmux with so many plugins that are pure and, if built in, pass
// everything. It stays up for the whole run.
func (l *lab) pure(ctx context.Context, plugins int) (*system, error) {
	if s := l.pures[plugins]; s != nil {
		return s, nil
	}
	s, err := l.hookmux(ctx, plugins, func(_ int, p *providerConfig) {
		p.Pure = true
		var cfg pluginConfig
		if len(l.opts.Plugin) == 0 && json.Unmarshal(p.Config, &cfg) == nil {
			cfg.Pass = true
			p.Config, _ = json.Marshal(cfg)
		}
	})
	if err != nil {
		return nil, err
	}
	s.passes = true
	if l.pures == nil {
		l.pures = make(map[int]*system)
	}
	l.pures[plugins] = s
	return s, nil
}

// builtIn makes p the built-in plugin.
func (l *lab) builtIn(s *system, p *providerConfig) {
	path, c, err := l.newCounters()
	if err != nil {
		p.Command = []string{"false"} // hookmux will say that it does not start
		return
	}
	s.plugins = append(s.plugins, c)
	cfg := pluginConfig{Counters: path, Protocol: l.opts.Protocol}
	if l.opts.Profiles != "" {
		cfg.Profile = filepath.Join(l.opts.Profiles, fmt.Sprintf("plugin%d.pprof", l.files))
	}
	p.Config, _ = json.Marshal(cfg)
	p.Command = append(slices.Clone(l.opts.Self), "bench-plugin")
}

func (l *lab) newCounters() (string, *counters, error) {
	l.files++
	path := filepath.Join(l.dir, fmt.Sprintf("counters%d", l.files))
	c, err := newCounters(path)
	return path, c, err
}

// addDirect starts one more direct server and adds it to s.
func (l *lab) addDirect(ctx context.Context, s *system) error {
	if len(l.opts.Plugin) > 0 {
		return l.addDirectPlugin(ctx, s)
	}
	path, counters, err := l.newCounters()
	if err != nil {
		return err
	}
	s.plugins = append(s.plugins, counters)
	c, err := startChild(fmt.Sprintf("direct server %d", len(s.roots)+1), append(slices.Clone(l.opts.Self), "bench-direct", path))
	if err != nil {
		return err
	}
	s.roots = append(s.roots, c)
	address, err := c.await("its address", c.log.firstLine)
	if err != nil {
		return err
	}
	return s.connect(ctx, address)
}

// addDirectPlugin starts the user's plugin as hookmux would, and calls it as if
// it were EMQX's server.
func (l *lab) addDirectPlugin(ctx context.Context, s *system) error {
	config := string(l.opts.PluginConfig)
	if config == "" {
		config = "{}"
	}
	c, err := startChild(fmt.Sprintf("direct plugin %d", len(s.roots)+1), l.opts.Plugin,
		handshake.CookieKey+"="+handshake.CookieValue, fmt.Sprintf("%s=%d", protocolVersions, handshake.Unary),
		handshake.EnvName+"=direct", handshake.EnvConfig+"="+config)
	if err != nil {
		return err
	}
	s.roots = append(s.roots, c)
	line, err := c.await("its handshake line", func() (string, bool) {
		l, ok := c.log.firstLine()
		return l, ok
	})
	if err != nil {
		return err
	}
	// CORE|APP|NETWORK|ADDRESS|grpc
	parts := strings.Split(line, "|")
	if len(parts) < 5 || parts[4] != "grpc" {
		return fmt.Errorf("%s: its first line is no handshake: %q", c.name, line)
	}
	address := parts[3]
	if parts[2] == "unix" {
		address = "unix:" + address
	}
	return s.connect(ctx, address)
}
