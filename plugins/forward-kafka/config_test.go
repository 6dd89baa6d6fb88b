package main

import (
	"strings"
	"testing"

	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"brokers": []}`:                         "brokers: none is there",
		`{"brokers": ["a:1", "kafka"]}`:           "brokers: number 2 is not host:port",
		`{"brokers": ["user:canary@kafka:9092"]}`: "brokers: number 1 is not host:port",
		`{"topic": "{topic}"}`:                    "must begin with something fixed",
		`{"topic": "a b"}`:                        `does not allow "a b"`,
		`{"topic": "a.{topic.0}"}`:                "no placeholder {topic.0}",
		`{"compression": "rar"}`:                  `compression: "rar" is none of none`,
		`{"max_message": 1}`:                      "max_message: 1 is not from 1024",
		`{"sasl": {"mechanism": "x"}}`:            `sasl.mechanism: "x" is none of plain`,
		`{"sasl": {"mechanism": "scram-sha-512", "password": "canary"}}`: "sasl: user and password must be there",
		`{"tls": {"ca": "config.go"}}`:                                   "tls.ca: config.go has no certificate",
	} {
		p := &plugin{config: defaults()}
		plugintest.Configure(t, config, &p.config)
		err := p.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
