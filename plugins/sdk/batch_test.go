package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
	"github.com/hookmux/hookmux/proto/batch"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// keeper keeps what came in batches, does with an event as its topic says, and tells
// by OnClientAuthorize what it has kept.
type keeper struct {
	hooks []sdk.Hook
	on    func(ctx context.Context, batch []*sdk.BatchEvent) error // may be nil

	mu      sync.Mutex
	batches [][]*sdk.BatchEvent
	running int
	overlap bool
}

func (k *keeper) BatchHooks() []sdk.Hook { return k.hooks }

func (k *keeper) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	k.mu.Lock()
	k.batches = append(k.batches, batch)
	k.running++
	k.overlap = k.overlap || k.running > 1
	k.mu.Unlock()
	defer func() { k.mu.Lock(); k.running--; k.mu.Unlock() }()
	for _, e := range batch {
		switch e.Message().GetTopic() {
		case "fail":
			e.Fail(errors.New("too large"))
		case "fail without a reason":
			e.Fail(nil)
		case "away":
			e.Fail(fmt.Errorf("store: %w", sdk.Unavailable(errors.New("no database"))))
		case "fail all":
			return errors.New("the database is down")
		case "fail all emptily":
			return errors.New("")
		case "panic":
			panic("at the disco")
		}
	}
	if k.on != nil {
		return k.on(ctx, batch)
	}
	return nil
}

// OnClientAuthorize tells in its error what was kept: batches, and their events.
func (k *keeper) OnClientAuthorize(context.Context, *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var events []string
	for _, b := range k.batches {
		for _, e := range b {
			events = append(events, fmt.Sprintf("%s/%s/%s/%s", e.Hook, e.Client, e.ID, e.Message().GetId()))
		}
	}
	return 0, fmt.Errorf("%v %s", k.overlap, strings.Join(events, " "))
}

func deliveredTo(client, topic string, id int) *sdk.MessageDeliveredRequest {
	return &sdk.MessageDeliveredRequest{Clientinfo: &sdk.ClientInfo{Clientid: client}, Message: &sdk.Message{Id: strconv.Itoa(id), Topic: topic}}
}

// The same on both app protocols: what a batch's events are told.
func TestBatchOutcomes(t *testing.T) { onBoth(t, batchOutcomes) }

func batchOutcomes(t *testing.T, protocol int) {
	h := startHost(t, protocol, "keeper")
	res, err := h.calls.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{})
	want := &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{
		{Name: "client.connected"}, {Name: "client.authorize"}, {Name: "message.publish", Topics: []string{"#"}}, {Name: "message.delivered"},
	}}
	if err != nil || !proto.Equal(res, want) {
		t.Errorf("%v %v, want %v", res, err, want)
	}
	for topic, want := range map[string]string{
		"":                      "",
		"fail":                  "too large",
		"fail without a reason": "OnBatch failed an event without saying why",
		"fail all":              "the database is down",
		"fail all emptily":      "OnBatch failed without saying why",
		"panic":                 "OnBatch panicked: at the disco",
	} {
		_, err := h.calls.OnMessageDelivered(t.Context(), deliveredTo("c", topic, 1))
		if got := status.Convert(err).Message(); got != want {
			t.Errorf("%q: %v, want %q", topic, err, want)
		}
		valued, err := h.calls.OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: topic}})
		if got := status.Convert(err).Message(); got != want || err == nil && valued.GetType() != exhookv3.ValuedResponse_IGNORE {
			t.Errorf("%q, decided: %v %v, want %q", topic, valued, err, want)
		}
	}
	var out []byte
	err = h.conn.Invoke(t.Context(), exhookv3.HookProvider_OnClientConnected_FullMethodName, invalidUTF8, &out, forceRaw)
	if err == nil || !strings.Contains(err.Error(), "invalid UTF-8") {
		t.Errorf("a request that is none: %v", err)
	}
	h.stderr.line(t, "panic in the plugin")
	h.end(t)
}

