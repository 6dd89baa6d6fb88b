package mux

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeStream is a Streamer whose provider replies when the test says so.
type fakeStream struct {
	fake
	handle func(id uint64, err error)

	mu       sync.Mutex
	posted   []uint64 // ids; the tests number events from 1, in the order in which they were posted
	ids      []uint64 // numbers of those without a reply
	canceled []uint64 // numbers
	gone     bool
}

func (f *fakeStream) Replies(handled func(id uint64, err error)) { f.handle = handled }

// replied is the reply to the nth event.
func (f *fakeStream) replied(n uint64, err error) {
	f.mu.Lock()
	id := f.posted[n-1]
	f.mu.Unlock()
	f.handle(id, err)
}

func (f *fakeStream) Post(id uint64, h Hook, _, req []byte, _ string, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return ErrNotSent
	}
	f.posted = append(f.posted, id)
	f.ids = append(f.ids, uint64(len(f.posted)))
	f.record(h, req)
	return nil
}

func (f *fakeStream) Cancel(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.canceled = append(f.canceled, uint64(slices.Index(f.posted, id)+1))
}

// replyToAll replies to everything that has been posted since the last time.
func (f *fakeStream) replyToAll(err error) (n int) {
	f.mu.Lock()
	ids := f.ids
	f.ids = nil
	f.mu.Unlock()
	for _, id := range ids {
		f.replied(id, err)
	}
	return len(ids)
}

func TestOutboxPostsWithoutWaitingForReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{}, conn)
		push(t, p, "a", 1, 2, 3)
		push(t, p, "b", 1)
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 3)) {
			t.Fatalf("posted %v", got)
		}
		if events, _ := p.Waiting(); events != 4 {
			t.Errorf("%d events wait for their replies, want 4", events)
		}
		conn.replyToAll(nil)
		expectStats(t, p, 4, 4, nil)
		conn.replied(2, nil)
		if got := p.Stats().Late.Load(); got != 1 {
			t.Errorf("%d late replies, want 1", got)
		}
	})
}

func TestOutboxIsBoundedByItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{}, conn)
		const clients, each = 40, 50
		for n := range each {
			for c := range clients {
				push(t, p, fmt.Sprint("client", c), n+1)
			}
		}
		total := 0
		for total < clients*each {
			synctest.Wait()
			n := conn.replyToAll(nil)
			if n == 0 || n > outboxShare*laneShards {
				t.Fatalf("%d on their way at a time; %d done", n, total)
			}
			total += n
		}
		synctest.Wait()
		for c := range clients {
			if got := conn.handled(t, fmt.Sprint("client", c)); !slices.Equal(got, numbers(1, each)) {
				t.Fatalf("client %d: %v", c, got)
			}
		}
		expectStats(t, p, clients*each, clients*each, nil)
	})
}

// Large events fill the window sooner, but one of any size may go.
func TestOutboxIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{}, conn)
		for _, size := range []int{outboxBytes * 2, outboxBytes / 2, outboxBytes / 3, outboxBytes / 2} {
			ev := NewEvent(ClientDisconnected, make([]byte, size))
			ev.malformed = false
			p.lane.push(t.Context(), &ev)
		}
		for _, want := range []int{1, 2, 1} {
			synctest.Wait()
			if n := conn.replyToAll(nil); n != want {
				t.Fatalf("%d events were on their way, want %d", n, want)
			}
		}
		expectStats(t, p, 4, 4, nil)
	})
}

func TestOutboxGivesUpWhatIsNotRepliedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{Timeout: time.Second}, conn)
		push(t, p, "a", 1)
		time.Sleep(600 * time.Millisecond)
		push(t, p, "a", 2)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		expectOpen(t, p, 1)
		conn.replied(2, nil)
		push(t, p, "a", 3)
		time.Sleep(time.Second)
		synctest.Wait()
		expectStats(t, p, 3, 1, map[Reason]int64{ReasonTimeout: 2})
		if !slices.Equal(conn.canceled, []uint64{1, 3}) {
			t.Errorf("canceled %v", conn.canceled)
		}
		conn.replied(1, nil)
		if got := p.Stats().Late.Load(); got != 1 {
			t.Errorf("%d late replies, want 1", got)
		}
	})
}

