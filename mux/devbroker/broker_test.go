package devbroker

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: "http://" + p.addr})
	sub := mqtt5(t, b.Addr(), "sub", "alice")
	sub.subscribe(2, "t/#", "rewrite/#")
	pub := mqtt5(t, b.Addr(), "pub", "bob")
	for q := range byte(3) {
		if _, err := pub.publish(q, "rewrite/1", "hi"); err != nil {
			t.Fatal(err)
		}
		if m := sub.receive(); string(m.Payload) != "REWRITTEN" || len(m.Properties.User) > 0 {
			t.Errorf("got %v", m)
		}
		if _, err := pub.publish(q, "drop/1", "hi"); err != nil {
			t.Fatal(err)
		}
	}
	p.await(t, "OnMessageAcked", 2)
	pub.leave(0)
	p.await(t, "OnSessionTerminated", 1)
	t.Log(p.rpcs())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	p.await(t, "OnProviderUnloaded", 1)
}
