package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/batch"
)

// unaryChecks are those of app protocol 1.
var unaryChecks = []check{
	{"start", (*suite).checkStart},
	{"declared hooks", (*suite).checkDeclared},
	{"every hook", (*suite).checkEveryHook},
	{"unknown fields", (*suite).checkUnknownFields},
	{"garbage", (*suite).checkGarbage},
	{"large messages", (*suite).checkLarge},
	{"deadline", (*suite).checkDeadline},
	{"many at once", (*suite).checkManyAtOnce},
}

// streamChecks are those of app protocol 2.
var streamChecks = append(unaryChecks[:len(unaryChecks):len(unaryChecks)],
	check{"notifications on Decide", (*suite).checkSyncNotifications},
	check{"decisions on Notify", (*suite).checkObserved},
	check{"cancellation", (*suite).checkCancel},
	check{"order", (*suite).checkOrder},
	check{"overload", (*suite).checkOverload},
	check{"one reply each", (*suite).checkOneReply},
	check{"malformed batch", (*suite).checkMalformedBatch},
	check{"half-close", (*suite).checkHalfClose},
)

func (s *suite) checkStart() result {
	return good("ready in %s", s.ready.Round(time.Millisecond))
}

func (s *suite) checkDeclared() result {
	if len(s.declared) == 0 {
		return bad("it declares no hook, so it would never be asked")
	}
	var names []string
	for _, d := range s.declared {
		name := d.Hook.String()
		for _, f := range d.Topics {
			if err := mux.CheckTopicFilter(f); err != nil {
				return bad("it declares %s with an invalid topic filter: %v", name, err)
			}
		}
		if len(d.Topics) > 0 {
			name += " (" + strings.Join(d.Topics, " ") + ")"
		}
		names = append(names, name)
	}
	again, err := s.load()
	if err != nil {
		return bad("asked again, as for every broker: %v", err)
	}
	if fmt.Sprint(again) != fmt.Sprint(s.declared) {
		return note("asked again, as for every broker, it wants other hooks; the first answer counts")
	}
	if len(names) == mux.NumHooks-2 {
		return good("all %d", len(names))
	}
	return good("%s", strings.Join(names, ", "))
}

// ask sends an event; an error of the plugin's own is an answer.
func (s *suite) ask(h mux.Hook, request []byte) (own *pluginError, err error) {
	answer, err := s.call(h, request)
	if errors.As(err, &own) {
		return own, nil
	}
	if err == nil {
		err = checkAnswer(h, answer)
	}
	return nil, err
}

func (s *suite) checkEveryHook() result { return s.askAll(sample) }

func (s *suite) checkUnknownFields() result { return s.askAll(fromTheFuture) }

func (s *suite) askAll(request func(mux.Hook, string) []byte) result {
	var failed []string
	var text string
	for _, d := range s.declared {
		own, err := s.ask(d.Hook, request(d.Hook, "verify-1"))
		if err != nil {
			return bad("%s: %v", d.Hook, err)
		}
		if own != nil {
			failed, text = append(failed, d.Hook.String()), own.text
		}
	}
	if len(failed) > 0 {
		return note("%d of %d answered, with an error %s: %.200s", len(s.declared), len(s.declared), strings.Join(failed, ", "), text)
	}
	return good("%d of %d answered", len(s.declared), len(s.declared))
}

// checkGarbage sends requests that are no messages.
func (s *suite) checkGarbage() result {
	for _, d := range s.declared {
		_, err := s.call(d.Hook, []byte{0xff, 0xff, 0xff})
		var own *pluginError
		switch {
		case errors.As(err, &own):
		case err != nil:
			return bad("%s with bytes that are no request: %v", d.Hook, err)
		default:
			return bad("%s with bytes that are no request: it answered as if they were one", d.Hook)
		}
	}
	if s.c.decide != nil { // a hook from the future
		for _, st := range []*stream{s.c.decide, s.c.notify} {
			ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
			_, err := st.call(ctx, mux.Hook(200), []byte("c"), nil)
			cancel()
			if own := new(pluginError); !errors.As(err, &own) {
				return bad("a hook that it cannot know: it should answer with an error, not: %v", orNothing(err))
			}
		}
	}
	return good("answered with errors, and lived on")
}

func orNothing(err error) string {
	if err == nil {
		return "as if all were well"
	}
	return err.Error()
}

const mb = 1 << 20

