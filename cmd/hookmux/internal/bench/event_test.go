package bench

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// hookmux sees the client that was filled in, for every hook that is measured.
func TestTemplatesNameTheirClient(t *testing.T) {
	t.Parallel()
	for _, h := range slices.Concat(notifications, decisions) {
		tm, err := newTemplate(h, 300)
		if err != nil {
			t.Error(err)
			continue
		}
		body := slices.Clone(tm.body)
		tm.setClient(body, 1234567)
		ev := mux.NewEvent(h, body)
		if got := ev.Client(); got != "c1234567" {
			t.Errorf("%s: the client is %q", h, got)
		}
		if c := tm.connection(body, poolSize); c < 0 || c >= poolSize {
			t.Errorf("%s: connection %d of %d", h, c, poolSize)
		}
	}
	if _, err := newTemplate(mux.ProviderLoaded, 0); err == nil {
		t.Error("there is a template for what is no event")
	}
}

func TestClientsAreSpreadOverTheConnections(t *testing.T) {
	t.Parallel()
	tm, err := newTemplate(mux.MessagePublish, 0)
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[int]int)
	for n := range uint64(8000) {
		tm.setClient(tm.body, n)
		used[tm.connection(tm.body, poolSize)]++
	}
	for c := range poolSize {
		if used[c] < 500 {
			t.Errorf("connection %d has %d clients of 8000", c, used[c])
		}
	}
}

// Each plugin's rewrite shows in the answer, whatever the payload.
func TestRewritesAreCounted(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, len(marker), len(marker) + 1, 256, 1 << 16} {
		payload := payloadOf(size)
		if len(payload) != size {
			t.Fatalf("%d bytes instead of %d", len(payload), size)
		}
		for n := range 16 {
			payload = rewrite(payload)
			answer, err := proto.Marshal(&exhookv3.ValuedResponse{Value: &exhookv3.ValuedResponse_Message{Message: &exhookv3.Message{Topic: "t", Payload: payload}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := rewrites(answer); got != n+1 {
				t.Errorf("%d bytes: %d rewrites, want %d", size, got, n+1)
			}
		}
		if size > len(marker) && len(payload) != size {
			t.Errorf("a payload of %d bytes has become one of %d", size, len(payload))
		}
	}
	if got := rewrites(bytes.Repeat([]byte("x"), 50)); got != -1 {
		t.Errorf("%d rewrites of a message that is none of ours", got)
	}
}

func TestCountersAreShared(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "counters")
	a, err := newCounters(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := openCounters(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var wg sync.WaitGroup
	for _, c := range []*counters{a, b} {
		wg.Go(func() {
			for range 1000 {
				c.notified.Add(1)
			}
		})
	}
	wg.Wait()
	if got := a.notified.Load(); got != 2000 {
		t.Errorf("%d events were counted instead of 2000", got)
	}
	if _, err := openCounters("main_test.go"); err == nil {
		t.Error("any file is taken for counters")
	}
}

func TestSumsMustBeExact(t *testing.T) {
	t.Parallel()
	s := &system{}
	for range 3 {
		c := &counters{words: new(words)}
		c.notified.Store(5) // of an earlier measurement
		c.decided.Store(100)
		s.plugins = append(s.plugins, c)
	}
	tally := newTally(s, mux.MessageDelivered)
	for i, n := range []int64{10, 10, 9} {
		s.plugins[i].notified.Add(n)
	}
	if err := tally.exact(2, 10); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		plugins int
		events  uint64
	}{{3, 10}, {2, 11}, {2, 9}} {
		if tally.exact(tt.plugins, tt.events) == nil {
			t.Errorf("%d events for %d plugins count as exact", tt.events, tt.plugins)
		}
	}
	if got := tally.least(3); got != 9 {
		t.Errorf("the slowest has handled %d", got)
	}
}

// However many callers there are, no more events are under way than the window.
func TestGateHoldsBack(t *testing.T) {
	t.Parallel()
	const window, events, callers = 7, 2000, 32
	var under, most, handled atomic.Int64
	g := &gate{window: window, handled: func() uint64 { return uint64(handled.Load()) }}
	g.open()
	kept := make(chan struct{})
	go func() { defer close(kept); g.keep(t.Context()) }()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for g.ticket() <= events {
				n := under.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				under.Add(-1)
				handled.Add(1)
			}
			handled.Add(1) // lets the others come to their end
		})
	}
	wg.Wait()
	g.close()
	<-kept
	if m := most.Load(); m < 1 || m > window {
		t.Errorf("%d events were under way at a time, want at most %d", m, window)
	}

	open := &gate{}
	open.open()
	defer open.close()
	if n := open.ticket(); n != 1 || open.limit.Load() != math.MaxUint64 {
		t.Errorf("a gate without a window holds back ticket %d", n)
	}
}
