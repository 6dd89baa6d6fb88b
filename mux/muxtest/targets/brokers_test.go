package targets_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
)

// What a server has taken is there after a SIGKILL, at the same address.
func TestNATSKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	s := targets.NewNATS(t)
	nc, err := nats.Connect(s.URL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		stream, err := js.Stream(ctx, "s")
		if err == nil && stream.CachedInfo().State.Msgs == 1 {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestKafkaKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	s := targets.NewKafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Start(t)
	fetched := client.PollFetches(ctx)
	for fetched.NumRecords() == 0 && ctx.Err() == nil {
		fetched = client.PollFetches(ctx)
	}
	if r := fetched.Records(); len(r) != 1 || string(r[0].Value) != "x" {
		t.Fatal(r, fetched.Err())
	}
}
