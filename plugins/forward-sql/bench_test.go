package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// BenchmarkPostgres is what storing costs beside COPY by itself: the same 2,048 messages of
// 256 bytes to the same kind of table, in turns, each by the plugin and by pgx alone with what the
// rows are made of at hand. x-copy is the ratio of the medians.
func BenchmarkPostgres(b *testing.B) {
	url := targets.Postgres(b).URL
	p := &plugin{config: defaults()}
	plugintest.Configure(b, fmt.Sprintf(`{"url": %q}`, url), &p.config)
	if err := p.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer p.Stop(b.Context())
	plain, err := newTable("plain_copy", p.db)
	if err != nil {
		b.Fatal(err)
	}
	if err := plain.create(b.Context()); err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())

	const events = 2048
	payload := make([]byte, 256)
	batch := make([]*sdk.BatchEvent, events)
	rows := make([][]any, events)
	var forward, bare []time.Duration
	n := 0
	for b.Loop() {
		for i := range batch {
			n++
			id := fmt.Sprintf("%036d", n)
			m := &sdk.Message{Id: id, From: "device-1", Topic: "sensors/1/raw", Qos: 1, Payload: payload, Timestamp: 1_700_000_000_000, Headers: map[string]string{"username": "u"}}
			batch[i] = &sdk.BatchEvent{ID: id, Hook: sdk.MessagePublish, Client: "device-1", Request: &sdk.MessagePublishRequest{Message: m, Meta: &sdk.RequestMeta{Node: "emqx@127.0.0.1"}}}
			rows[i] = []any{id, time.Unix(1_700_000_000, 0), "message.publish", "emqx@127.0.0.1", "device-1", "u", nil, "sensors/1/raw", int32(1), payload, id, nil, nil}
		}
		begin := time.Now()
		if err := p.OnBatch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		if _, err := conn.CopyFrom(b.Context(), pgx.Identifier{"plain_copy"}, columns, pgx.CopyFromRows(rows)); err != nil {
			b.Fatal(err)
		}
		forward, bare = append(forward, between.Sub(begin)), append(bare, time.Since(between))
	}
	var count int
	if err := conn.QueryRow(b.Context(), "SELECT count(*) FROM mqtt_events").Scan(&count); err != nil || count != n {
		b.Fatalf("%d of %d messages are stored: %v", count, n, err)
	}
	b.ReportMetric(0, "ns/op") // of both together it says nothing
	b.ReportMetric(float64(events)/median(forward).Seconds(), "events/s")
	b.ReportMetric(median(forward).Seconds()/median(bare).Seconds(), "x-copy")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