// hookmux hears that what the plugin needs is away.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	unary := startHost(t, handshake.Unary, "keeper")
	_, err := unary.calls.OnMessageDelivered(t.Context(), deliveredTo("c", "away", 1))
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "store: no database" {
		t.Error(err)
	}
	unary.end(t)
	stream := startHost(t, handshake.Stream, "keeper")
	notify := stream.streams.notify
	for topic, away := range map[string]bool{"away": true, "fail": false} {
		request, err := proto.Marshal(deliveredTo("c", topic, 1))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan batch.Reply, 1)
		if err := notify.post(&batch.Event{ID: notify.expect(done), Hook: uint64(pluginv1.Hook_HOOK_MESSAGE_DELIVERED), Request: request}); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.Error == "" || r.Unavailable != away {
			t.Errorf("%s: %+v", topic, r)
		}
	}
	stream.end(t)
}

func TestBatchesKnowTheEventID(t *testing.T) {
	t.Parallel()
	unary := startHost(t, handshake.Unary, "keeper")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "hookmux-event-id", "e1")
	if _, err := unary.calls.OnMessageDelivered(ctx, deliveredTo("c", "t", 7)); err != nil {
		t.Fatal(err)
	}
	stream := startHost(t, handshake.Stream, "keeper")
	request, err := proto.Marshal(deliveredTo("c", "t", 7))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan batch.Reply, 1)
	notify := stream.streams.notify
	if err := notify.post(&batch.Event{ID: notify.expect(done), Hook: uint64(pluginv1.Hook_HOOK_MESSAGE_DELIVERED), EventID: "e1", Request: request}); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Error != "" {
		t.Fatal(r.Error)
	}
	for _, h := range []*host{unary, stream} {
		_, err := h.calls.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{})
		if got := status.Convert(err).Message(); got != "false message.delivered/c/e1/7" {
			t.Error(got)
		}
		h.end(t)
	}
}

// Many callers' events share batches, none comes twice, those of one client keep their
// order, and no two batches run at a time.
func TestBatchesKeepOrder(t *testing.T) {
	t.Parallel()
	k := &keeper{hooks: []sdk.Hook{sdk.MessageDelivered}, on: func(context.Context, []*sdk.BatchEvent) error {
		time.Sleep(10 * time.Microsecond) // as long as a quick store takes
		return nil
	}}
	h := handlerOf(t, k)
	const clients, each = 50, 40
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				if _, err := h.OnMessageDelivered(t.Context(), deliveredTo(strconv.Itoa(c), "t", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	next := make(map[string]int)
	for _, b := range k.batches {
		for _, e := range b {
			if e.Message().GetId() != strconv.Itoa(next[e.Client]) {
				t.Errorf("client %s: %s, want %d", e.Client, e.Message().GetId(), next[e.Client])
			}
			next[e.Client]++
		}
	}
	for c := range clients {
		if next[strconv.Itoa(c)] != each {
			t.Errorf("client %d: %d events", c, next[strconv.Itoa(c)])
		}
	}
	if k.overlap {
		t.Error("two batches ran at a time")
	}
	if len(k.batches) > clients*each/2 {
		t.Errorf("%d batches of %d events", len(k.batches), clients*each)
	}
}

// An event waits 2 ms for others, those that come while a batch runs are the next one
// at once, and the plugin has half of the time.
func TestBatchTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var began []time.Duration
		k := &keeper{hooks: []sdk.Hook{sdk.MessageDelivered}, on: func(ctx context.Context, _ []*sdk.BatchEvent) error {
			began = append(began, time.Since(begin))
			until, ok := ctx.Deadline()
			if left := time.Until(until); !ok || left < 400*time.Millisecond || left > 500*time.Millisecond {
				t.Errorf("%v left", left)
			}
			time.Sleep(100 * time.Millisecond)
			return nil
		}}
		h := handlerOf(t, k)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 500 * time.Microsecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := h.OnMessageDelivered(ctx, deliveredTo("c", "t", i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if want := []time.Duration{2 * time.Millisecond, 102 * time.Millisecond}; !slices.Equal(began, want) {
			t.Errorf("batches began at %v, want %v", began, want)
		}
	})
}

// Durable events wait for no others: those of the same clients come when these are done.
func TestDurableEventsDoNotWait(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]time.Duration{"": 2 * time.Millisecond, "e1": 0} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			k := &keeper{on: func(_ context.Context, batch []*sdk.BatchEvent) error {
				if took := time.Since(begin); took != want || len(batch) != 3 {
					t.Errorf("id %q: a batch of %d after %v, want 3 after %v", id, len(batch), took, want)
				}
				return nil
			}}
			e := sdk.BatchEvent{ID: id, Hook: sdk.MessageDelivered, Request: deliveredTo("c", "t", 1)}
			sdk.Arrive(k, e, e, e)
		})
	}
}

