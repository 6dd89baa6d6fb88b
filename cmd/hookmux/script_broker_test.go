package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// scriptTB is as much of a test as a script's broker needs.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()                      {}
func (s scriptTB) Cleanup(f func())             { s.ts.Defer(f) }
func (s scriptTB) Fatal(args ...any)            { s.ts.Fatalf("%v", args) }
func (s scriptTB) Errorf(f string, args ...any) { s.ts.Fatalf(f, args...) }

// broker has an EMQX node call the hookmux at $PORT, and holds its answer to a login, a
// permission or a message against what the script expects ("!": refused).
func broker(ts *testscript.TestScript, refused bool, args []string) {
	t := scriptTB{ts: ts}
	b := muxtest.NewBroker(t, "127.0.0.1:"+ts.Getenv("PORT"), mux.V3)
	allowed := true
	switch verb := args[0]; {
	case verb == "load" && len(args) == 1:
		b.Load(t, "5.10.3")
	case verb == "login" && len(args) == 2:
		_, allowed = b.Authenticate(t, args[1])
	case verb == "authorize" && len(args) == 3:
		_, allowed = b.Authorize(t, args[1], args[2])
	case verb == "publish" && len(args) == 4:
		_, allowed = b.Publish(t, args[1], args[2], args[3])
	case verb == "delivered" && len(args) == 2:
		b.Delivered(t, args[1], 0)
	default:
		ts.Fatalf("usage: broker load | login CLIENT | authorize CLIENT TOPIC | publish CLIENT TOPIC PAYLOAD | delivered CLIENT")
	}
	if allowed == refused {
		ts.Fatalf("allowed: %v", allowed)
	}
}
