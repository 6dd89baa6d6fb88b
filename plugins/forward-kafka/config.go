package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/internal/tlsfiles"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Brokers are host:port of some of the cluster's brokers.
	Brokers []string `json:"brokers"`
	// Topic is a template.
	Topic string `json:"topic"`
	// CreateTopics has the cluster make a topic that is missing, if it allows that.
	CreateTopics bool `json:"create_topics"`
	// Hooks whose events are forwarded; message.publish if empty.
	Hooks []sdk.Hook `json:"hooks"`
	// Compression is none, gzip, snappy, lz4 or zstd.
	Compression string `json:"compression"`
	// MaxMessage is the most bytes of one record, as the brokers allow.
	MaxMessage int32 `json:"max_message"`
	// SASL is how to log in; nil: not at all.
	SASL *login `json:"sasl"`
	// TLS is used when it is there.
	TLS *tlsfiles.Config `json:"tls"`
}

type login struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	Password  string `json:"password"`
}

func defaults() config {
	return config{Brokers: []string{"127.0.0.1:9092"}, Topic: "mqtt", Compression: "lz4", MaxMessage: 1_000_012}
}

// rules of Kafka: letters, digits, ., _ and -, and not more than 249 of them. What is not
// allowed becomes _.
//
//nolint:gochecknoglobals // a constant
var rules = event.Rules{Longest: 249, Escape: func(level string) string {
	if level == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, level)
}}

//nolint:gochecknoglobals // a constant table
var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// options are what the client needs; errors name the key and never a secret.
func (c *config) options() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("brokers: none is there")
	}
	for i, b := range c.Brokers { // which may have a secret where none belongs
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("brokers: number %d is not host:port", i+1)
		}
	}
	codec, ok := codecs[c.Compression]
	if !ok {
		return nil, fmt.Errorf("compression: %q is none of none, gzip, snappy, lz4, zstd", c.Compression)
	}
	if c.MaxMessage < 1<<10 || c.MaxMessage > 1<<30 {
		return nil, fmt.Errorf("max_message: %d is not from 1024 to %d", c.MaxMessage, 1<<30)
	}
	options := []kgo.Opt{
		kgo.ClientID("hookmux-forward-kafka"),
		kgo.SeedBrokers(c.Brokers...),
		kgo.ProducerBatchCompression(codec, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(c.MaxMessage),
		kgo.BrokerMaxWriteBytes(max(c.MaxMessage+1<<16, 100<<20)),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// What comes at once is to be one batch. It is sent as soon as all of it is there; only
		// that of a topic which was not known before waits for so long.
		kgo.ProducerLinger(10 * time.Millisecond),
		// A record whose fate is unknown is given up with its batch's time. It comes again,
		// with the same id.
		kgo.AllowIdempotentProduceCancellation(),
		// Whether a topic is missing is known soon: the events beside wait for that.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.UnknownTopicRetries(2),
		// By the key alone, as Kafka's own clients do it.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	}
	if c.CreateTopics {
		options = append(options, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(20)) // it takes a moment
	}
	if c.SASL != nil {
		mechanism, err := c.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	if c.TLS != nil {
		conf, err := c.TLS.Load()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(conf))
	}
	return options, nil
}

func (l *login) mechanism() (sasl.Mechanism, error) {
	mechanisms := map[string]func() sasl.Mechanism{
		"plain":         plain.Auth{User: l.User, Pass: l.Password}.AsMechanism,
		"scram-sha-256": scram.Auth{User: l.User, Pass: l.Password}.AsSha256Mechanism,
		"scram-sha-512": scram.Auth{User: l.User, Pass: l.Password}.AsSha512Mechanism,
	}
	m, ok := mechanisms[strings.ToLower(l.Mechanism)]
	switch {
	case !ok:
		return nil, fmt.Errorf("sasl.mechanism: %q is none of plain, scram-sha-256, scram-sha-512", l.Mechanism)
	case slices.Contains([]string{l.User, l.Password}, ""):
		return nil, errors.New("sasl: user and password must be there")
	}
	return m(), nil
}
