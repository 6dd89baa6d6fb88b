package devbroker

import (
	"context"
	"net"
	"testing"
)

func TestStartFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, cfg := range map[string]Config{
		"address taken": {Listen: taken.Addr().String(), ExHook: "127.0.0.1:1"},
		"bad config":    {Listen: "127.0.0.1:0"},
	} {
		if b, err := Start(context.Background(), cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = b.Close()
		}
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	p := startProvider(t, allHooks(t, "5.10.3"), asRecorder)
	b := startBroker(t, Config{ExHook: p.addr})
	for _, topic := range []string{"", "a/#", "a/+/b", "a\x00"} {
		if err := b.Publish(topic, nil, 0, false); err == nil {
			t.Errorf("published to %q", topic)
		}
	}
	if err := b.Publish("a", nil, 3, false); err == nil {
		t.Error("published with QoS 3")
	}
	if err := b.Publish("drop/1", nil, 1, false); err != nil {
		t.Errorf("refused by the provider: %v", err)
	}
	if err := b.Publish("kept", []byte("x"), 1, true); err != nil {
		t.Error(err)
	}
	c := mqtt5(t, b.Addr(), "c", "")
	c.subscribe(1, "#")
	if m := c.receive(); m.Topic != "kept" {
		t.Errorf("got %v", m)
	}
}
