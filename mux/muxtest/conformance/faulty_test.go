package conformance_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	"github.com/hookmux/hookmux/proto/batch"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// faulty is a plugin for app protocol 2 with one fault; without one it is good
// enough for most checks.
type faulty struct {
	plugin.NetRPCUnsupportedPlugin
	fault string
}

// The faults, each named after what an author might do.
const (
	forgetsReplies   = "forgets to reply to what is canceled"
	repliesTwice     = "replies twice"
	besideEachOther  = "handles a client's events beside each other"
	smallMessages    = "keeps the default limit of 4 MB"
	endsOnGarbage    = "ends the stream for a request that does not decode"
	oneQueue         = "lets decisions wait for notifications"
	ignoresHalfClose = "forgets what is under way at a half-close"
	staysForever     = "does not end"
	outlivesParent   = "outlives its parent"
	listensToTCP     = "listens on TCP"
	declaresNothing  = "declares no hook"
	misspells        = "misspells a hook"
	badFilter        = "declares an invalid filter"
	wrongAnswer      = "decides without a value"
	chatty           = "prints to stdout"
	busyWaits        = "burns CPU"
	diesOfGarbage    = "dies of garbage"
)

// TestFaults: each fault is found by the check that is there for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault, check string
		outcome      conformance.Outcome
	}{
		{forgetsReplies, "cancellation", conformance.Failed},
		{repliesTwice, "one reply each", conformance.Failed},
		{besideEachOther, "order", conformance.Failed},
		{smallMessages, "large messages", conformance.Failed},
		{endsOnGarbage, "garbage", conformance.Failed},
		{oneQueue, "overload", conformance.Failed},
		{ignoresHalfClose, "half-close", conformance.Failed},
		{staysForever, "Shutdown", conformance.Failed},
		{staysForever, "SIGTERM", conformance.Failed},
		{outlivesParent, "parent's death", conformance.Failed},
		{listensToTCP, "start", conformance.Failed},
		{declaresNothing, "declared hooks", conformance.Failed},
		{misspells, "start", conformance.Failed},
		{badFilter, "declared hooks", conformance.Failed},
		{wrongAnswer, "every hook", conformance.Failed},
		{chatty, "noisy stdout", conformance.Note},
		{busyWaits, "idle", conformance.Note},
		{diesOfGarbage, "garbage", conformance.Failed},
	} {
		t.Run(tt.fault+", found by "+tt.check, func(t *testing.T) {
			t.Parallel()
			only := []string{tt.check}
			if tt.check == "one reply each" { // of those before it
				only = append(only, "every hook")
			}
			r := run(t, conformance.Options{
				Command: append(muxtest.Command(t), "faulty", tt.fault), Protocol: handshake.Stream, Only: only, Patience: 2 * time.Second,
			})
			c := r.Checks[len(r.Checks)-1]
			if c.Name != tt.check || c.Outcome != tt.outcome {
				t.Errorf("%s: %s: %s", c.Name, c.Outcome, c.Text)
			}
		})
	}
}

func (f faulty) serve() {
	switch f.fault {
	case listensToTCP:
		fmt.Println("1|2|tcp|127.0.0.1:1|grpc")
		select {}
	case staysForever:
		signal.Ignore(syscall.SIGTERM)
	case busyWaits:
		go func() {
			for { //nolint:revive,staticcheck // that is the fault
			}
		}()
	}
	if f.fault != outlivesParent {
		parent := os.Getppid()
		go func() {
			for os.Getppid() == parent {
				time.Sleep(10 * time.Millisecond)
			}
			os.Exit(1)
		}()
	}
	limit := math.MaxInt32
	if f.fault == smallMessages {
		limit = 4 << 20
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{handshake.Stream: {handshake.PluginName: f}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(rawcodec.New()), grpc.MaxRecvMsgSize(limit))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	if f.fault == staysForever {
		select {}
	}
}

func (f faulty) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (f faulty) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	desc := pluginv1.Plugin_ServiceDesc
	desc.HandlerType, desc.Streams = (*any)(nil), nil
	var decisions sync.Mutex
	for _, d := range pluginv1.Plugin_ServiceDesc.Streams {
		d.Handler = func(_ any, stream grpc.ServerStream) error {
			return f.stream(stream, d.StreamName == "Notify", &decisions)
		}
		desc.Streams = append(desc.Streams, d)
	}
	s.RegisterService(&desc, f)
	return nil
}