func expectOpen(t *testing.T, p *Provider, want int64) {
	t.Helper()
	if events, _ := p.Waiting(); events != want {
		t.Errorf("%d events wait, want %d", events, want)
	}
}

// Events that wait behind others of their client are not late, however many there
// are, as long as one after another is handled.
func TestOutboxWaitsForWhatMakesProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{Timeout: time.Second}, conn)
		for n := range 100 {
			push(t, p, "a", n+1)
		}
		for id := range uint64(100) {
			time.Sleep(900 * time.Millisecond)
			synctest.Wait()
			conn.replied(id+1, nil)
		}
		expectStats(t, p, 100, 100, nil)
	})
}

// A client whose handler hangs holds up those it shares a shard with, one
// timeout an event, and nobody else.
func TestOneClientDoesNotStarveTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{Timeout: time.Second}, conn)
		for n := range 1000 {
			push(t, p, "evil", n+1)
		}
		synctest.Wait()
		conn.mu.Lock()
		conn.ids = nil // no reply to any of these
		conn.mu.Unlock()
		for round := range 20 {
			for c := range 200 {
				push(t, p, fmt.Sprint("good", c), round)
			}
			synctest.Wait()
			conn.replyToAll(nil)
			time.Sleep(500 * time.Millisecond)
		}
		if got := p.Stats().Delivered.Load(); got < 20*200*3/4 {
			t.Errorf("only %d of %d events of the others were handled", got, 20*200)
		}
		if state := p.Breaker(ClientConnected); state != "closed" {
			t.Errorf("the breaker is %s", state)
		}
	})
}

// What was under way is lost with the link, at once; what was not goes to the next.
func TestOutboxEndsWithItsLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := new(fakeStream), new(fakeStream)
		p := newProvider(t, Spec{}, first)
		push(t, p, "a", 1, 2)
		first.mu.Lock()
		first.gone = true
		first.mu.Unlock()
		push(t, p, "a", 3)
		synctest.Wait()
		expectOpen(t, p, 3)
		p.Down()
		push(t, p, "a", 4)
		synctest.Wait()
		expectOpen(t, p, 2)
		up(t, p, second)
		synctest.Wait()
		second.replyToAll(nil)
		if got := second.handled(t, "a"); !slices.Equal(got, numbers(3, 4)) {
			t.Errorf("the second got %v", got)
		}
		expectStats(t, p, 4, 2, map[Reason]int64{ReasonDown: 2})
	})
}

// Timeouts open the breaker, errors of the provider's own do not; while it is
// open events wait, and one of them probes.
func TestOutboxBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{Timeout: time.Second, Breaker: BreakerSpec{Failures: 2, Open: 10 * time.Second}}, conn)
		push(t, p, "a", 1, 2, 3)
		conn.replyToAll(fmt.Errorf("%w: no", ErrAnswered))
		if state := p.Breaker(ClientConnected); state != "closed" {
			t.Fatalf("after its own errors the breaker is %s", state)
		}
		push(t, p, "a", 4, 5)
		time.Sleep(2 * time.Second) // they are given up one after another
		synctest.Wait()
		if state := p.Breaker(ClientConnected); state != "open" {
			t.Fatalf("after two timeouts the breaker is %s", state)
		}
		push(t, p, "a", 6, 7)
		synctest.Wait()
		if got := conn.handled(t, "a"); !slices.Equal(got, numbers(1, 5)) {
			t.Errorf("posted while open: %v", got)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		conn.mu.Lock()
		conn.ids = slices.DeleteFunc(conn.ids, func(id uint64) bool { return id < 6 })
		conn.mu.Unlock()
		if n := conn.replyToAll(nil); n != 1 {
			t.Fatalf("%d probes", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		conn.replyToAll(nil)
		expectStats(t, p, 7, 2, map[Reason]int64{ReasonError: 3, ReasonTimeout: 2})
	})
}

func TestCloseWaitsForReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := new(fakeStream)
		p := newProvider(t, Spec{Timeout: time.Minute}, conn)
		push(t, p, "a", 1, 2)
		conn.replied(1, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		p.Close(ctx)
		if took := time.Since(start); took != time.Second {
			t.Errorf("close took %s", took)
		}
		expectStats(t, p, 2, 1, map[Reason]int64{ReasonShutdown: 1})
	})
}
