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
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
)

// Remote hosts a HookProvider server that somebody else runs. Make it with
// NewRemote and call Run once; Prepare may come before.
type Remote struct {
	provider *mux.Provider
	cc       *grpc.ClientConn
	opts     Options
	log      *slog.Logger
	settled  chan struct{}
	prepared *session // by Prepare, until Run takes it
	retired  retirement
	tls      *tlsCredentials // nil: without

	mu    sync.Mutex
	state State
}

// session is one connection to the server.
type session struct {
	*conn
	declared []mux.HookSpec
	link     *mux.Link
	end      func() // closes conn.gone
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

// RemoteSpec is where a HookProvider server is.
type RemoteSpec struct {
	URL string // see ParseURL
	// TLS is asked for each connection, if the URL is one of https. nil: the system's
	// certificates.
	TLS func() *tls.Config
}

// NewRemote makes the host of a HookProvider server.
func NewRemote(p *mux.Provider, spec RemoteSpec, opts Options) (*Remote, error) {
	target, secure, err := ParseURL(spec.URL)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	var secured *tlsCredentials
	if secure {
		secured = newTLSCredentials(spec.TLS)
		creds = secured
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
		provider: p, cc: cc, opts: opts, log: opts.Log.With("provider", p.Name(), "url", spec.URL),
		tls: secured, settled: make(chan struct{}), state: State{Status: Starting, Since: time.Now()},
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
		h.state.LastErr, h.state.Cause = err.Error(), causeOf(err)
	}
	return changed
}

// Run keeps the provider connected until ctx ends, and then takes leave.
func (h *Remote) Run(ctx context.Context) {
	defer h.cc.Close()
	defer h.settle()
	starting, cancel := h.retired.context(ctx)
	defer cancel()
	delays := newDelays(h.opts)
	for starting.Err() == nil || h.prepared != nil {
		start := time.Now()
		err := h.once(ctx, starting)
		if starting.Err() != nil {
			break
		}
		delay := delays.NextBackOff()
		if time.Since(start) >= time.Second && h.State().Status == Up {
			// It served, and may only have let go of an old connection.
			delays.Reset()
			delay = 0
		}
		h.set(Restarting, err)
		h.opts.OnDown(h.provider.Name(), causeOf(err))
		h.log.Error("remote is down", "error", err, "next_try_in", delay.Round(time.Millisecond))
		h.settle()
		select {
		case <-time.After(delay):
		case <-starting.Done():
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

// Prepare connects and asks what the server wants, so that Mux.SetProviders puts it
// in place; after that Run must be called, or else Discard.
func (h *Remote) Prepare(ctx context.Context) (declared []mux.HookSpec, err error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultStartTimeout)
	defer cancel()
	h.cc.Connect()
	for s := h.cc.GetState(); s != connectivity.Ready; s = h.cc.GetState() {
		if s == connectivity.TransientFailure || !h.cc.WaitForStateChange(ctx, s) {
			return nil, h.unreachable()
		}
	}
	s, err := h.open(ctx)
	if err == nil {
		err = h.provider.StartWith(s.link)
	}
	if err != nil {
		return nil, err
	}
	h.prepared = s
	return s.declared, nil
}

// Discard takes leave of the server that Prepare connected to, if it did.
func (h *Remote) Discard() {
	if h.prepared != nil {
		h.leave(h.prepared)
	}
	_ = h.cc.Close()
}

// Retire has Run end once another connection has taken over and nothing is under
// way over this one; from now on it is not connected again.
func (h *Remote) Retire() { h.retired.retire() }

// open asks what the server wants.
func (h *Remote) open(ctx context.Context) (s *session, err error) {
	gone := make(chan struct{})
	s = &session{conn: &conn{cc: h.cc, gone: gone}, end: sync.OnceFunc(func() { close(gone) })}
	if s.declared, err = h.load(ctx, s.conn); err != nil {
		return nil, err
	}
	s.link = h.provider.NewLink(s.conn, s.declared)
	return s, nil
}

func (h *Remote) leave(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), h.opts.StopStep)
	defer cancel()
	unload(ctx, s.conn, h.opts.Version)
}

// once connects, serves until the connection is lost, and says why it was. It does
// not connect any more once starting has ended.
func (h *Remote) once(ctx, starting context.Context) (err error) {
	s := h.prepared
	if h.prepared = nil; s == nil {
		if err := h.connect(starting); err != nil {
			return err
		}
		if s, err = h.open(starting); err != nil {
			return err
		}
		if err := h.retired.unless(s.link.Up); err != nil {
			return err
		}
	}
	defer s.end()
	defer s.link.Down()
	h.set(Up, nil)
	h.log.Info("remote is up", "api", s.api.Service(), "hooks", describe(s.declared))
	h.opts.OnUp()
	h.settle()

	sctx, cancel := context.WithTimeout(ctx, DefaultStartTimeout)
	showBrokers(sctx, s.conn, h.opts.Mux)
	cancel()
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.link.Settled():
			cancel()
		case <-serving.Done():
		}
	}()
	h.cc.WaitForStateChange(serving, connectivity.Ready)
	if serving.Err() != nil {
		h.leave(s)
		return serving.Err()
	}
	return causedBy(CauseConnection, errors.New("the connection was lost"))
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
			if err := h.unreachable(); h.set(Restarting, err) {
				h.opts.OnDown(h.provider.Name(), CauseConnection)
				h.log.Error("remote is down", "error", err.Error()+"; trying again and again")
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
