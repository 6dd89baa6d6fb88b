package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type plugin struct {
	config config
	topic  *event.Template
	client *kgo.Client

	// missing are topics that were not there a moment ago, and until when that is believed.
	// Only one OnBatch runs at a time, and nothing else uses it.
	missing map[string]time.Time
}

// Start checks the config. A cluster that is away now is none of its problems.
func (p *plugin) Start(ctx context.Context) (err error) {
	options, err := p.config.options()
	if err != nil {
		return err
	}
	if p.topic, err = event.ParseTemplate(p.config.Topic, rules); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	if p.client, err = kgo.NewClient(options...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := p.client.Ping(ctx); err != nil {
		slog.Warn("Kafka does not answer yet", "error", err.Error())
	}
	return nil
}

func (p *plugin) Stop(context.Context) error {
	p.client.Close()
	return nil
}

// OnBatch returns when the brokers have confirmed all records, or with what they did not.
// The client keeps the order within a partition, also when it tries again by itself.
func (p *plugin) OnBatch(ctx context.Context, batch []*sdk.BatchEvent) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // if there is no deadline yet
	defer cancel()
	var records []*kgo.Record
	events := make(map[*kgo.Record]*event.Event, len(batch))
	all := event.All(batch)
	for i := range all {
		r, err := p.record(&all[i])
		if err != nil {
			all[i].Fail(err)
			continue
		}
		if time.Now().Before(p.missing[r.Topic]) {
			all[i].Fail(p.explained(r, kerr.UnknownTopicOrPartition))
			continue
		}
		records = append(records, r)
		events[r] = &all[i]
	}
	p.produce(ctx, records, func(r *kgo.Record, err error) {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			p.forget(r.Topic)
		}
		events[r].Fail(p.explained(r, err))
	})
	return nil
}

// believed is for how long a missing topic is not asked for again: each question holds up
// the events beside it.
const believed = 2 * time.Second

// forget has the client not look for a missing topic, until an event comes for it again.
func (p *plugin) forget(topic string) {
	now := time.Now()
	if now.Before(p.missing[topic]) {
		return
	}
	maps.DeleteFunc(p.missing, func(_ string, until time.Time) bool { return !now.Before(until) })
	if p.missing == nil {
		p.missing = make(map[string]time.Time)
	}
	p.missing[topic] = now.Add(believed)
	p.client.PurgeTopicsFromProducing(topic)
}

// produce writes records, and tells of each that failed.
func (p *plugin) produce(ctx context.Context, records []*kgo.Record, fail func(*kgo.Record, error)) {
	for len(records) > 0 {
		n := p.fitting(records)
		p.produceSome(ctx, records[:n], fail)
		records = records[n:]
	}
}

// fitting is how many of the records are surely one batch in Kafka, in each of their
// partitions. What is refused is then refused as a whole, and no later record of a client is there
// when the earlier ones are sent again.
func (p *plugin) fitting(records []*kgo.Record) int {
	bytes := batchOverhead
	for n, r := range records {
		bytes += len(r.Key) + len(r.Value) + recordOverhead
		for _, h := range r.Headers {
			bytes += len(h.Key) + len(h.Value) + headerOverhead
		}
		if n > 0 && bytes > int(p.config.MaxMessage) {
			return n
		}
	}
	return len(records)
}

// At most that many bytes in Kafka's format, besides the names and values.
const (
	batchOverhead  = 128
	recordOverhead = 64
	headerOverhead = 16
)

// produceSome writes records at once or, if a broker refuses them for what is in them, each half
// for itself: it refuses a batch as a whole, as when a topic takes less at once than
// max_message, and says not which record it was.
func (p *plugin) produceSome(ctx context.Context, records []*kgo.Record, fail func(*kgo.Record, error)) {
	refused := make(map[*kgo.Record]error)
	for _, res := range p.client.ProduceSync(ctx, records...) {
		switch {
		case res.Err == nil:
		case aboutRecords(res.Err):
			refused[res.Record] = res.Err
		default:
			fail(res.Record, res.Err)
		}
	}
	again := make([]*kgo.Record, 0, len(refused))
	for _, r := range records { // in their order
		if refused[r] != nil {
			again = append(again, r)
		}
	}
	switch len(again) {
	case 0:
	case 1:
		fail(again[0], refused[again[0]])
	default:
		p.produceSome(ctx, again[:len(again)/2], fail)
		p.produceSome(ctx, again[len(again)/2:], fail)
	}
}

// aboutRecords says that a record of the batch is at fault, or that there are too many.
func aboutRecords(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.InvalidTimestamp)
}

func (p *plugin) record(e *event.Event) (*kgo.Record, error) {
	value, err := e.Value()
	if err != nil {
		return nil, err
	}
	r := &kgo.Record{Topic: p.topic.Fill(e), Value: value, Timestamp: e.At}
	if e.Client != "" { // events of no client may go to any partition
		r.Key = []byte(e.Client)
	}
	e.Headers(func(name, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "mqtt-" + name, Value: []byte(value)})
	})
	return r, nil
}

// explained is what an event is told; an error that is not about the event says that Kafka is away, or
// is not ready for it.
func (p *plugin) explained(r *kgo.Record, err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition) && p.config.CreateTopics:
		return sdk.Unavailable(fmt.Errorf("write to Kafka: there is no topic %s, and the brokers did not make it", r.Topic))
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return sdk.Unavailable(fmt.Errorf("write to Kafka: there is no topic %s; make it, or set create_topics: true", r.Topic))
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("write to Kafka: %d bytes are more than max_message, the topic or the brokers allow", len(r.Value))
	case aboutRecords(err), errors.Is(err, kerr.InvalidTopicException):
		return fmt.Errorf("write to Kafka: %w", err)
	}
	return sdk.Unavailable(fmt.Errorf("write to Kafka: %w", err))
}
