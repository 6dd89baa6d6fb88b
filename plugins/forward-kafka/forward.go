package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		records = append(records, r)
		events[r] = &all[i]
	}
	for _, res := range p.client.ProduceSync(ctx, records...) {
		if res.Err != nil {
			events[res.Record].Fail(explained(res.Record, res.Err))
		}
	}
	return nil
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

func explained(r *kgo.Record, err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("write to Kafka: there is no topic %s; make it, or set create_topics: true", r.Topic)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("write to Kafka: %d bytes are more than max_message or the brokers allow", len(r.Value))
	}
	return fmt.Errorf("write to Kafka: %w", err)
}
