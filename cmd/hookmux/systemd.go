package main

import (
	"context"
	"log/slog"
	"net"
	"os"

	"github.com/hookmux/hookmux/mux/app"
)

// tellSystemd tells systemd, if that started us with Type=notify, once the app is ready, so that
// units ordered after ours, such as EMQX's, start then and not before; and when ctx ends, that
// it stops. It must be called before ctx ends; the app has been started.
func tellSystemd(ctx context.Context, a *app.App, log *slog.Logger) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	tell := func(state string) {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err == nil {
			_, err = conn.Write([]byte(state))
			_ = conn.Close()
		}
		if err != nil {
			log.Warn("systemd cannot be told how hookmux is", "state", state, "error", err)
		}
	}
	select {
	case <-a.Ready():
		tell("READY=1")
		<-ctx.Done()
	case <-ctx.Done():
	}
	tell("STOPPING=1")
}
