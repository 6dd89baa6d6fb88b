package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// checkBatchHooks holds that what comes in batches are hooks, and have no method.
func checkBatchHooks(plugin any) error {
	_, lists := plugin.(interface{ BatchHooks() []Hook })
	p, ok := plugin.(BatchHook)
	switch row, _ := rowOfMethod("OnBatch"); {
	case lists && !ok:
		return fmt.Errorf("method BatchHooks: the plugin has no method %s", row.signature())
	case !lists && row.has(plugin):
		return errors.New("method OnBatch: the plugin has no method BatchHooks() []sdk.Hook, which says what comes in batches")
	case !ok:
		return nil
	}
	listed := make(map[Hook]bool)
	for _, hook := range p.BatchHooks() {
		row, ok := rowOf(hook)
		switch {
		case !ok:
			return fmt.Errorf("method BatchHooks: there is no hook %q%s", hook, didYouMean(string(hook), allHooks()))
		case row.has(plugin):
			return fmt.Errorf("method BatchHooks: the plugin has a method %s, so %s cannot come in batches", row.method, hook)
		case listed[hook]:
			return fmt.Errorf("method BatchHooks: %s is there twice", hook)
		}
		listed[hook] = true
	}
	return nil
}

func allHooks() []string {
	var names []string
	for _, r := range rows {
		if r.name != "" {
			names = append(names, string(r.name))
		}
	}
	return names
}

// batchRow is what a stream needs to know of a hook that comes in batches.
type batchRow struct {
	hook   Hook
	answer []byte // to an event that is done
	new    func() proto.Message
}

// batchTable has the row of each pluginv1.Hook that comes in batches.
type batchTable map[uint64]*batchRow

func newBatchTable(b *batcher) batchTable {
	table := make(batchTable)
	requests := exhookv3.File_emqx_exhook_v3_exhook_proto.Package()
	for _, r := range rows {
		if !b.takes(r.name) {
			continue
		}
		number := pluginv1.Hook_value["HOOK_"+strings.ToUpper(strings.ReplaceAll(string(r.name), ".", "_"))]
		row := &batchRow{hook: r.name}
		typ, err := protoregistry.GlobalTypes.FindMessageByName(requests.Append(protoreflect.Name(strings.TrimPrefix(r.method, "On") + "Request")))
		if err != nil {
			panic(err) // the table of hooks and the .proto disagree
		}
		row.new = func() proto.Message { return typ.New().Interface() }
		if r.kind != nothing {
			row.answer, _ = ignoring(context.Background(), nil, nil)
		}
		table[uint64(number)] = row
	}
	return table
}

// batched puts a stream's event into a batch.
func (s *stream) batched(row *batchRow, e *event, now time.Time, timeoutUs uint64) {
	i := &batchItem{
		BatchEvent: BatchEvent{ID: e.eventID, Hook: row.hook, Time: eventTime(e.eventID, now)},
		bytes:      len(e.request),
		arrived:    now,
		event:      e,
		over:       func() bool { return e.Err() != nil },
		flush:      s.replies.wakeWriter,
	}
	if timeoutUs > 0 {
		i.timeout = deadline(now, timeoutUs).Sub(now)
	}
	i.decode = func() (proto.Message, error) {
		r := row.new()
		return r, unmarshal(e.request, r)
	}
	i.done = func(err error) {
		e.end()
		if err != nil {
			s.replies.add(e, nil, err)
			return
		}
		s.replies.add(e, row.answer, nil)
	}
	s.batches.add(i)
}

// batched puts an event into a batch and waits for it. It answers nil at once if the
// hook does not come in batches.
func (h *handler) batched(ctx context.Context, hook Hook, r proto.Message) error {
	if !h.batches.takes(hook) {
		return nil
	}
	if !h.calls.enter() {
		return status.Error(codes.Unavailable, "the plugin is stopping")
	}
	defer h.calls.leave()
	done := make(chan error, 1)
	id, now := EventID(ctx), time.Now()
	i := &batchItem{
		BatchEvent: BatchEvent{ID: id, Hook: hook, Time: eventTime(id, now), Request: r},
		bytes:      proto.Size(r),
		arrived:    now,
		over:       func() bool { return ctx.Err() != nil },
		done:       func(err error) { done <- err },
	}
	if until, ok := ctx.Deadline(); ok {
		i.timeout = until.Sub(now)
	}
	h.batches.add(i)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return toStatus(fmt.Errorf("OnBatch: %w", ctx.Err()))
	}
}

// acknowledged answers a notification that the plugin has no method for.
func (h *handler) acknowledged(ctx context.Context, hook Hook, r proto.Message) (*exhookv3.EmptySuccess, error) {
	if err := h.batched(ctx, hook, r); err != nil {
		return nil, err
	}
	return &exhookv3.EmptySuccess{}, nil
}

// unanswered answers a valued hook that the plugin has no method for.
func (h *handler) unanswered(ctx context.Context, hook Hook, r proto.Message) (*exhookv3.ValuedResponse, error) {
	if err := h.batched(ctx, hook, r); err != nil {
		return nil, err
	}
	return ignored(), nil
}