// Whoever no longer waits is not in the batch, and gets no answer later.
func TestBatchLeavesOutWhoGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{hooks: []sdk.Hook{sdk.MessageDelivered}}
		h := handlerOf(t, k)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := h.OnMessageDelivered(ctx, deliveredTo("c", "t", 1))
		if status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
		if _, err := h.OnMessageDelivered(t.Context(), deliveredTo("c", "t", 2)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(k.batches) != 1 || len(k.batches[0]) != 1 || k.batches[0][0].Message().GetId() != "2" {
			t.Errorf("%v", k.batches)
		}
	})
}

// A batch is bounded, by events and by bytes.
func TestBatchBounds(t *testing.T) {
	t.Parallel()
	for payload, want := range map[int]int{0: 2048, 1 << 20: 7} {
		synctest.Test(t, func(t *testing.T) {
			k := &keeper{hooks: []sdk.Hook{sdk.MessageDelivered}, on: func(context.Context, []*sdk.BatchEvent) error {
				time.Sleep(time.Second) // all the others come meanwhile
				return nil
			}}
			h := handlerOf(t, k)
			var all sync.WaitGroup
			for i := range 2*want + 2 {
				all.Go(func() {
					time.Sleep(time.Duration(min(i, 1)) * 10 * time.Millisecond)
					r := deliveredTo("c", "t", i)
					r.Message.Payload = make([]byte, payload)
					if _, err := h.OnMessageDelivered(t.Context(), r); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			var sizes []int
			for _, b := range k.batches {
				sizes = append(sizes, len(b))
			}
			if !slices.Equal(sizes, []int{1, want, want, 1}) {
				t.Errorf("batches of %v, want %d", sizes, want)
			}
		})
	}
}

// A durable event's time is that of its id; any other id says nothing.
func TestBatchEventTime(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]int64{
		"01933e5c-9a00-7000-8000-000000000000": 0x01933e5c9a00,
		"01933e5c-9a00-4000-8000-000000000000": 0, "01933e5c+9a00-7000-8000-000000000000": 0, "zz933e5c-9a00-7000-8000-000000000000": 0, "e1": 0,
	} {
		k := &keeper{hooks: []sdk.Hook{sdk.MessageDelivered}}
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("hookmux-event-id", id))
		if _, err := handlerOf(t, k).OnMessageDelivered(ctx, deliveredTo("c", "t", 1)); err != nil {
			t.Fatal(err)
		}
		at := k.batches[0][0].Time
		if want == 0 && time.Since(at) > patience || want != 0 && at.UnixMilli() != want {
			t.Errorf("%s: %s", id, at)
		}
	}
}

type onlyOnBatch struct{ base }

func (onlyOnBatch) OnBatch(context.Context, []*sdk.BatchEvent) error { return nil }

type onlyHooks struct{ base }

func (onlyHooks) BatchHooks() []sdk.Hook { return nil }

type wrongBatch struct{ onlyHooks }

func (wrongBatch) OnBatch(context.Context, []sdk.BatchEvent) error { return nil }

func TestWrongBatchPlugins(t *testing.T) {
	t.Parallel()
	for want, plugin := range map[string]any{
		"method OnBatch: the plugin has no method BatchHooks() []sdk.Hook":                      onlyOnBatch{},
		"the plugin has no method OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error":  onlyHooks{},
		"want OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error":                      wrongBatch{},
		`there is no hook "message.publsh" (did you mean "message.publish"?)`:                   &keeper{hooks: []sdk.Hook{"message.publsh"}},
		"the plugin has a method OnClientAuthorize, so client.authorize cannot come in batches": &keeper{hooks: []sdk.Hook{sdk.ClientAuthorize}},
		"message.acked is there twice":                                                          &keeper{hooks: []sdk.Hook{sdk.MessageAcked, sdk.MessageAcked}},
	} {
		if _, err := sdk.NewHandler(plugin); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %s", plugin, err, want)
		}
	}
}
