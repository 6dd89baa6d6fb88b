package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
)

// A database that is away makes no dead letters, though an event may be tried but once.
func TestOutageIsNoTry(t *testing.T) {
	t.Parallel()
	server := targets.NewPostgres(t)
	h := plugintest.RunTop(t, "spool: {tries: 1}", fmt.Sprintf("observe: true\ndelivery: durable\ntimeout: 2s\nconfig: {url: %q}", server.URL))
	h.Publish(t, "c", "a/b", "0")
	muxtest.Eventually(t, "the first is stored", func() bool { return len(all(t, server.URL)) == 1 })
	server.Stop(t)
	for i := 1; i <= 4; i++ {
		h.Publish(t, "c", "a/b", fmt.Sprint(i))
		h.Publish(t, "d", "a/b", fmt.Sprint(i))
	}
	muxtest.Eventually(t, "it is tried", func() bool { return strings.Contains(h.Log(), "what the provider needs for it is away") })
	server.Start(t)
	muxtest.Eventually(t, "all are stored", func() bool { return len(all(t, server.URL)) == 9 })
}
