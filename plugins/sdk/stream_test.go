package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
	"github.com/hookmux/hookmux/proto/batch"
	"github.com/hookmux/hookmux/proto/handshake"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

const (
	deliveredHook    = uint64(pluginv1.Hook_HOOK_MESSAGE_DELIVERED)
	authenticateHook = uint64(pluginv1.Hook_HOOK_CLIENT_AUTHENTICATE)
	publishHook      = uint64(pluginv1.Hook_HOOK_MESSAGE_PUBLISH)
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// delivered is the nth notification of a client, which does as the topic says.
func delivered(t *testing.T, client, topic string, n int) []byte {
	t.Helper()
	return encode(t, &sdk.MessageDeliveredRequest{Message: &sdk.Message{From: client, Topic: topic, Id: fmt.Sprint(n)}})
}

func (h *host) report(t *testing.T) (r report) {
	t.Helper()
	res, err := h.calls.OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: "report"}})
	if err == nil {
		err = json.Unmarshal(res.GetMessage().GetPayload(), &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next waits for a reply.
func next(t *testing.T, replies <-chan batch.Reply) batch.Reply {
	t.Helper()
	select {
	case r := <-replies:
		return r
	case <-time.After(patience):
		t.Fatal("no reply")
		return batch.Reply{}
	}
}

func TestStreamOrderOfABurst(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	const events, clients = 10_000, 64
	replies := make(chan batch.Reply, events)
	var burst []byte
	for i := range events {
		topic, client := "quick", fmt.Sprint("client-", i%clients)
		if i < clients {
			topic = "meet" // holds its client's others up until two meet
		}
		burst = batch.AppendEvent(burst, &batch.Event{
			ID: h.streams.notify.expect(replies), Hook: deliveredHook, Key: []byte(client), Request: delivered(t, client, topic, i),
		})
	}
	if err := h.streams.notify.send(burst); err != nil {
		t.Fatal(err)
	}
	for range events {
		if r := next(t, replies); r.Error != "" || r.Answer != nil {
			t.Fatalf("%+v", r)
		}
	}
	if r := h.report(t); r != (report{Count: events, Concurrently: true}) {
		t.Errorf("%+v", r)
	}
	if n := h.streams.notify.received(); n > events/10 {
		t.Errorf("%d replies in %d batches", events, n)
	}
	h.end(t)
}

// Notifications that hang, more than the plugin reads at all, are no reason for
// a decision to wait, nor for the plugin to stay.
func TestStreamStuckNotifications(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	for i := range 300 {
		var b []byte
		for j := range 100 {
			b = batch.AppendEvent(b, &batch.Event{
				ID: uint64(i*100 + j + 1), Hook: deliveredHook, Key: []byte(fmt.Sprint(j)), Request: delivered(t, fmt.Sprint(j), "hang for good", i),
			})
		}
		go func() { _ = h.streams.notify.send(b) }() // blocks once nobody reads
	}
	for h.report(t).Count < 16 { // all workers hang
	}
	for range 100 {
		if res, err := h.calls.OnClientAuthenticate(t.Context(), user("x")); err != nil || !res.GetBoolResult() {
			t.Fatal(res, err)
		}
	}
	if r := h.report(t); r.Count != 16 || r.Overlapping != 0 {
		t.Errorf("%+v", r)
	}
	h.end(t)
}

// A decision does not wait for others either, also in one batch.
func TestStreamDecisionsBesideEachOther(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	s := h.streams.decide
	slow, quick := make(chan batch.Reply, 200), make(chan batch.Reply, 1)
	var b, canceled []byte
	for range cap(slow) {
		id := s.expect(slow)
		b = batch.AppendEvent(b, &batch.Event{ID: id, Hook: authenticateHook, Request: encode(t, user("wait"))})
		canceled = batch.AppendCanceled(canceled, id)
	}
	b = batch.AppendEvent(b, &batch.Event{ID: s.expect(quick), Hook: authenticateHook, Request: encode(t, user("x"))})
	if err := s.send(b); err != nil {
		t.Fatal(err)
	}
	if r := next(t, quick); r.Error != "" {
		t.Errorf("%+v", r)
	}
	if err := s.send(canceled); err != nil {
		t.Fatal(err)
	}
	for range cap(slow) {
		if r := next(t, slow); r.Error != "context canceled" {
			t.Fatalf("%+v", r)
		}
	}
	h.end(t)
}

func TestStreamDeadlineAndCancel(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	for s, e := range map[*clientStream]batch.Event{
		h.streams.decide: {Hook: authenticateHook, Request: encode(t, user("wait"))},
		h.streams.notify: {Hook: deliveredHook, Request: delivered(t, "c", "hang", 1), Key: []byte("c")},
	} {
		late, unwanted := make(chan batch.Reply, 1), make(chan batch.Reply, 2)
		e.ID, e.TimeoutUs = s.expect(late), 20_000
		b := batch.AppendEvent(nil, &e)
		e.ID, e.TimeoutUs = s.expect(unwanted), 1<<63 // more than a time.Duration holds
		b = batch.AppendEvent(b, &e)
		canceled := batch.AppendCanceled(nil, e.ID)
		e.ID, e.TimeoutUs = s.expect(unwanted), 0
		b = batch.AppendEvent(b, &e) // on Notify still queued when it is canceled
		canceled = batch.AppendCanceled(batch.AppendCanceled(canceled, e.ID), 12345)
		if err := s.send(b); err != nil {
			t.Fatal(err)
		}
		if r := next(t, late); r.Error != "context deadline exceeded" {
			t.Errorf("%+v", r)
		}
		if err := s.send(canceled); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if r := next(t, unwanted); r.Error != "context canceled" {
				t.Errorf("%+v", r)
			}
		}
	}
	h.end(t)
}

func TestStreamErrorsOfNotifications(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	for _, tt := range []struct {
		e    batch.Event
		want string
	}{
		{batch.Event{Hook: deliveredHook, Request: delivered(t, "c", "panic", 1)}, "OnMessageDelivered panicked: at the disco"},
		{batch.Event{Hook: deliveredHook, Request: delivered(t, "c", "empty error", 2)}, "OnMessageDelivered failed without saying why"},
		{batch.Event{Hook: deliveredHook, Request: []byte{0xff}}, "OnMessageDelivered: decoding the request: "},
		{batch.Event{Hook: 99}, "hook 99 is not known to this plugin"},
		{batch.Event{}, "hook 0 is not known to this plugin"},
		{batch.Event{Hook: deliveredHook, Request: delivered(t, "c", "quick", 3)}, ""},
		{batch.Event{Hook: uint64(pluginv1.Hook_HOOK_SESSION_CREATED)}, ""}, // the plugin has no method
	} {
		for _, s := range []*clientStream{h.streams.notify, h.streams.decide} {
			replies := make(chan batch.Reply, 1)
			tt.e.ID, tt.e.Key = s.expect(replies), []byte("c")
			if err := s.send(batch.AppendEvent(nil, &tt.e)); err != nil {
				t.Fatal(err)
			}
			if r := next(t, replies); !strings.HasPrefix(r.Error, tt.want) || (r.Error == "") != (tt.want == "") || r.Answer != nil {
				t.Errorf("%+v, want %q", r, tt.want)
			}
		}
	}
	h.stderr.line(t, "panic in the plugin")
	h.end(t)
}

// Fields from the future are skipped, in the batch and in the event.
func TestStreamUnknownFields(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	s, replies := h.streams.decide, make(chan batch.Reply, 1)
	e := encode(t, &pluginv1.Event{Id: s.expect(replies), Hook: pluginv1.Hook(authenticateHook), Request: encode(t, user("x"))})
	e = protowire.AppendString(protowire.AppendTag(e, 77, protowire.BytesType), "new")
	b := protowire.AppendFixed64(protowire.AppendTag(nil, 78, protowire.Fixed64Type), 1)
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), e)
	if err := s.send(b); err != nil {
		t.Fatal(err)
	}
	if r := next(t, replies); r.Error != "" || len(r.Answer) == 0 {
		t.Errorf("%+v", r)
	}
	h.end(t)
}

