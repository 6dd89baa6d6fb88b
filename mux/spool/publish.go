package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux"
)

// writeTimeout is how long a server of others may not take what is written. Then the
// connection counts as lost.
const writeTimeout = time.Second

// sender writes what is to be stored, in a goroutine of its own: a write to a server
// that hangs keeps its caller, whatever time that has.
type sender struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	queue chan *outgoing
	stop  chan struct{}
	over  sync.WaitGroup
}

type outgoing struct {
	ctx  context.Context //nolint:containedctx // of who waits for sent
	msg  *nats.Msg
	sent chan sent // buffered
}

type sent struct {
	ack jetstream.PubAckFuture
	err error
}

func newSender(nc *nats.Conn, js jetstream.JetStream) *sender {
	s := &sender{nc: nc, js: js, queue: make(chan *outgoing, 64), stop: make(chan struct{})}
	s.over.Go(s.run)
	return s
}

func (s *sender) run() {
	for {
		select {
		case o := <-s.queue:
			// Whose time is over has been refused, and must not be stored after all.
			if err := o.ctx.Err(); err != nil {
				o.sent <- sent{err: err}
				continue
			}
			ack, err := s.js.PublishMsgAsync(o.msg, jetstream.WithRetryAttempts(0))
			reconnect(s.nc, err)
			o.sent <- sent{ack, err}
		case <-s.stop:
			return
		}
	}
}

func (s *sender) close() {
	close(s.stop)
	s.over.Wait()
}

// send has a stream keep a message, and returns when it does, or when ctx ends.
func (s *sender) send(ctx context.Context, m *nats.Msg) error {
	o := &outgoing{ctx, m, make(chan sent, 1)}
	select {
	case s.queue <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return nats.ErrConnectionClosed
	}
	var out sent
	select {
	case out = <-o.sent:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return nats.ErrConnectionClosed
	}
	if out.err != nil {
		return out.err
	}
	select {
	case <-out.ack.Ok():
		return nil
	case err := <-out.ack.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reconnect gives a connection up over which something could not be written: it has
// dropped that, and maybe more.
func reconnect(nc *nats.Conn, err error) {
	if isBroken(err) {
		_ = nc.ForceReconnect()
	}
}

// isBroken says that a connection did not take what was written.
func isBroken(err error) bool {
	var broken net.Error
	return errors.As(err, &broken) || errors.Is(err, io.ErrClosedPipe)
}

// acker writes acknowledgements, so that nobody waits for that. One that does not
// arrive is no loss: its message comes again over the next connection.
type acker struct {
	nc   *nats.Conn
	wake chan struct{} // buffered
	stop chan struct{}
	over sync.WaitGroup

	mu    sync.Mutex
	queue []string // replies
}

func newAcker(nc *nats.Conn) *acker {
	a := &acker{nc: nc, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	a.over.Go(a.run)
	return a
}

func (a *acker) ack(reply string) {
	a.mu.Lock()
	a.queue = append(a.queue, reply)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *acker) run() {
	for stopped := false; !stopped; {
		select {
		case <-a.wake:
		case <-a.stop:
			stopped = true
		}
		a.mu.Lock()
		replies := a.queue
		a.queue = nil
		a.mu.Unlock()
		for _, r := range replies {
			reconnect(a.nc, a.nc.Publish(r, nil))
		}
	}
}

// close writes what there is first.
func (a *acker) close() {
	close(a.stop)
	a.over.Wait()
}

// publishAgain is how soon an event is sent again to a store that did not take it.
const publishAgain = 50 * time.Millisecond

// publish has a stream keep a message, and returns when it does. What may help itself
// is tried again until ctx ends.
func (s *Spool) publish(ctx context.Context, subject string, header nats.Header, body []byte) error {
	for {
		back := s.back.wait()
		err := s.sender.send(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
		switch {
		case err == nil:
			return nil
		case isFull(err):
			return fmt.Errorf("%w: %w", mux.ErrStoreFull, err)
		case ctx.Err() != nil || !isPassing(err):
			return err
		}
		again := time.NewTimer(publishAgain)
		select {
		case <-back:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		again.Stop()
	}
}

// isFull says that a stream has no room for a message.
func isFull(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, words := range []string{"maximum bytes exceeded", "maximum messages exceeded", "insufficient", "resource", "no space left"} {
		if strings.Contains(api.Description, words) {
			return true
		}
	}
	return false
}

// isPassing says that there is nobody who could keep a message, but may soon be.
func isPassing(err error) bool {
	for _, e := range []error{
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrNoResponders, nats.ErrConnectionReconnecting, nats.ErrConnectionClosed,
		jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs, nats.ErrTimeout, nats.ErrConnectionDraining,
		// Said of a connection that was never there yet: who has streams has headers.
		nats.ErrHeadersNotSupported,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	if isBroken(err) {
		return true
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 503 || api.Code == 429) // 429: too many at once
}
