package devbroker

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// errUnregistered is the failure of a hook that an earlier registration named and the
// present one does not: EMQX keeps calling it and finds nobody to answer.
var errUnregistered = errors.New("no longer registered by the provider")

// provider is the gRPC side: the pool of connections and what the provider
// registered for. Its methods are safe for concurrent use.
type provider struct {
	cfg     Config
	dialect dialect
	meta    *exhookv3.RequestMeta
	log     *slog.Logger
	started time.Time

	conns []*grpc.ClientConn
	opts  []grpc.CallOption
	ctx   context.Context // ends when the broker does; aborts calls under way
	stop  context.CancelFunc

	reg    atomic.Pointer[registration] // nil: not loaded, everything is unhooked
	loadMu sync.Mutex                   // one load or unload at a time
	closed bool                         // under loadMu
	kick   chan struct{}                // wakes keepLoaded
	down   atomic.Bool                  // seen without a connection since the last load
	changed
}

// registration is an immutable picture of the last LoadedResponse.
type registration struct {
	topics map[hook][]string // present: registered; the filters are for message.* only
	stale  map[hook]bool     // was registered before a reload, is not any more
}

// changed lets WaitLoaded wait for the first load.
type changed struct {
	once   sync.Once
	loaded chan struct{}
}

func newProvider(cfg Config, d dialect) (*provider, error) {
	p := &provider{
		cfg: cfg, dialect: d, log: cfg.Logger.With("exhook", cfg.ExHook), started: time.Now(),
		meta: &exhookv3.RequestMeta{
			Node: cfg.Node, Version: d.release, Sysdescr: d.sysdescr, ClusterName: cfg.ClusterName,
		},
		// Before 5.9 a call waits for a lost connection, up to its timeout.
		opts:    []grpc.CallOption{grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(!d.rechecks)},
		kick:    make(chan struct{}, 1),
		changed: changed{loaded: make(chan struct{})},
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for range cfg.PoolSize {
		conn, err := grpc.NewClient("passthrough:///"+cfg.ExHook,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUserAgent("grpc-erlang/0.1.0"),
			grpc.WithNoProxy(),
			grpc.WithIdleTimeout(0),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 60 * time.Second, PermitWithoutStream: true}),
			// See reconnects: a long backoff would hide a provider that is back.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
				MinConnectTimeout: time.Second,
			}))
		if err != nil {
			p.close()
			return nil, fmt.Errorf("devbroker: connection to %s: %w", cfg.ExHook, err)
		}
		p.conns = append(p.conns, conn)
		conn.Connect()
	}
	return p, nil
}

// close aborts calls under way and closes the pool.
func (p *provider) close() {
	p.stop()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// wants says whether hook h is called for a topic (of message hooks; others pass
// ""), and whether it cannot be answered because the registration shrank.
func (p *provider) wants(h hook, topic string) (bool, error) {
	r := p.reg.Load()
	if r == nil {
		return false, nil
	}
	if topics, ok := r.topics[h]; ok {
		return h < messagePublish || (!isSys(topic) && matchesAny(topics, topic)), nil
	}
	if r.stale[h] {
		return true, errUnregistered
	}
	return false, nil
}

// call is one synchronous round trip on the connection that key (a client id)
// hashes to.
func (p *provider) call(method, key string, req proto.Message, opts ...grpc.CallOption) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.RequestTimeout)
	defer cancel()
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key))
	conn := p.conns[int(hash.Sum32())%len(p.conns)]
	if p.reconnects(ctx, conn) {
		opts = append(opts, grpc.WaitForReady(true))
	}
	var out []byte
	err := conn.Invoke(ctx, method, encode(req), &out, slices.Concat(p.opts, opts)...)
	return out, err
}

// reconnects says whether a connection that failed can be had again at once. EMQX
// reconnects on the next call; grpc-go fails calls until its own backoff is over,
// which would deny clients although the provider is back.
func (p *provider) reconnects(ctx context.Context, conn *grpc.ClientConn) bool {
	if conn.GetState() != connectivity.TransientFailure {
		return false
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.cfg.ExHook)
	if err != nil {
		return false
	}
	_ = c.Close()
	conn.ResetConnectBackoff()
	return true
}

// notify calls a hook whose answer says nothing. Failures are logged, as EMQX does.
func (p *provider) notify(h hook, key, topic string, req proto.Message) {
	hooked, err := p.wants(h, topic)
	if !hooked {
		return
	}
	if err == nil {
		_, err = p.call(p.dialect.method(h), key, req)
	}
	if err != nil && p.ctx.Err() == nil {
		p.log.Warn("hook failed", "hook", p.dialect.hookName(h), "client", key, "error", err)
	}
}

// outcome is how the call of a valued hook ended.
type outcome int

const (
	unhooked outcome = iota // nobody was asked
	ignored                 // IGNORE, or an answer without a value
	answered
	failed
)

