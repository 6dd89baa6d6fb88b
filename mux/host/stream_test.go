package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hookmux/hookmux/mux"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// byHand is a server of app protocol 2 that a test writes by hand.
type byHand struct {
	pluginv1.UnimplementedPluginServer

	decide func(serverStream) error
	notify func(serverStream) error
}

type serverStream = grpc.BidiStreamingServer[pluginv1.Events, pluginv1.Replies]

func (p *byHand) Decide(s serverStream) error { return serve(p.decide, s) }
func (p *byHand) Notify(s serverStream) error { return serve(p.notify, s) }

func serve(f func(serverStream) error, s serverStream) error {
	if f == nil {
		f = hang
	}
	return f(s)
}

// hang does not read.
func hang(s serverStream) error {
	<-s.Context().Done()
	return nil
}

// connect is hookmux's end of the streams to p. Call it in a synctest bubble, so
// that times are exact.
func connect(t *testing.T, p *byHand) (c *streamConn, late *atomic.Int64) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32))
	pluginv1.RegisterPluginServer(server, p)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	cc, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	late = new(atomic.Int64)
	c, err = openStreams(context.Background(), cc, late)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cc.Close()
		server.Stop()
		<-served
		<-c.broken
		time.Sleep(time.Second) // a pause may still be going on
	})
	return c, late
}

// dial is connect on a socket, outside of a bubble, where goroutines run beside each
// other.
func dial(t *testing.T, p *byHand) *streamConn {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pluginv1.RegisterPluginServer(server, p)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	cc, err := grpc.NewClient("unix:"+l.Addr().String(), slices.Concat(dialOptions, []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())})...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openStreams(context.Background(), cc, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cc.Close()
		server.Stop()
		<-served
		<-c.broken
	})
	return c
}

// brokeAfter waits until the conn has broken and says why and after how long.
func brokeAfter(c *streamConn) (time.Duration, error) {
	start := time.Now()
	<-c.broken
	return time.Since(start), c.brokeBy
}

// A plugin that reads nothing is given up, after as long as it has not read, and all
// that waits for it is answered for.
func TestPluginThatDoesNotReadIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, &byHand{})
		decided := make(chan error, 2)
		for range cap(decided) { // gRPC takes one larger than the window, and no second
			go func() {
				_, err := c.Decide(t.Context(), mux.MessagePublish, make([]byte, 1<<20))
				decided <- err
			}()
			time.Sleep(decisionPause.most)
		}
		took, err := brokeAfter(c)
		took += decisionPause.most // since the second one
		if took != stuckAfter || err == nil || !strings.Contains(err.Error(), "has not read its stream for 15s") {
			t.Errorf("after %s: %v", took, err)
		}
		for range cap(decided) {
			if err := <-decided; !errors.Is(err, mux.ErrDown) {
				t.Errorf("the decision: %v", err)
			}
		}
		if _, err := c.Decide(t.Context(), mux.MessagePublish, nil); !errors.Is(err, mux.ErrNotSent) {
			t.Errorf("a decision behind: %v", err)
		}
	})
}

// That nothing is sent for long is no reason to give up a plugin.
func TestIdlePluginStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, &byHand{})
		time.Sleep(1000 * time.Hour)
		select {
		case <-c.broken:
			t.Error(c.brokeBy)
		default:
		}
	})
}

// What waits to be read is bounded; there is room again once the plugin reads.
func TestUnsentNotificationsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		c, _ := connect(t, &byHand{notify: func(s serverStream) error {
			<-read
			for {
				if _, err := s.Recv(); err != nil {
					return err
				}
			}
		}})
		post := func() error {
			return c.Post(1, mux.MessageDelivered, []byte("c"), make([]byte, 1<<20), "", time.Minute)
		}
		for n := 0; ; n++ {
			err := post()
			time.Sleep(time.Second / 10) // the writer takes what is there, and is stuck with it
			if errors.Is(err, mux.ErrNoRoom) {
				break
			}
			if err != nil || n > 30 {
				t.Fatalf("after %d MB: %v", n, err)
			}
		}
		close(read)
		time.Sleep(time.Second)
		if err := post(); err != nil {
			t.Errorf("once it reads: %v", err)
		}
	})
}

// A plugin that replies to what it was never asked is busy for nothing, and keeps
// hookmux busy.
func TestPluginThatFloodsRepliesIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, which := range map[string]func(p *byHand, f func(serverStream) error){
		"decisions":     func(p *byHand, f func(serverStream) error) { p.decide = f },
		"notifications": func(p *byHand, f func(serverStream) error) { p.notify = f },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				more := make(chan int)
				p := new(byHand)
				which(p, func(s serverStream) error {
					for n := range more {
						ids := make([]uint64, n)
						for i := range ids {
							ids[i] = uint64(1e9 + i)
						}
						if err := s.Send(&pluginv1.Replies{Done: ids}); err != nil {
							break
						}
					}
					return hang(s)
				})
				c, late := connect(t, p)
				handled := 0
				c.Replies(func(uint64, error) { handled++ })
				more <- 900 // some can be late, after a restart of the clock or whatever
				synctest.Wait()
				select {
				case <-c.broken:
					t.Fatalf("given up after 900: %v", c.brokeBy)
				default:
				}
				if got := int(late.Load()) + handled; got != 900 {
					t.Errorf("%d counted as late or handed on, want 900", got)
				}
				more <- 200
				close(more)
				if _, err := brokeAfter(c); err == nil || !strings.Contains(err.Error(), "events that it never got") {
					t.Errorf("broken by %v", err)
				}
			})
		})
	}
}

// limited has a deadline and does not end at it, so that it is the conn that keeps it.
type limited struct {
	context.Context //nolint:containedctx // a context itself

	deadline time.Time
}

