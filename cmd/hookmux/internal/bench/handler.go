package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/hookmux/hookmux/plugins/sdk"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// handler is the built-in plugin: it does nothing but count, and rewrite a
// message's payload by as little as can be told from outside.
type handler struct {
	counters *counters
	pass     bool // it rewrites nothing
}

// marker begins each payload. The byte after it counts the rewrites, from '0'.
const marker = "hookmux#"

// OnMessageDelivered implements sdk.MessageDeliveredHook.
func (h *handler) OnMessageDelivered(context.Context, *sdk.MessageDeliveredRequest) error {
	h.nap()
	h.counters.notified.Add(1)
	return nil
}

// OnMessagePublish implements sdk.MessagePublishHook.
func (h *handler) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	h.nap()
	if h.pass {
		h.counters.decided.Add(1)
		return sdk.Pass, nil
	}
	r.Message.Payload = rewrite(r.GetMessage().GetPayload())
	h.counters.decided.Add(1)
	return sdk.Rewrite(r.Message), nil
}

// nap sleeps as long as the bench says, and no longer once it says otherwise.
func (h *handler) nap() {
	var end time.Time
	for {
		d := time.Duration(h.counters.nap.Load())
		switch {
		case d == 0:
			return
		case end.IsZero():
			end = time.Now().Add(d)
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, 100*time.Millisecond))
	}
}

// rewrite changes the payload in place where it can, so that what is measured
// is the way of a message and not the copying of it.
func rewrite(payload []byte) []byte {
	if len(payload) <= len(marker) || string(payload[:len(marker)]) != marker {
		return []byte(marker + "1")
	}
	payload[len(marker)]++
	return payload
}

// pluginConfig is the built-in plugin's config.
type pluginConfig struct {
	Counters string `json:"counters"`
	Protocol int    `json:"protocol"`
	Pass     bool   `json:"pass,omitempty"`
	Profile  string `json:"profile,omitempty"` // a file for a CPU profile
}

// profiled is the handler while its process is profiled.
type profiled struct {
	*handler

	file *os.File
}

// Stop implements sdk.Stopper.
func (p *profiled) Stop(context.Context) error {
	pprof.StopCPUProfile()
	return p.file.Close()
}

// protocolVersions is where go-plugin offers the app protocols to a plugin.
const protocolVersions = "PLUGIN_PROTOCOL_VERSIONS"

// ServePlugin is the process of the built-in plugin; it does not return.
func ServePlugin() {
	var cfg pluginConfig
	sdk.MustConfig(&cfg)
	c, err := openCounters(cfg.Counters)
	sdk.Exit(err)
	offered := strings.Split(os.Getenv(protocolVersions), ",")
	if want := strconv.Itoa(cfg.Protocol); cfg.Protocol != 0 {
		if !slices.Contains(offered, want) {
			sdk.Exit(fmt.Errorf("app protocol %s is wanted, hookmux offers %s", want, strings.Join(offered, ", ")))
		}
		offered = []string{want}
		sdk.Exit(os.Setenv(protocolVersions, want))
	}
	for _, v := range offered {
		n, _ := strconv.ParseInt(v, 10, 64)
		c.protocol.Store(max(c.protocol.Load(), n))
	}
	h := &handler{counters: c, pass: cfg.Pass}
	if cfg.Profile == "" {
		sdk.Serve(h)
	}
	f, err := os.Create(cfg.Profile)
	sdk.Exit(err)
	sdk.Exit(pprof.StartCPUProfile(f))
	sdk.Serve(&profiled{h, f})
}

// ServeDirect is the process of a direct server: the same handler behind
// grpc-go with its defaults. It prints its address and serves until stdin ends.
func ServeDirect(path string, stdin io.Reader, stdout io.Writer) error {
	c, err := openCounters(path)
	if err != nil {
		return err
	}
	defer c.Close()
	h, err := sdk.NewHandler(&handler{counters: c})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	exhookv3.RegisterHookProviderServer(server, h)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		server.Stop()
	}()
	fmt.Fprintln(stdout, l.Addr())
	return server.Serve(l)
}
