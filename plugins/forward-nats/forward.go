package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct {
	config  config
	options []nats.Option
	subject *event.Template

	// Only one OnBatch runs at a time, and nothing else uses these.
	conn *nats.Conn
	js   jetstream.JetStream
	gone <-chan struct{} // closed when conn is
}

// Start checks the config. A server that is away now is none of its problems.
func (p *plugin) Start(ctx context.Context) (err error) {
	if p.options, err = p.config.options(); err != nil {
		return err
	}
	if p.subject, err = event.ParseTemplate(p.config.Subject, rules); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := p.connect(ctx); err != nil {
		slog.Warn("NATS does not answer yet", "error", err.Error())
	}
	return nil
}

func (p *plugin) Stop(context.Context) error {
	if p.conn != nil {
		p.conn.Close()
	}
	return nil
}

// connect sees to it that there is a connection, a new one if the last is lost.
func (p *plugin) connect(ctx context.Context) error {
	if p.conn != nil && p.conn.IsConnected() {
		return nil
	}
	if p.conn != nil {
		p.conn.Close()
	}
	timeout := 5 * time.Second
	if until, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(until), time.Millisecond)
	}
	gone := make(chan struct{})
	closed := sync.OnceFunc(func() { close(gone) })
	conn, err := nats.Connect("", append(p.options, nats.Timeout(timeout), nats.ClosedHandler(func(*nats.Conn) { closed() }))...)
	if err != nil {
		p.conn = nil
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return fmt.Errorf("connect to NATS: %w", err)
	}
	p.conn, p.gone = conn, gone
	if !p.config.JetStream {
		return nil
	}
	if p.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(maxPending)); err != nil {
		return err
	}
	if err := p.makeStream(ctx); err != nil {
		conn.Close()
		return err
	}
	return nil
}

// maxPending is more than a batch has.
const maxPending = 1 << 14

// remembers is how long a stream made by us knows an id again.
const remembers = 10 * time.Minute

func (p *plugin) makeStream(ctx context.Context) error {
	if p.config.Stream == "" {
		return nil
	}
	_, err := p.js.Stream(ctx, p.config.Stream)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = p.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: p.config.Stream, Subjects: []string{p.subject.First() + ".>"}, Duplicates: remembers,
	})
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", p.config.Stream, err)
	}
	slog.Info("made a stream", "name", p.config.Stream, "subjects", p.subject.First()+".>")
	return nil
}

// OnBatch publishes in order. After the first event that could not be sent none is: it will
// come again, and what is behind it must not be there before.
func (p *plugin) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // if there is no deadline yet
	defer cancel()
	if err := p.connect(ctx); err != nil {
		return sdk.Unavailable(err)
	}
	events := event.All(batch)
	acks := make([]jetstream.PubAckFuture, len(events))
	var stopped error
	for i := range events {
		e := &events[i]
		if stopped != nil {
			e.Fail(stopped)
			continue
		}
		msg, err := p.message(e)
		if err == nil && !p.config.JetStream {
			err = p.conn.PublishMsg(msg)
		} else if err == nil {
			acks[i], err = p.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
		}
		switch {
		case err == nil:
		case itsOwnFault(err):
			e.Fail(err)
		default:
			stopped = sdk.Unavailable(fmt.Errorf("publish to NATS: %w", err))
			e.Fail(stopped)
		}
	}
	if !p.config.JetStream {
		return sdk.Unavailable(p.conn.FlushWithContext(ctx))
	}
	p.await(ctx, events, acks)
	return nil
}

func (p *plugin) message(e *event.Event) (*nats.Msg, error) {
	value, err := e.Value()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEvent, err)
	}
	if int64(len(value)) > p.conn.MaxPayload() {
		return nil, fmt.Errorf("%w: %d bytes, the server takes %d", errEvent, len(value), p.conn.MaxPayload())
	}
	msg := nats.NewMsg(p.subject.Fill(e))
	msg.Data = value
	e.Headers(func(name, value string) { msg.Header.Set("mqtt-"+name, headerValue(value)) })
	if e.ID != "" {
		msg.Header.Set(jetstream.MsgIDHeader, e.ID)
	}
	return msg, nil
}

// headerValue is one line of at most 8 KiB: a stream takes 64 KiB of headers, and MQTT's
// topics and names may have as much each.
func headerValue(s string) string {
	const most = 8 << 10
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return oneLine.Replace(s)
}

//nolint:gochecknoglobals // a constant
var oneLine = strings.NewReplacer("\r", "%0D", "\n", "%0A")

// errEvent is of an event that no server will ever take.
var errEvent = errors.New("the event cannot be forwarded")

func itsOwnFault(err error) bool {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
		return api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum || api.ErrorCode == headerTooLarge
	}
	return errors.Is(err, errEvent) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject)
}

// headerTooLarge is a stream's JSStreamHeaderExceedsMaximumErr.
const headerTooLarge jetstream.ErrorCode = 10097

// await waits for the streams' acknowledgements.
func (p *plugin) await(ctx context.Context, events []event.Event, acks []jetstream.PubAckFuture) {
	stored := false
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		err := p.acknowledged(ctx, ack)
		if err == nil {
			stored = true
			continue
		}
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			err = fmt.Errorf("no stream takes the subject %q: %w", ack.Msg().Subject, err)
		}
		own := itsOwnFault(err) || stored && errors.Is(err, context.DeadlineExceeded) // others were answered
		err = fmt.Errorf("publish to NATS: %w", err)
		if !own {
			err = sdk.Unavailable(err)
		}
		events[i].Fail(err)
	}
	if ctx.Err() != nil {
		p.conn.Close() // a late acknowledgement must not be taken for another's
	}
}

// acknowledged waits until a stream has stored a message.
func (p *plugin) acknowledged(ctx context.Context, ack jetstream.PubAckFuture) error {
	var err error
	select {
	case <-ack.Ok():
		return nil
	case err = <-ack.Err():
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.gone:
		err = nats.ErrConnectionClosed
	}
	select {
	case <-ack.Ok(): // in time
		return nil
	default:
		return err
	}
}