func (l limited) Deadline() (time.Time, bool) { return l.deadline, true }

// One timer keeps the deadlines of all decisions, whatever their order.
func TestDecisionsEndAtTheirDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		canceled := make(chan uint64, 10)
		c, late := connect(t, &byHand{decide: func(s serverStream) error {
			for {
				events, err := s.Recv()
				if err != nil {
					return err
				}
				for _, id := range events.GetCanceled() {
					canceled <- id
					if err := s.Send(&pluginv1.Replies{Done: []uint64{id}}); err != nil {
						return err
					}
				}
			}
		}})
		start := time.Now()
		timeouts := []time.Duration{3 * time.Second, time.Second, 2 * time.Second, time.Second, 0}
		results := make([]chan error, len(timeouts))
		for i, timeout := range timeouts {
			results[i] = make(chan error, 1)
			go func() {
				_, err := c.Decide(limited{t.Context(), start.Add(timeout)}, mux.ClientAuthorize, nil)
				if took := time.Since(start); took != timeout {
					err = fmt.Errorf("took %s: %w", took, err)
				}
				results[i] <- err
			}()
			synctest.Wait()
		}
		for i, timeout := range timeouts {
			if err := <-results[i]; err != context.DeadlineExceeded { //nolint:errorlint // nothing around it
				t.Errorf("with %s: %v", timeout, err)
			}
		}
		time.Sleep(time.Second)
		if len(canceled) != len(timeouts) {
			t.Errorf("the plugin was told of %d of %d", len(canceled), len(timeouts))
		}
		if got := late.Load(); got != int64(len(timeouts)) {
			t.Errorf("%d late replies, want %d", got, len(timeouts))
		}
	})
}

// got is a batch as the plugin gets it.
type got struct {
	after  time.Duration
	events int
}

// A decision goes out at once to a plugin that has nothing to do; others wait for
// its replies, or a moment.
func TestDecisionsShareBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var batches []got
		reply := make(chan struct{})
		c, _ := connect(t, &byHand{decide: func(s serverStream) error {
			for {
				events, err := s.Recv()
				if err != nil {
					return err
				}
				batches = append(batches, got{time.Since(start), len(events.GetEvents())})
				go func() {
					<-reply
					var r pluginv1.Replies
					for _, e := range events.GetEvents() {
						r.Done = append(r.Done, e.GetId())
					}
					_ = s.Send(&r)
				}()
			}
		}})
		ask := func(n int) {
			for range n {
				go func() { _, _ = c.Decide(t.Context(), mux.ClientAuthorize, nil) }()
			}
			synctest.Wait()
		}
		ask(1)
		ask(2)
		time.Sleep(decisionPause.most / 2)
		ask(1)
		reply <- struct{}{} // to the first
		synctest.Wait()
		ask(2)
		time.Sleep(decisionPause.most)
		synctest.Wait()
		ask(decisionPause.events) // the pause was in vain, so the next do not wait
		half := decisionPause.most / 2
		if len(batches) < 4 || batches[0] != (got{0, 1}) || batches[1] != (got{half, 3}) || batches[2] != (got{half + decisionPause.most, 2}) {
			t.Errorf("batches: %v", batches)
		}
		if last := batches[len(batches)-1]; last.after != half+decisionPause.most {
			t.Errorf("a decision waited after a pause in vain: %v", batches)
		}
		close(reply)
		synctest.Wait()
	})
}

// Requests of all sizes arrive as they were, in their order.
func TestLargeRequestsInABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan *pluginv1.Event, 100)
		c, _ := connect(t, &byHand{notify: func(s serverStream) error {
			for {
				events, err := s.Recv()
				if err != nil {
					return err
				}
				for _, e := range events.GetEvents() {
					arrived <- e
				}
			}
		}})
		sizes := []int{10, keptApart, 0, keptApart - 1, 1 << 20, keptApart + 1, 3}
		for i, size := range sizes {
			body := bytes.Repeat([]byte{byte('a' + i)}, size)
			if err := c.Post(uint64(i+1), mux.MessageDelivered, []byte("client"), body, "", time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for i, size := range sizes {
			e := <-arrived
			want := bytes.Repeat([]byte{byte('a' + i)}, size)
			if e.GetId() != uint64(i+1) || string(e.GetKey()) != "client" || e.GetTimeoutUs() != 1e6 || !slices.Equal(e.GetRequest(), want) {
				t.Errorf("event %d: id %d, key %q, timeout %d, %d bytes", i, e.GetId(), e.GetKey(), e.GetTimeoutUs(), len(e.GetRequest()))
			}
		}
	})
}

// Decisions with more bytes than are kept for a plugin wait for room, and the
// plugin's way to all of them; one whose time is up meanwhile ends there.
func TestDecisionsWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, &byHand{decide: func(s serverStream) error {
			for {
				time.Sleep(100 * time.Millisecond)
				events, err := s.Recv()
				if err != nil {
					return err
				}
				var replies pluginv1.Replies
				for _, e := range events.GetEvents() {
					replies.Replies = append(replies.Replies, &pluginv1.Reply{Id: e.GetId(), Answer: e.GetRequest()[:1]})
				}
				if err := s.Send(&replies); err != nil {
					return err
				}
			}
		}})
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				limit := 10 * time.Second
				if i == 63 {
					time.Sleep(time.Millisecond) // behind the others
					limit = 10 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				answer, err := c.Decide(ctx, mux.MessagePublish, bytes.Repeat([]byte{byte(i)}, 1<<20))
				switch {
				case i == 63 && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("without time: %v %v", answer, err)
				case i < 63 && (err != nil || len(answer) != 1 || answer[0] != byte(i)):
					t.Errorf("%d: %v %v", i, answer, err)
				}
			})
		}
		all.Wait()
	})
}
