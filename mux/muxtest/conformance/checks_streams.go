package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
)

// checkSyncNotifications: with delivery sync, they come where decisions do.
func (s *suite) checkSyncNotifications() result {
	h, ok := s.first(isNotification)
	if !ok {
		return left("it declares no notifications")
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	_, err := s.c.decide.call(ctx, h, []byte("verify-1"), sample(h, "verify-1"))
	if own := new(pluginError); err != nil && !errors.As(err, &own) {
		return bad("%s: %v", h, err)
	}
	return good("%s answered there, too", h)
}

// checkObserved: an observer of decisions is told of them as of notifications.
func (s *suite) checkObserved() result {
	h, ok := s.first(mux.Hook.Valued)
	if !ok {
		return left("it declares no decisions")
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	answer, err := s.c.notify.call(ctx, h, []byte("verify-1"), sample(h, "verify-1"))
	if own := new(pluginError); errors.As(err, &own) {
		return good("%s answered there, too, with an error", h)
	}
	if err == nil && len(answer) > 0 { // done would do: nobody looks at it
		err = checkAnswer(h, answer)
	}
	if err != nil {
		return bad("%s, as an observer gets it: %v", h, err)
	}
	return good("%s answered there, too", h)
}

// checkCancel: who is canceled is replied to all the same, and the others are
// none the wiser.
func (s *suite) checkCancel() result {
	for _, st := range []*stream{s.c.decide, s.c.notify} {
		h := s.declared[0].Hook
		if n, ok := s.first(isNotification); st == s.c.notify && ok {
			h = n
		}
		var b, canceled []byte
		for range 100 {
			var id uint64
			b, id = st.add(b, batch.Event{Hook: wireHook(h), Key: []byte("verify-1"), Request: sample(h, "verify-1")}, func(reply) {})
			canceled = batch.AppendCanceled(canceled, id)
			canceled = batch.AppendCanceled(canceled, id+1_000_000) // nobody's
		}
		if err := errors.Join(st.send(append(b, canceled...)), st.send(canceled)); err != nil {
			return bad("%v", err)
		}
		if err := s.settled(st); err != nil {
			return bad("%v", err)
		}
	}
	return good("200 canceled events each had their reply; ids that are nobody's were no trouble")
}

// checkOrder: replies say when a handler has returned, so those of one client
// come in the order of its events. Within one batch of replies there is none.
func (s *suite) checkOrder() result {
	h, ok := s.first(isNotification)
	if !ok {
		return left("it declares no notifications")
	}
	const events, clients = 4000, 50
	var mu sync.Mutex
	var latest [clients]struct{ event, batch int }
	var wrong string
	err := s.burst(s.c.notify, h, events, clients, func(i int) []byte { return sample(h, fmt.Sprint("verify-", i%clients)) }, func(i int, r reply) {
		mu.Lock()
		defer mu.Unlock()
		l := &latest[i%clients]
		if i < l.event && r.batch > l.batch && wrong == "" {
			wrong = fmt.Sprintf("event %d of a client had its reply after event %d: they are handled beside each other", i/clients+1, l.event/clients+1)
		}
		l.event, l.batch = max(l.event, i), r.batch
	})
	switch {
	case err != nil:
		return bad("%v", err)
	case wrong != "":
		return bad("%s", wrong)
	}
	return good("%d × %s of %d clients in one batch", events, h, clients)
}

// checkOverload: however many notifications there are, decisions get through,
// and in the end everything has its reply.
func (s *suite) checkOverload() result {
	h, ok := s.first(isNotification)
	if !ok {
		return left("it declares no notifications")
	}
	const batches, each, clients = 200, 100, 1000
	before, _, known := usage(s.p.cmd.Process.Pid)
	start := time.Now()
	var all sync.WaitGroup
	all.Add(batches * each)
	st := s.c.notify
	sent := make(chan error, 1)
	var flooding atomic.Bool
	flooding.Store(true)
	go func() {
		defer flooding.Store(false)
		for i := range batches {
			var b []byte
			for j := range each {
				client := fmt.Sprint("verify-", (i*each+j)%clients)
				b, _ = st.add(b, batch.Event{Hook: wireHook(h), Key: []byte(client), Request: sample(h, client)}, func(reply) { all.Done() })
			}
			if err := st.send(b); err != nil { // waits while the plugin does not read
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	var slowest time.Duration
	decisions := 0
	for ; decisions == 0 || flooding.Load(); decisions++ {
		began := time.Now()
		if _, err := s.load(); err != nil { // any plugin decides this one
			return bad("while notifications poured in, a decision: %v", err)
		}
		slowest = max(slowest, time.Since(began))
	}
	if err := <-sent; err != nil {
		return bad("%v", err)
	}
	if err := s.await(st, &all); err != nil {
		return bad("of %d notifications: %v", batches*each, err)
	}
	text := fmt.Sprintf("%d notifications in %s, meanwhile %d decisions, the slowest in %s",
		batches*each, time.Since(start).Round(time.Millisecond), decisions, slowest.Round(time.Millisecond))
	if after, _, _ := usage(s.p.cmd.Process.Pid); known {
		text += fmt.Sprintf(", memory %d → %d MB", before/mb, after/mb)
	}
	return good("%s", text)
}

func (s *suite) checkOneReply() result {
	for _, st := range []*stream{s.c.decide, s.c.notify} {
		if ids := st.unasked(); len(ids) > 0 {
			return bad("%d replies to events that there were not, or that had their reply before; the first is to id %d", len(ids), ids[0])
		}
	}
	return good("to all of the above, on the stream on which it came")
}

// checkMalformedBatch: only the stream ends, and tells why.
func (s *suite) checkMalformedBatch() result {
	defer s.drop()
	st := s.c.notify
	if err := st.send([]byte{0x0a, 0x7f}); err != nil {
		return bad("%v", err)
	}
	select {
	case <-st.ended:
	case <-time.After(s.Patience):
		return bad("the stream goes on after bytes that are no batch")
	}
	if !s.p.exits(0) {
		if _, err := s.load(); err != nil {
			return bad("the other stream after bytes that are no batch: %v", err)
		}
	} else {
		return bad("bytes that are no batch end the plugin: it %s", s.p.how())
	}
	if code := status.Code(st.err); code != codes.InvalidArgument {
		return note("the stream ended with %s, not INVALID_ARGUMENT", code)
	}
	return good("the stream ended with INVALID_ARGUMENT, the other one went on")
}

// checkHalfClose: what was sent before is answered before the stream ends.
func (s *suite) checkHalfClose() result {
	defer s.drop()
	h := s.declared[0].Hook
	st := s.c.decide
	if n, ok := s.first(isNotification); ok {
		h, st = n, s.c.notify
	}
	const events = 500
	var replies atomic.Int64
	var b []byte
	for i := range events {
		client := fmt.Sprint("verify-", i%10)
		b, _ = st.add(b, batch.Event{Hook: wireHook(h), Key: []byte(client), Request: sample(h, client)}, func(reply) { replies.Add(1) })
	}
	if err := errors.Join(st.send(b), st.cs.CloseSend()); err != nil {
		return bad("%v", err)
	}
	select {
	case <-st.ended:
	case <-time.After(s.Patience):
		return bad("the stream has not ended %s after hookmux closed its side", s.Patience)
	}
	switch {
	case replies.Load() != events:
		return bad("%d of %d events were answered before the stream ended (%v)", replies.Load(), events, st.err)
	case st.err != nil:
		return note("the stream ended with an error: %v", st.err)
	}
	return good("%d events answered, then the stream ended", events)
}