func TestStreamMalformedBatch(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	if err := h.streams.notify.send([]byte{0x0a, 0x7f}); err != nil {
		t.Fatal(err)
	}
	<-h.streams.notify.ended
	if status.Code(h.streams.notify.err) != codes.InvalidArgument {
		t.Error(h.streams.notify.err)
	}
	if _, err := h.calls.OnClientAuthenticate(t.Context(), user("x")); err != nil {
		t.Errorf("the other stream: %v", err)
	}
	h.end(t)
}

func TestStreamCrash(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	if _, err := h.streams.notify.call(t.Context(), pluginv1.Hook(deliveredHook), nil, delivered(t, "c", "exit", 1)); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	<-h.streams.decide.ended
}

// What is under way is answered before the streams end, and they end well.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	t.Run("SIGTERM", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, handshake.Stream, "all-round")
		s, replies := h.streams.decide, make(chan batch.Reply, 1)
		if err := s.send(batch.AppendEvent(nil, &batch.Event{ID: s.expect(replies), Hook: authenticateHook, Request: encode(t, user("until stopped"))})); err != nil {
			t.Fatal(err)
		}
		h.stderr.line(t, "in the handler")
		if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r := next(t, replies); r.Error != "" {
			t.Errorf("%+v", r)
		}
		for _, s := range []*clientStream{h.streams.decide, h.streams.notify} {
			<-s.ended
			if !errors.Is(s.err, io.EOF) {
				t.Error(s.err)
			}
		}
		h.end(t)
	})
	t.Run("by the host", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, handshake.Stream, "recorder")
		s, replies := h.streams.notify, make(chan batch.Reply, 10)
		var b []byte
		for i := range cap(replies) {
			b = batch.AppendEvent(b, &batch.Event{ID: s.expect(replies), Hook: deliveredHook, Key: []byte("c"), Request: delivered(t, "c", "quick", i)})
		}
		if err := errors.Join(s.send(b), s.stream.CloseSend()); err != nil {
			t.Fatal(err)
		}
		for range cap(replies) {
			next(t, replies)
		}
		<-s.ended
		if !errors.Is(s.err, io.EOF) {
			t.Error(s.err)
		}
		h.end(t)
	})
}

