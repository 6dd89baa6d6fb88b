package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// BatchHook takes events many at a time, as what stores them wants to have them.
//
// A plugin has a method for a hook, or takes it in batches. In a batch are events of all
// its hooks in the order in which they came, so those of one client are in order; one
// OnBatch runs at a time, and what comes meanwhile is the next batch. A batch is at most
// 2,048 events or about 8 MiB, and does not wait for more than 2 ms, or at all when a durable event is in
// it. A repetition of a durable
// event has the same BatchEvent.ID, and may be in one batch with the first.
//
// nil means that all events are done, but those that were given to Fail; an error
// means that none is. What becomes of an event then is the same as with an error of a hook's
// own method: durable delivery brings it again, otherwise it is counted as lost.
//
// ctx ends after half of the provider's timeout: an event may have waited for the batch before,
// for the other half. Of a hook with an answer, hookmux should have `observe: true`, so that
// the batch is told what was decided. Without it, whoever waits for the answer waits for the
// batch, nil answers NoOpinion or Pass, and an error is no answer, which `on_failure` decides.
type BatchHook interface {
	// BatchHooks are the hooks that come in batches. It is called once, before Start.
	BatchHooks() []Hook
	OnBatch(ctx context.Context, batch []*BatchEvent) error
}

// BatchEvent is an event in a batch.
type BatchEvent struct {
	// ID is what EventID says elsewhere: "" unless the event is delivered durably.
	ID   string
	Hook Hook
	// Client is the id of the client that the event is about; of message.publish and
	// message.dropped, the publisher's. A broker may leave it empty.
	Client string
	// Time is when hookmux took the event, if it is delivered durably, to the millisecond;
	// otherwise when it reached the plugin.
	Time time.Time
	// Request is the hook's request, such as a *ClientConnectedRequest.
	Request proto.Message

	failed error
}

// Fail takes the event out of what a nil from OnBatch means: it alone has failed, as if
// with an error of its own. Call it before OnBatch returns.
func (e *BatchEvent) Fail(err error) {
	if err == nil {
		err = errors.New("OnBatch failed an event without saying why")
	}
	e.failed = err
}

// Message is the message of a message hook, nil of others.
func (e *BatchEvent) Message() *Message {
	if r, ok := e.Request.(interface{ GetMessage() *Message }); ok {
		return r.GetMessage()
	}
	return nil
}

// ClientInfo is the client that the event is about, nil of message.publish,
// message.dropped, client.connect and client.connack.
func (e *BatchEvent) ClientInfo() *ClientInfo {
	if r, ok := e.Request.(interface{ GetClientinfo() *ClientInfo }); ok {
		return r.GetClientinfo()
	}
	return nil
}

// ConnInfo is the connection of client.connect and client.connack, nil of other hooks.
func (e *BatchEvent) ConnInfo() *ConnInfo {
	if r, ok := e.Request.(interface{ GetConninfo() *ConnInfo }); ok {
		return r.GetConninfo()
	}
	return nil
}

// Node is the broker node that the event comes from.
func (e *BatchEvent) Node() string {
	if r, ok := e.Request.(interface{ GetMeta() *RequestMeta }); ok {
		return r.GetMeta().GetNode()
	}
	return ""
}

func (e *BatchEvent) client() string {
	switch {
	case e.ClientInfo() != nil:
		return e.ClientInfo().GetClientid()
	case e.ConnInfo() != nil:
		return e.ConnInfo().GetClientid()
	}
	return e.Message().GetFrom()
}

// Bounds on a batch. The events are as many as hookmux has on their way to one plugin, so
// that an event waits for one batch before its own and not for more.
const (
	maxBatchEvents = 2048
	maxBatchBytes  = 8 << 20
	batchLinger    = 2 * time.Millisecond
)

// batcher collects events into batches. A nil one takes no hook.
type batcher struct {
	plugin BatchHook
	hooks  map[Hook]bool
	ctx    context.Context //nolint:containedctx // ends when the plugin does
	end    context.CancelFunc
	filled chan struct{} // capacity 1: a batch need not wait any longer

	mu      sync.Mutex
	queue   []*batchItem
	bytes   int  // of the queue
	hurry   bool // nothing more is waited for
	running bool // somebody makes batches of the queue
}

// batchItem is an event on its way into a batch.
type batchItem struct {
	BatchEvent

	// decode makes Request of what came, if it is nil.
	decode  func() (proto.Message, error)
	bytes   int
	arrived time.Time
	timeout time.Duration // 0: none
	event   *event        // on a stream; only to find it again
	over    func() bool   // nobody waits for it any more
	done    func(error)   // is called once
	flush   func()        // is called after the batch's last done; may be nil
}

