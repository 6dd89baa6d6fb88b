package main

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

// Whoever is killed, each message that was answered is in the stream, once.
func TestKill(t *testing.T) {
	t.Parallel()
	server := targets.NewNATS(t)
	plugintest.KillTest(t, fmt.Sprintf("config: {servers: [%q], stream: KILL, subject: \"kill.{client}\"}", server.URL), true,
		func() { server.Kill(t) }, func() { server.Start(t) },
		func() (messages []plugintest.Stored) {
			for _, m := range stored(t, server.URL, "KILL") {
				n, _ := strconv.Atoi(string(m.Data))
				messages = append(messages, plugintest.Stored{Client: m.Header.Get("mqtt-client"), EventID: m.Header.Get("mqtt-event-id"), N: n})
			}
			return messages
		})
}
