package bench

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hookmux/hookmux/mux"
)

// delivered is how notifications reach the plugin.
type delivered uint8

const (
	async       delivered = iota
	durable               // stored by hookmux itself
	durableNATS           // stored by a nats-server
)

// delivery loads hookmux with one plugin that gets its notifications so.
func delivery(how delivered) func(context.Context, *lab, time.Duration) (sample, error) {
	return func(ctx context.Context, l *lab, d time.Duration) (sample, error) {
		s := l.delivered[how]
		if s == nil {
			var err error
			if s, err = l.withDelivery(ctx, how); err != nil {
				return sample{}, err
			}
			if l.delivered == nil {
				l.delivered = make(map[delivered]*system)
			}
			l.delivered[how] = s
		}
		ld := l.load()
		ld.kind, ld.duration = notifications, d
		return ld.run(ctx, s)
	}
}

func (l *lab) withDelivery(ctx context.Context, how delivered) (*system, error) {
	var nats *child
	if how == durableNATS {
		c, url, err := l.startNATS()
		if err != nil {
			return nil, err
		}
		nats, l.natsURL = c, url
		defer func() { l.natsURL = "" }()
	}
	s, err := l.hookmux(ctx, 1, func(_ int, p *providerConfig) {
		if how != async {
			p.Delivery, p.Observe = "durable", true // only told, as of all that is stored
		}
	})
	if nats == nil {
		return s, err
	}
	if err != nil {
		nats.stop()
		return nil, err
	}
	s.roots = append(s.roots, nats)
	return s, nil
}

// spool is where hookmux stores events, as its config says it.
func (l *lab) spool(dir string) map[string]any {
	if l.natsURL != "" {
		return map[string]any{"url": l.natsURL, "name": "bench"}
	}
	return map[string]any{"dir": filepath.Join(dir, "spool")}
}

// errNoNATS is why there is no ratio with a nats-server.
const errNoNATS notHere = "nats-server is not installed"

// startNATS starts a nats-server with a store of its own.
func (l *lab) startNATS() (*child, string, error) {
	path, err := exec.LookPath("nats-server")
	if err != nil {
		return nil, "", errNoNATS
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address := free.Addr().String()
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	l.systems++
	store := filepath.Join(l.dir, fmt.Sprintf("nats%d", l.systems))
	c, err := startChild("nats-server", []string{path, "--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--jetstream", "--store_dir", store})
	if err != nil {
		return nil, "", err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return c, "nats://" + address, nil
		}
		if time.Now().After(end) {
			c.stop()
			return nil, "", fmt.Errorf("nats-server does not answer: %w", err)
		}
	}
}

// stuck is slow with the plugin's events delivered durably, those of decisions as well,
// which it only watches.
func stuck(nap time.Duration, change func(*load)) func(context.Context, *lab, time.Duration) (sample, error) {
	return slowAmong((*lab).withStuck, change, nap)
}

func published(ld *load) { ld.kind = []mux.Hook{mux.MessagePublish} }

func (l *lab) withStuck(ctx context.Context) (*system, error) {
	const slot = -5 // beside those by number of plugins
	if s := l.muxes[slot]; s != nil {
		return s, nil
	}
	var slow system
	s, err := l.hookmux(ctx, 4, func(i int, p *providerConfig) {
		if i == troubled {
			if len(l.opts.Plugin) > 0 {
				l.builtIn(&slow, p)
			}
			p.Delivery, p.Observe = "durable", true
		}
	})
	if err != nil {
		return nil, err
	}
	if len(l.opts.Plugin) > 0 {
		s.plugins = slow.plugins
	}
	s.name += ", one of them durably"
	l.muxes[slot] = s
	return s, nil
}