// A host that sends but does not read is one that the plugin stops reading from,
// before that costs much memory.
func TestStreamSlowReader(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conn := h.streams.conn
	s := openStream(t, conn, "Decide", false)
	request := encode(t, &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: "echo", Payload: bytes.Repeat([]byte{7}, 64<<10)}})
	const most = 2 << 30 // never reached
	var sent atomic.Int64
	progress, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		for id := uint64(1); sent.Load() < most && ctx.Err() == nil; id++ {
			if s.send(batch.AppendEvent(nil, &batch.Event{ID: id, Hook: publishHook, Request: request})) != nil {
				return
			}
			sent.Add(int64(len(request)))
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	for stalled := false; !stalled; {
		select {
		case <-progress:
		case <-time.After(time.Second):
			stalled = true
		}
	}
	if n := sent.Load(); n > 100<<20 {
		t.Errorf("%d MB were taken", n>>20)
	}
	for range 100 { // other streams are not affected
		if _, err := h.calls.OnClientAuthenticate(t.Context(), user("x")); err != nil {
			t.Fatal(err)
		}
	}
	if rss := residentMemory(t, h.cmd.Process.Pid); rss > 1<<30 { // the race detector takes its share
		t.Errorf("%d MB resident", rss>>20)
	}
	s.end()
	<-done
	h.end(t)
}

// residentMemory is a process's, in bytes; 0 where that is not to be had.
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize()
}

// The table of methods has every hook that there is.
func TestStreamKnowsEveryHook(t *testing.T) {
	t.Parallel()
	h := startHost(t, handshake.Stream, "recorder")
	for n := range pluginv1.Hook_name {
		hook := pluginv1.Hook(n)
		if hook == pluginv1.Hook_HOOK_UNSPECIFIED {
			continue
		}
		s := h.streams.notify
		if slices.Contains(decided, hook) {
			s = h.streams.decide
		}
		if _, err := s.call(t.Context(), hook, nil, nil); err != nil && hook != pluginv1.Hook_HOOK_MESSAGE_PUBLISH {
			t.Errorf("%s: %v", hook, err)
		}
	}
	h.end(t)
}
