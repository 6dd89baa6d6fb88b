package devbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// receiveMaximum and maxPacketSize are EMQX's defaults, told in the CONNACK.
const (
	receiveMaximum = 32
	maxPacketSize  = 1 << 20
)

// Broker is a running MQTT broker. All methods are safe for concurrent use.
type Broker struct {
	cfg      Config
	dialect  dialect
	provider *provider
	server   *mqtt.Server
	ln       *listener
	inline   *mqtt.Client // carries messages into mochi's routing, past its checks
	guid     guid
	order    atomic.Int64 // of messages, see route

	sessions sync.Map // net.Conn → *session
	ids      keyedLock

	stopLoading context.CancelFunc
	wg          sync.WaitGroup
	mu          sync.Mutex // guards closing against wg.Add
	closing     bool
	closeOnce   sync.Once
	closeErr    error
}

// Start loads the provider, once and for at most RequestTimeout, then accepts
// clients, also if that failed: it is tried again behind, and as with EMQX
// clients go unhooked until then (see [Broker.WaitLoaded]). ctx bounds the broker's
// life; when it ends the broker closes as by [Broker.Close].
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	cfg, d, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("devbroker: %w", err)
	}
	p, err := newProvider(cfg, d)
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	b := &Broker{cfg: cfg, dialect: d, provider: p, guid: newGUID(cfg.Node)}
	b.server = mqtt.New(serverOptions(cfg.Logger))
	b.inline = b.server.NewClient(nil, "local", "", true)
	b.inline.Properties.ProtocolVersion = 5
	b.ln = newListener(ln, b.connectionDone)
	err = errors.Join(b.server.AddHook(&bridge{b: b}, nil), b.server.AddListener(b.ln))
	if err != nil {
		p.close()
		_ = ln.Close()
		return nil, fmt.Errorf("devbroker: %w", err)
	}

	if err := p.load(); err != nil {
		p.log.Error("provider not loaded", "error", err, "again_in", cfg.AutoReconnect)
	}
	loading, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stopLoading = stop
	b.wg.Go(func() { p.keepLoaded(loading) })
	context.AfterFunc(ctx, func() { _ = b.Close() })
	_ = b.server.Serve() // only fails for listeners and hooks from options; there are none
	return b, nil
}

func serverOptions(log *slog.Logger) *mqtt.Options {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumPacketSize = maxPacketSize
	c.ReceiveMaximum = receiveMaximum
	c.MaximumMessageExpiryInterval = 0 // or mochi gives every message one
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	o := &mqtt.Options{
		Capabilities:           c,
		SysTopicResendInterval: 60,
		// Write at once. mochi would keep packets back while others wait in the
		// queue, and those may wait long, for a hook or for the client.
		ClientNetWriteBufferSize: 1,
		Logger:                   slog.New(slog.DiscardHandler),
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		o.Logger = log
	}
	return o
}

// Addr is the MQTT address, host:port.
func (b *Broker) Addr() string { return b.ln.Address() }

// WaitLoaded returns when OnProviderLoaded has succeeded once, or with ctx's error.
func (b *Broker) WaitLoaded(ctx context.Context) error {
	select {
	case <-b.provider.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("devbroker: waiting for the provider to load: %w", context.Cause(ctx))
	}
}

// Reload does what a PUT of EMQX's REST API does: OnProviderUnloaded, then
// OnProviderLoaded. Between the two no hook runs.
func (b *Broker) Reload() error {
	unloadErr := b.provider.unload(false)
	err := b.provider.load()
	if err != nil { // keepLoaded goes on trying
		select {
		case b.provider.kick <- struct{}{}:
		default:
		}
	}
	return errors.Join(unloadErr, err)
}

// Publish publishes as EMQX's REST API does: from "http_api", without a client
// behind it, so nothing is authorized. A message that the provider refuses or that
// nobody listens to is no error.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) error {
	if qos > 2 || topic == "" || strings.ContainsAny(topic, "+#\x00") {
		return fmt.Errorf("devbroker: publish to %q with QoS %d: want a topic without wildcards and QoS 0, 1 or 2", topic, qos)
	}
	m := &exhookv3.Message{
		Node: b.cfg.Node, Id: b.guid.next(), Qos: uint32(qos), From: "http_api", Topic: topic, Payload: payload,
		Timestamp: nowMillis(),
	}
	return b.publish(nil, m, publication{retain: retain})
}

// Close tells the provider with OnProviderUnloaded and then stops: clients are
// disconnected without any hook, as when an EMQX node stops. It waits for
// every goroutine of the broker and may be called more than once.
func (b *Broker) Close() error {
	b.closeOnce.Do(func() {
		b.stopLoading()
		err := b.provider.unload(true)
		b.mu.Lock()
		b.closing = true
		b.mu.Unlock()
		b.provider.close()
		b.sessions.Range(func(_, s any) bool {
			s.(*session).cancelWill()
			return true
		})
		b.closeErr = errors.Join(err, b.server.Close())
		b.wg.Wait()
	})
	return b.closeErr
}

// background runs f unless the broker is closing; Close waits for it.
func (b *Broker) background(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closing {
		b.wg.Go(f)
	}
}

// session finds what belongs to a mochi client; nil for the inline one.
func (b *Broker) session(cl *mqtt.Client) *session {
	if cl.Net.Conn == nil {
		return nil
	}
	return b.sessionOf(cl.Net.Conn)
}

func (b *Broker) sessionOf(conn net.Conn) *session {
	s, ok := b.sessions.Load(conn)
	if !ok {
		return nil
	}
	return s.(*session)
}

// notify calls a hook for a client, in its process.
func (b *Broker) notify(s *session, h hook, req request) {
	s.proc.Lock()
	defer s.proc.Unlock()
	b.provider.notify(h, s.info.Clientid, "", req)
}