func newBatcher(plugin any) *batcher {
	p, ok := plugin.(BatchHook)
	if !ok {
		return nil
	}
	b := &batcher{plugin: p, hooks: make(map[Hook]bool), filled: make(chan struct{}, 1)}
	b.ctx, b.end = context.WithCancel(context.Background())
	for _, h := range p.BatchHooks() {
		b.hooks[h] = true
	}
	return b
}

func (b *batcher) takes(h Hook) bool { return b != nil && b.hooks[h] }

// close ends the context of a batch that is under way.
func (b *batcher) close() {
	if b != nil {
		b.end()
	}
}

func (b *batcher) add(i *batchItem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, i)
	b.bytes += i.bytes
	if !b.running {
		b.running = true
		go b.run()
	}
	if b.full() {
		b.endWait()
	}
}

// arrived is told when all is there that hookmux has sent at once. If durable events are
// among it, their clients' next ones wait for them, and so do not come.
func (b *batcher) arrived() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.queue); n > 0 && b.queue[n-1].ID != "" {
		b.hurry = true
		b.endWait()
	}
}

// endWait ends the wait for a batch to grow, with b.mu held.
func (b *batcher) endWait() {
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

func (b *batcher) full() bool { return len(b.queue) >= maxBatchEvents || b.bytes >= maxBatchBytes }

// cancel is told that nobody waits for a stream's event any more. It looks through
// everything: it is rare.
func (b *batcher) cancel(stream context.Context, id uint64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.queue {
		if i.event != nil && i.event.id == id && i.event.stream == stream {
			i.event.end()
		}
	}
}

// run makes batches until there is nothing to make one of.
func (b *batcher) run() {
	timer := time.NewTimer(batchLinger)
	defer timer.Stop()
	for batch := b.next(timer); len(batch) > 0; batch = b.next(timer) {
		b.handle(batch)
	}
}

// next waits until the first of the queue has waited long enough, and takes what is
// there by then.
func (b *batcher) next(timer *time.Timer) []*batchItem {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 && !b.full() && !b.hurry {
		wait := batchLinger - time.Since(b.queue[0].arrived)
		if wait <= 0 {
			break
		}
		b.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.filled:
		}
		b.mu.Lock()
	}
	n, bytes := 0, 0
	for n < len(b.queue) && n < maxBatchEvents && (n == 0 || bytes+b.queue[n].bytes <= maxBatchBytes) {
		bytes += b.queue[n].bytes
		n++
	}
	batch := b.queue[:n:n]
	b.queue = b.queue[n:]
	if len(b.queue) == 0 {
		b.queue = nil // or what it was would stay in memory
	}
	b.bytes -= bytes
	b.hurry = false
	b.running = n > 0
	return batch
}

// handle has the plugin take a batch, and tells everyone who waits.
func (b *batcher) handle(items []*batchItem) {
	batch := make([]*BatchEvent, 0, len(items))
	taken := make([]*batchItem, 0, len(items))
	var timeout time.Duration
	for _, i := range items {
		if i.over() {
			i.done(status.Error(codes.Canceled, "OnBatch: nobody waited for the event any more"))
			continue
		}
		if err := i.prepare(); err != nil {
			i.done(undecodable("OnBatch", err))
			continue
		}
		if i.timeout > 0 && (timeout == 0 || i.timeout < timeout) {
			timeout = i.timeout
		}
		batch = append(batch, &i.BatchEvent)
		taken = append(taken, i)
	}
	if len(batch) > 0 {
		err := b.call(batch, timeout/2)
		for _, i := range taken {
			if i.failed != nil {
				i.done(batchStatus(i.failed))
				continue
			}
			i.done(err)
		}
	}
	for _, i := range items {
		if i.flush != nil {
			i.flush()
		}
	}
}

func (i *batchItem) prepare() (err error) {
	if i.Request == nil {
		i.Request, err = i.decode()
	}
	if err == nil {
		i.Client = i.client()
	}
	return err
}

func (b *batcher) call(batch []*BatchEvent, timeout time.Duration) (err error) {
	ctx := b.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	defer recovered("OnBatch", &err)
	return batchStatus(b.plugin.OnBatch(ctx, batch))
}

// batchStatus is for the host, and never without a text: that would be an answer.
func batchStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case short(err.Error()) == "":
		return status.Error(codes.Unknown, "OnBatch failed without saying why")
	}
	return toStatus(err)
}
