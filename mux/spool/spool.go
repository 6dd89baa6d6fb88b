package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// Options are where and how events are stored.
type Options struct {
	// Dir is the directory of a server of our own. Nobody else may use it.
	Dir string
	// URL is a NATS that runs already, instead, or several of one cluster.
	URL string
	// Name tells our streams there from those of others; URL needs one.
	Name string
	// Credentials is the path of a credentials file for URL.
	Credentials string
	// Replicas is on how many servers of URL each event is stored. Default 1.
	Replicas int
	// Bytes is how much may be stored for each provider, and as much again of its dead
	// letters. Default 1 GiB.
	Bytes int64
	// Sync is how often what was written is forced to the disk. Default 1 s.
	Sync time.Duration
	// SyncAlways forces each event to the disk before it counts as stored.
	SyncAlways bool
	// Log gets what operators must know. Default: slog.Default().
	Log *slog.Logger

	noReserve bool // fill the disk, for tests
}

func (o Options) withDefaults() Options {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Bytes == 0 {
		o.Bytes = 1 << 30
	}
	if o.Sync == 0 {
		o.Sync = time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Spool is the store. Its methods may be called from any goroutine.
type Spool struct {
	opts Options
	log  *slog.Logger
	name string
	own  *embedded // nil with a URL

	// Events are written over one connection and read over the other, so that neither
	// waits for the other.
	in, out     *nats.Conn
	inJS, outJS jetstream.JetStream
	sender      *sender
	acker       *acker
	back        notifier // tells when a connection is there again

	mu       sync.Mutex
	closed   bool
	lost     bool
	queues   map[string]*queue        // that are open
	dropping map[string]chan struct{} // closed when nothing is stored for the provider any more
}

// ownName is the Name of a server of our own.
const ownName = "hookmux"

// Open opens the store. With a URL, nobody need be there yet: until then, nothing can
// be stored.
func Open(o Options) (_ *Spool, err error) {
	o = o.withDefaults()
	s := &Spool{opts: o, log: o.Log, name: ownName, queues: make(map[string]*queue), dropping: make(map[string]chan struct{})}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	connect := []nats.Option{
		nats.Name("hookmux"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // an event that was given up must not be stored after all
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { s.connected() }),
		nats.ConnectHandler(func(*nats.Conn) { s.connected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.log.Warn("store", "error", err) }),
	}
	if o.URL == "" {
		if s.own, err = openEmbedded(o); err != nil {
			return nil, err
		}
		connect = append(connect, nats.InProcessServer(s.own), nats.ReconnectWait(50*time.Millisecond))
	} else {
		if s.name = o.Name; s.name == "" {
			return nil, errors.New("a store in a NATS needs a name, by which its events are found again (spool.name)")
		}
		connect = append(connect, nats.RetryOnFailedConnect(true), nats.ReconnectWait(250*time.Millisecond),
			nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2),
			nats.FlusherTimeout(writeTimeout), nats.ReconnectOnFlusherError())
		if o.Credentials != "" {
			connect = append(connect, nats.UserCredentials(o.Credentials))
		}
	}
	if s.in, err = nats.Connect(o.URL, connect...); err == nil {
		s.out, err = nats.Connect(o.URL, connect...)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	if !s.in.IsConnected() {
		s.disconnected(s.in.LastError())
	}
	if s.inJS, err = jetstream.New(s.in, jetstream.WithPublishAsyncMaxPending(1<<16), jetstream.WithPublishAsyncTimeout(time.Minute)); err == nil {
		s.outJS, err = jetstream.New(s.out)
	}
	if err != nil {
		return nil, err
	}
	s.sender, s.acker = newSender(s.in, s.inJS), newAcker(s.out)
	return s, nil
}

// disconnected says once that a connection is lost.
func (s *Spool) disconnected(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.lost {
		return
	}
	s.lost = true
	if err == nil {
		err = errors.New("it ended")
	}
	s.log.Error("no connection to the store: nothing can be stored until there is one", "error", err)
}

func (s *Spool) connected() {
	s.back.broadcast()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost && !s.closed {
		s.log.Info("the connection to the store is back")
	}
	s.lost = false
}

// Queue implements mux.Spool.
func (s *Spool) Queue(provider string) mux.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := newQueue(s, provider, s.dropping[provider])
	s.queues[provider] = q
	return q
}

// Close ends the connections, and the server if it is our own. Queues must have been
// closed.
func (s *Spool) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if s.sender != nil {
		s.sender.close()
		s.acker.close()
	}
	for _, c := range []*nats.Conn{s.in, s.out} {
		if c != nil {
			_ = c.FlushTimeout(time.Second) // acknowledgements
			c.Close()
		}
	}
	if s.own != nil {
		s.own.close()
	}
}

// Streams are named after us and the provider. Neither name can have a =.
func (s *Spool) stream(provider string) string { return "hookmux=" + s.name + "=" + provider }
func (s *Spool) dead(provider string) string   { return s.stream(provider) + deadSuffix }

const deadSuffix = "=dead"

func (s *Spool) subject(provider string) string { return "hookmux." + s.name + "." + provider }

// deadSubject is that of the dead letter with the id.
func (s *Spool) deadSubject(provider, id string) string {
	return s.subject(provider) + ".dead." + id
}

// providerOf is whose stream it is, and whether it is that of dead letters.
func (s *Spool) providerOf(stream string) (provider string, dead, ok bool) {
	provider, ok = strings.CutPrefix(stream, s.stream(""))
	provider, dead = strings.CutSuffix(provider, deadSuffix)
	return provider, dead, ok
}

// duplicateWindow is for how long an event that is sent to the store again, because
// nobody knows whether it arrived, is recognised. Nobody sends one for longer than a
// broker waits, and to a server of our own never.
const (
	duplicateWindow = 20 * time.Second
	leastWindow     = 100 * time.Millisecond
)

func (s *Spool) eventsConfig(provider string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: s.stream(provider), Subjects: []string{s.subject(provider)}, Description: "what hookmux delivers to its provider " + provider,
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: s.opts.Bytes,
		Storage: jetstream.FileStorage, Replicas: s.opts.Replicas, Duplicates: duplicateWindow,
	}
	if s.own != nil {
		c.Duplicates = leastWindow
	}
	return c
}

func (s *Spool) deadConfig(provider string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: s.dead(provider), Subjects: []string{s.deadSubject(provider, "*")}, Description: "what hookmux's provider " + provider + " did not handle",
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: s.opts.Bytes, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Replicas: s.opts.Replicas, Duplicates: leastWindow,
	}
}

// ensure makes a stream, or has it be as it should.
func (s *Spool) ensure(ctx context.Context, want jetstream.StreamConfig) error {
	st, err := s.outJS.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = s.outJS.CreateStream(ctx, want)
		return err
	}
	if err != nil {
		return err
	}
	// What did not change is not written again: a crash meanwhile would hurt.
	if is := st.CachedInfo().Config; is.MaxBytes != want.MaxBytes || is.Replicas != want.Replicas || is.Duplicates != want.Duplicates {
		is.MaxBytes, is.Replicas, is.Duplicates = want.MaxBytes, want.Replicas, want.Duplicates
		_, err = s.outJS.UpdateStream(ctx, is)
	}
	return err
}

// notifier wakes all who wait for a change.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