// ask calls a valued hook.
func (p *provider) ask(h hook, key, topic string, req proto.Message) (verdict, outcome) {
	hooked, err := p.wants(h, topic)
	if !hooked {
		return verdict{}, unhooked
	}
	var v verdict
	if err == nil {
		var b []byte
		if b, err = p.call(p.dialect.method(h), key, req); err == nil {
			v, err = decodeVerdict(b)
		}
	}
	wantsMessage := h == messagePublish
	switch {
	case err != nil:
		p.log.Warn("hook failed", "hook", p.dialect.hookName(h), "client", key,
			"failed_action", p.cfg.FailedAction, "error", err)
		return v, failed
	case v.typ == typeIgnore:
		return v, ignored
	case wantsMessage && v.message == nil, !wantsMessage && v.boolean == nil:
		p.log.Warn("hook answered without a value, ignored", "hook", p.dialect.hookName(h), "client", key)
		return v, ignored
	default:
		return v, answered
	}
}

// load calls OnProviderLoaded and takes over the hooks it names. On any error the
// registration stays as it was.
func (p *provider) load() error {
	p.loadMu.Lock()
	defer p.loadMu.Unlock()
	if p.closed {
		return errors.New("devbroker: closed")
	}
	b, err := p.call(p.dialect.service()+"OnProviderLoaded", "", p.loadedRequest(), grpc.WaitForReady(false))
	if err != nil {
		return fmt.Errorf("devbroker: loading %s: %w", p.cfg.ExHook, err)
	}
	specs, err := decodeLoaded(b)
	if err != nil {
		return fmt.Errorf("devbroker: loading %s: malformed LoadedResponse: %w", p.cfg.ExHook, err)
	}
	r := &registration{topics: map[hook][]string{}, stale: map[hook]bool{}}
	for _, s := range specs {
		h, ok := p.dialect.hookByName(s.name)
		if !ok {
			return fmt.Errorf("devbroker: loading %s: EMQX %s knows no hook %q, so the whole load fails",
				p.cfg.ExHook, p.dialect.release, s.name)
		}
		if _, twice := r.topics[h]; !twice { // a second spec of a name loses its topics
			r.topics[h] = s.topics
		}
	}
	if old := p.reg.Load(); old != nil {
		for h := range hookTable {
			_, was := old.topics[hook(h)]
			_, is := r.topics[hook(h)]
			r.stale[hook(h)] = (was || old.stale[hook(h)]) && !is
		}
	}
	p.reg.Store(r)
	p.down.Store(false)
	p.once.Do(func() { close(p.loaded) })
	p.log.Info("provider loaded", "hooks", len(r.topics))
	return nil
}

// unload drops the registration first, so that no hook runs any more, and then
// tells the provider. A provider that was never loaded is not told.
func (p *provider) unload(forGood bool) error {
	p.loadMu.Lock()
	defer p.loadMu.Unlock()
	p.closed = p.closed || forGood
	if p.reg.Swap(nil) == nil {
		return nil
	}
	_, err := p.call(p.dialect.service()+"OnProviderUnloaded", "",
		&exhookv3.ProviderUnloadedRequest{Meta: p.meta}, grpc.WaitForReady(false))
	if err != nil {
		return fmt.Errorf("devbroker: unloading %s: %w", p.cfg.ExHook, err)
	}
	return nil
}

// keepLoaded retries the load until it succeeds once. From 5.9 on it then watches
// the connections and loads again after it saw them all down.
func (p *provider) keepLoaded(ctx context.Context) {
	for {
		loaded := p.reg.Load() != nil
		wait := p.cfg.AutoReconnect
		watching := loaded && !p.down.Load()
		if watching {
			if !p.dialect.rechecks {
				wait = -1 // a reconnect is not a reload
			} else {
				wait = p.cfg.StatusCheck
			}
		}
		var tick <-chan time.Time // nil, for ever, if wait is negative
		if wait >= 0 {
			tick = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
			continue
		case <-tick:
		}
		if watching {
			if !p.connected() {
				p.down.Store(true)
				p.log.Warn("provider is down")
			}
			continue
		}
		if err := p.load(); err != nil {
			p.log.Error("provider not loaded", "error", err, "again_in", p.cfg.AutoReconnect)
		}
	}
}

// connected says whether any connection is up, and wakes those that are not.
func (p *provider) connected() bool {
	up := false
	for _, c := range p.conns {
		if c.GetState() == connectivity.Ready {
			up = true
		} else {
			c.Connect()
		}
	}
	return up
}

func (p *provider) loadedRequest() proto.Message {
	now := time.Now()
	uptime := now.Sub(p.started)
	if p.dialect.version == "v1" { // the one message whose types changed
		return &exhookv1.ProviderLoadedRequest{
			Broker: &exhookv1.BrokerInfo{
				Version: p.dialect.release, Sysdescr: p.dialect.sysdescr,
				Uptime: fmt.Sprintf("%d seconds", int(uptime.Seconds())), Datetime: now.Format(time.DateTime),
			},
			Meta: &exhookv1.RequestMeta{
				Node: p.meta.Node, Version: p.meta.Version, Sysdescr: p.meta.Sysdescr, ClusterName: p.meta.ClusterName,
			},
		}
	}
	return &exhookv3.ProviderLoadedRequest{
		Broker: &exhookv3.BrokerInfo{
			Version: p.dialect.release, Sysdescr: p.dialect.sysdescr,
			Uptime:   max(uptime.Milliseconds(), 1),
			Datetime: now.UTC().Format("2006-01-02T15:04:05.000000000-07:00"),
		},
		Meta: p.meta,
	}
}