// stream answers one batch after another.
func (f faulty) stream(stream grpc.ServerStream, notify bool, decisions *sync.Mutex) error {
	for {
		var in rawcodec.Message
		if err := stream.RecvMsg(&in); err != nil {
			if f.fault != ignoresHalfClose {
				return nil
			}
			return err
		}
		if f.fault == oneQueue && notify {
			decisions.Lock()
			time.Sleep(20 * time.Second) // for good, as far as the suite's patience goes
		} else if f.fault == oneQueue {
			decisions.Lock()
			decisions.Unlock() //nolint:staticcheck // who holds it, holds this up
		}
		var out []byte
		var events []batch.Event
		canceled := map[uint64]bool{}
		err := batch.ReadEvents(in, func(e *batch.Event) { events = append(events, *e) }, func(id uint64) { canceled[id] = true })
		if err != nil {
			return err
		}
		if f.fault == besideEachOther && notify && len(events) > 1000 {
			for i := len(events) - 1; i >= 0; i-- { // as bad luck would have it
				if err := stream.SendMsg(rawcodec.Message(batch.AppendDone(nil, events[i].ID))); err != nil {
					return err
				}
			}
			continue
		}
		if f.fault == ignoresHalfClose && len(events) == 500 {
			events = events[:100]
		}
		for _, e := range events {
			if f.fault == forgetsReplies && canceled[e.ID] {
				continue
			}
			r, err := f.reply(&e)
			if err != nil {
				return err
			}
			out = batch.AppendReply(out, &r)
			if f.fault == repliesTwice {
				out = batch.AppendReply(out, &r)
			}
		}
		if err := stream.SendMsg(rawcodec.Message(out)); err != nil {
			return err
		}
	}
}

func (f faulty) reply(e *batch.Event) (batch.Reply, error) {
	r := batch.Reply{ID: e.ID}
	h := mux.Hook(e.Hook - 1)
	if f.fault == chatty {
		_, _ = syscall.Write(1, []byte("here I am\n")) // os.Stdout is go-plugin's by now
	}
	switch {
	case h == mux.ProviderLoaded:
		hooks := []string{"client.authenticate", "client.connected"}
		switch f.fault {
		case declaresNothing:
			hooks = nil
		case misspells:
			hooks = []string{"client.conected"}
		}
		r.Answer = loaded(hooks, f.fault == badFilter)
	case e.Hook > 100 || len(e.Request) == 3:
		switch f.fault {
		case diesOfGarbage:
			os.Exit(1)
		case endsOnGarbage:
			return r, fmt.Errorf("I cannot decode this")
		}
		r.Error = "what is this?"
	case h == mux.ClientAuthenticate && f.fault == wrongAnswer:
		r.Answer = []byte{8, 2} // STOP_AND_RETURN, and nothing else
	case h == mux.ClientAuthenticate:
		r.Answer = []byte{8, 1} // IGNORE
	}
	return r, nil
}

func loaded(hooks []string, badFilter bool) []byte {
	var r exhookv3.LoadedResponse
	for _, h := range hooks {
		r.Hooks = append(r.Hooks, &exhookv3.HookSpec{Name: h})
	}
	if badFilter {
		r.Hooks = append(r.Hooks, &exhookv3.HookSpec{Name: "message.publish", Topics: []string{"a/#/b"}})
	}
	b, err := proto.Marshal(&r)
	if err != nil {
		panic(err)
	}
	return b
}
