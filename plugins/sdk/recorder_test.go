package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// recorder is a plugin that does as a notification's topic says, and keeps
// account of the order in which they came.
type recorder struct {
	mu       sync.Mutex
	report   report
	last     map[string]int
	running  map[string]bool
	together chan struct{} // closed when two ran beside each other
}

// report is what the recorder answers message.publish with.
type report struct {
	Count        int
	OutOfOrder   int  // came before an earlier one of their key
	Overlapping  int  // began while another of their key was running
	Concurrently bool // at least two at a time
}

func (r *recorder) Start(context.Context) error {
	r.last, r.running, r.together = make(map[string]int), make(map[string]bool), make(chan struct{})
	return nil
}

func (r *recorder) OnMessageDelivered(ctx context.Context, req *sdk.MessageDeliveredRequest) error {
	m := req.GetMessage()
	r.enter(m)
	defer r.leave(m)
	switch m.GetTopic() {
	case "meet":
		select {
		case <-r.together:
		case <-ctx.Done():
			return ctx.Err()
		}
	case "hang":
		slog.Info("in the handler")
		<-ctx.Done()
		return ctx.Err()
	case "hang for good":
		select {}
	case "panic":
		panic("at the disco")
	case "exit":
		os.Exit(3)
	case "empty error":
		return errors.New("")
	}
	return nil
}

func (r *recorder) enter(m *sdk.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, _ := strconv.Atoi(m.GetId())
	r.report.Count++
	if n < r.last[m.GetFrom()] {
		r.report.OutOfOrder++
	}
	r.last[m.GetFrom()] = n
	if r.running[m.GetFrom()] {
		r.report.Overlapping++
	}
	r.running[m.GetFrom()] = true
	if len(r.running) > 1 && !r.report.Concurrently {
		r.report.Concurrently = true
		close(r.together)
	}
}

func (r *recorder) leave(m *sdk.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, m.GetFrom())
}

func (r *recorder) OnMessagePublish(_ context.Context, req *sdk.MessagePublishRequest) (sdk.Answer, error) {
	if req.GetMessage().GetTopic() == "echo" {
		return sdk.Rewrite(req.GetMessage()), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	req.Message.Payload, err = json.Marshal(r.report)
	return sdk.Rewrite(req.GetMessage()), err
}

func (r *recorder) OnClientAuthenticate(ctx context.Context, req *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	if req.GetClientinfo().GetUsername() == "wait" {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return sdk.Allow, nil
}
