package main

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

// Whoever is killed, each message that was answered is in the topic, and one that is
// there twice has one id.
func TestKill(t *testing.T) {
	t.Parallel()
	server := targets.NewKafka(t)
	c := consumer(t, server.Broker, kgo.ConsumeTopics("kill"))
	var messages []plugintest.Stored
	plugintest.KillTest(t, fmt.Sprintf("timeout: 5s\nconfig: {brokers: [%q], create_topics: true, topic: kill}", server.Broker), false,
		func() { server.Kill(t) }, func() { server.Start(t) },
		func() []plugintest.Stored {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for ctx.Err() == nil {
				for _, r := range c.PollFetches(ctx).Records() {
					n, _ := strconv.Atoi(string(r.Value))
					messages = append(messages, plugintest.Stored{Client: string(r.Key), EventID: header(r, "mqtt-event-id"), N: n})
				}
			}
			return messages
		})
}
