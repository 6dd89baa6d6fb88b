package batch_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hookmux/hookmux/proto/batch"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// What is appended here is what the generated code reads, and the other way
// around.
func TestEventsAgreeWithTheGeneratedCode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &pluginv1.Events{Canceled: rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, "canceled")}
		var b []byte
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			e := batch.Event{
				ID: rapid.Uint64().Draw(t, "id"), Hook: rapid.Uint64Range(0, 22).Draw(t, "hook"), TimeoutUs: rapid.Uint64().Draw(t, "timeout"),
				Key: rapid.SliceOf(rapid.Byte()).Draw(t, "key"), Request: rapid.SliceOf(rapid.Byte()).Draw(t, "request"),
				EventID: rapid.StringMatching("[a-z0-9]*").Draw(t, "event id"),
			}
			b = batch.AppendEvent(b, &e)
			want.Events = append(want.Events, &pluginv1.Event{Id: e.ID, Hook: pluginv1.Hook(e.Hook), TimeoutUs: e.TimeoutUs, Key: e.Key, Request: e.Request, EventId: e.EventID})
		}
		for _, id := range want.Canceled {
			b = batch.AppendCanceled(b, id)
		}
		var got pluginv1.Events
		if err := proto.Unmarshal(b, &got); err != nil || !proto.Equal(&got, want) {
			t.Fatalf("%v: generated code read %v, want %v", err, &got, want)
		}

		theirs, _ := proto.Marshal(want)
		var again []byte
		var canceled []uint64
		if err := batch.ReadEvents(theirs, func(e *batch.Event) { again = batch.AppendEvent(again, e) }, func(id uint64) { canceled = append(canceled, id) }); err != nil {
			t.Fatal(err)
		}
		for _, id := range canceled {
			again = batch.AppendCanceled(again, id)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("read %x back as %x", b, again)
		}
	})
}

func TestRepliesAgreeWithTheGeneratedCode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &pluginv1.Replies{Done: rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, "done")}
		var b []byte
		for range rapid.IntRange(0, 4).Draw(t, "replies") {
			r := batch.Reply{ID: rapid.Uint64().Draw(t, "id"), Answer: rapid.SliceOf(rapid.Byte()).Draw(t, "answer"), Error: rapid.StringMatching("[a-z]*").Draw(t, "error"), Unavailable: rapid.Bool().Draw(t, "unavailable")}
			b = batch.AppendReply(b, &r)
			want.Replies = append(want.Replies, &pluginv1.Reply{Id: r.ID, Answer: r.Answer, Error: r.Error, Unavailable: r.Unavailable})
		}
		for _, id := range want.Done {
			b = batch.AppendDone(b, id)
		}
		var got pluginv1.Replies
		if err := proto.Unmarshal(b, &got); err != nil || !proto.Equal(&got, want) {
			t.Fatalf("%v: generated code read %v, want %v", err, &got, want)
		}
		n := 0
		theirs, _ := proto.Marshal(want)
		if err := batch.ReadReplies(theirs, func(*batch.Reply) { n++ }); err != nil || n != len(want.Replies)+len(want.Done) {
			t.Fatalf("read %d replies, %v", n, err)
		}
	})
}

// Whatever comes, reading ends without a panic, and agrees with the generated
// code on what is no message at all.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(batch.AppendEvent(nil, &batch.Event{ID: 1, Hook: 7, Request: []byte("x")}))
	f.Add(batch.AppendReply(batch.AppendDone(nil, 5), &batch.Reply{ID: 1, Error: "no"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := batch.ReadEvents(b, func(*batch.Event) {}, func(uint64) {})
		if generated := proto.Unmarshal(b, new(pluginv1.Events)); generated == nil && err != nil {
			t.Errorf("generated code reads it, this does not: %v", err)
		}
		_ = batch.ReadReplies(b, func(*batch.Reply) {})
	})
}