func (s *suite) checkLarge() result {
	h, ok := s.first(isMessage)
	if !ok {
		if h, ok = s.first(mux.Hook.HasTopics); !ok {
			h = s.declared[0].Hook
		}
	}
	own, err := s.ask(h, large(h, "verify-1", 16*mb))
	if err != nil {
		return bad("%s of 16 MB: %v", h, err)
	}
	if own != nil {
		return note("%s of 16 MB was answered with an error: %.200s", h, own.text)
	}
	if s.c.notify != nil { // many in one batch
		many, st := s.declared[0].Hook, s.c.decide
		if n, ok := s.first(isNotification); ok {
			many, st = n, s.c.notify
		}
		if err := s.burst(st, many, 32, 4, func(int) []byte { return large(many, "verify-1", mb) }, nil); err != nil {
			return bad("32 × %s of 1 MB in one batch: %v", many, err)
		}
		return good("%s of 16 MB; 32 × %s of 1 MB in one batch", h, many)
	}
	return good("%s of 16 MB", h)
}

// burst sends n events of some clients in one batch and waits for all replies.
// The request of event i is request(i), made n times or once for all.
func (s *suite) burst(st *stream, h mux.Hook, n, clients int, request func(i int) []byte, took func(i int, r reply)) error {
	var all sync.WaitGroup
	all.Add(n)
	var b []byte
	for i := range n {
		key := fmt.Appendf(nil, "verify-%d", i%clients)
		b, _ = st.add(b, batch.Event{Hook: wireHook(h), Key: key, Request: request(i), TimeoutUs: uint64(s.Patience.Microseconds())}, func(r reply) {
			if took != nil {
				took(i, r)
			}
			all.Done()
		})
	}
	if err := st.send(b); err != nil {
		return err
	}
	return s.await(st, &all)
}

// await waits for replies as long as some come.
func (s *suite) await(st *stream, all *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }() // leaks if it fails, and the run with it
	for before := st.unanswered(); ; {
		select {
		case <-done:
			return nil
		case <-st.ended:
			return st.why()
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(s.Patience):
		}
		now := st.unanswered()
		if now == before {
			return fmt.Errorf("%d events have no reply, and none came in %s", now, s.Patience)
		}
		before = now
	}
}

// checkDeadline gives no time, again and again: the plugin must not suffer.
func (s *suite) checkDeadline() result {
	h := s.declared[0].Hook
	for range 100 {
		ctx, cancel := context.WithTimeout(s.ctx, 100*time.Microsecond)
		_, _ = s.c.call(ctx, h, []byte("verify-1"), sample(h, "verify-1"))
		cancel()
	}
	if s.c.decide != nil {
		for _, st := range []*stream{s.c.decide, s.c.notify} {
			var none sync.WaitGroup
			if err := s.await(st, &none); err != nil {
				return bad("%v", err)
			}
			if err := s.settled(st); err != nil {
				return bad("after 100 events with no time for them: %v", err)
			}
		}
	}
	if _, err := s.ask(h, sample(h, "verify-1")); err != nil {
		return bad("after 100 events with no time for them: %v", err)
	}
	return good("100 events with no time left, then one with time: answered")
}

// settled waits until every event has its reply.
func (s *suite) settled(st *stream) error {
	for end := time.Now().Add(s.Patience); ; {
		n := st.unanswered()
		switch {
		case n == 0:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%d events have no reply after %s; each must get one, even if it is late or canceled", n, s.Patience)
		}
		select {
		case <-st.ended:
			return st.why()
		case <-time.After(5 * time.Millisecond): // the pause of a poll
		}
	}
}

func (s *suite) checkManyAtOnce() result {
	h, ok := s.first(mux.Hook.Valued)
	if !ok {
		h = s.declared[0].Hook
	}
	const callers, each = 128, 8
	var all sync.WaitGroup
	errs := make(chan error, callers)
	start := time.Now()
	for i := range callers {
		all.Go(func() {
			client := fmt.Sprint("verify-", i)
			for range each {
				ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
				_, err := s.c.call(ctx, h, []byte(client), sample(h, client))
				cancel()
				if own := new(pluginError); err != nil && !errors.As(err, &own) {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	if len(errs) > 0 {
		return bad("%d of %d callers of %s: %v", len(errs), callers, h, <-errs)
	}
	return good("%d × %s from %d callers in %s", callers*each, h, callers, time.Since(start).Round(time.Millisecond))
}
