package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
)

// Remote hosts a HookProvider server that somebody else runs. Make it with
// NewRemote and call Run once.
type Remote struct {
	provider *mux.Provider
	cc       *grpc.ClientConn
	opts     Options
	log      *slog.Logger
	settled  chan struct{}

	mu    sync.Mutex
	state State
}

// ParseURL reads a remote's address, http://host:port or https://host:port.
func ParseURL(s string) (target string, secure bool, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", false, fmt.Errorf("%q is no URL", s)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", false, fmt.Errorf("%q: use http://host:port or https://host:port", s)
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return "", false, fmt.Errorf("%q: use %s://host:port, with a port and nothing behind it", s, u.Scheme)
	}
	return u.Host, u.Scheme == "https", nil
}

// NewRemote makes the host of the HookProvider server at rawURL.
func NewRemote(p *mux.Provider, rawURL string, opts Options) (*Remote, error) {
	target, secure, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	opts = opts.withDefaults()
	cc, err := grpc.NewClient("dns:///"+target,
		grpc.WithTransportCredentials(creds),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: opts.FirstDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: opts.MaxDelay},
			MinConnectTimeout: 5 * time.Second,
		}),
		// grpc-go's servers take pings more often than every 5 min for an attack.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 310 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, err
	}
	return &Remote{
		provider: p, cc: cc, opts: opts, log: opts.Log.With("provider", p.Name(), "url", rawURL),
		settled: make(chan struct{}), state: State{Status: Starting, Since: time.Now()},
	}, nil
}

// Settled is closed when the first attempt to connect has succeeded or failed.
func (h *Remote) Settled() <-chan struct{} { return h.settled }

// State is what the host is doing now.
func (h *Remote) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// set notes the status, and says whether it is a new one.
func (h *Remote) set(status Status, err error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if changed = h.state.Status != status; changed {
		h.state.Status, h.state.Since = status, time.Now()
	}
	if err != nil {
		h.state.LastErr = err.Error()
	}
	return changed
}

// Run keeps the provider connected until ctx ends, and then takes leave.
func (h *Remote) Run(ctx context.Context) {
	defer h.cc.Close()
	defer h.settle()
	delays := newDelays(h.opts)
	for ctx.Err() == nil {
		start := time.Now()
		err := h.once(ctx)
		if ctx.Err() != nil {
			break
		}
		delay := delays.NextBackOff()
		if time.Since(start) >= time.Second && h.State().Status == Up {
			// It served, and may only have let go of an old connection.
			delays.Reset()
			delay = 0
		}
		h.set(Restarting, err)
		h.log.Error("remote is down", "error", err, "next_try_in", delay.Round(time.Millisecond))
		h.settle()
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	h.set(Stopped, nil)
}

// settle is called by Run's goroutine only.
func (h *Remote) settle() {
	select {
	case <-h.settled:
	default:
		close(h.settled)
	}
}

// once connects, serves until the connection is lost, and says why it was.
func (h *Remote) once(ctx context.Context) error {
	if err := h.connect(ctx); err != nil {
		return err
	}
	gone := make(chan struct{})
	defer close(gone)
	c := &conn{cc: h.cc, gone: gone}
	wants, err := h.load(ctx, c)
	if err != nil {
		return err
	}
	if err := h.provider.Up(c, wants); err != nil {
		return err
	}
	defer h.provider.Down()
	h.set(Up, nil)
	h.settle()
	h.log.Info("remote is up", "api", c.api.Service(), "hooks", describe(wants))

	sctx, cancel := context.WithTimeout(ctx, DefaultStartTimeout)
	showBrokers(sctx, c, h.opts.Mux)
	cancel()
	h.cc.WaitForStateChange(ctx, connectivity.Ready)
	if ctx.Err() != nil {
		uctx, cancel := context.WithTimeout(context.Background(), h.opts.StopStep)
		defer cancel()
		unload(uctx, c, h.opts.Version)
		return ctx.Err()
	}
	return errors.New("the connection was lost")
}

// connect waits for a connection. gRPC retries by itself, with growing pauses;
// the first failure is reported, so that nobody waits for it.
func (h *Remote) connect(ctx context.Context) error {
	for {
		h.cc.Connect()
		switch s := h.cc.GetState(); s {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure:
			if h.set(Restarting, errors.New("nobody answers at its address")) {
				h.log.Error("remote is down", "error", "nobody answers at its address; trying again and again")
			}
			h.settle()
			if !h.cc.WaitForStateChange(ctx, s) {
				return ctx.Err()
			}
		default:
			if !h.cc.WaitForStateChange(ctx, s) {
				return ctx.Err()
			}
		}
	}
}

// load finds the newest version of the service that the server has.
func (h *Remote) load(ctx context.Context, c *conn) ([]mux.HookSpec, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultStartTimeout)
	defer cancel()
	for _, c.api = range []mux.API{mux.V3, mux.V2, mux.V1} {
		wants, err := load(ctx, c, h.opts.Version)
		if status.Code(err) != codes.Unimplemented {
			return wants, err
		}
	}
	return nil, errors.New("it serves no emqx.exhook HookProvider, neither v3 nor v2 nor v1")
}
