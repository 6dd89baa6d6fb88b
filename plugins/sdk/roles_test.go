package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hookmux/hookmux/plugins/sdk"
	"github.com/hookmux/hookmux/proto/handshake"
)

// roles are the programs the test binary can be.
var roles = map[string]func(){
	"all-round": func() {
		p := &allRound{}
		sdk.MustConfig(&p.config)
		fmt.Println("a line before the handshake")
		sdk.Serve(p)
	},
	"idle":     func() { sdk.Serve(idle{}) },
	"recorder": func() { sdk.Serve(&recorder{}) },
	"keeper": func() {
		sdk.Serve(&topicalKeeper{keeper{hooks: []sdk.Hook{sdk.MessageDelivered, sdk.MessagePublish, sdk.ClientConnected}}})
	},
	"parent":      parentMain,
	"typo":        func() { sdk.Serve(&typo{}) },
	"start-fails": func() { sdk.Serve(&startFails{}) },
	"start-panic": func() { sdk.Serve(&startPanics{}) },
	"start-waits": func() { sdk.Serve(&startWaits{}) },
	"stop-hangs":  func() { sdk.Serve(&stopHangs{}) },
}

// allRound does as the username or topic of a request tells it.
type allRound struct {
	config struct {
		Greeting string   `json:"greeting"`
		Filters  []string `json:"filters"`
	}
	stopping <-chan struct{}
}

func (p *allRound) Topics() sdk.Topics {
	if p.config.Filters == nil {
		return nil
	}
	return sdk.Topics{sdk.MessagePublish: p.config.Filters}
}

func (p *allRound) Start(ctx context.Context) error {
	p.stopping = ctx.Done()
	slog.Info("started", "greeting", p.config.Greeting)
	return nil
}

func (p *allRound) Stop(context.Context) error {
	slog.Info("stopped")
	return nil
}

func (p *allRound) OnClientAuthenticate(ctx context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	switch r.GetClientinfo().GetUsername() {
	case "allow":
		return sdk.Allow, nil
	case "deny finally":
		return sdk.Deny.Final(), nil
	case "panic":
		panic("at the disco\nand elsewhere")
	case "error":
		return sdk.Allow, errors.New("the database is down")
	case "backend":
		return sdk.Allow, status.Error(codes.Unavailable, "the backend is down")
	case "wait":
		<-ctx.Done()
		return 0, fmt.Errorf("asking the backend: %w", ctx.Err())
	case "zero":
		return 0, nil
	case "print":
		fmt.Println("printed " + strings.Repeat("x", 200_000))
		fmt.Fprintln(os.Stderr, "said")
		return sdk.Allow, nil
	case "until stopped":
		slog.Info("in the handler")
		<-p.stopping
		return sdk.Allow, nil
	case "forever":
		slog.Info("in the handler")
		select {}
	}
	return sdk.NoOpinion, nil
}

func (p *allRound) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	switch r.GetMessage().GetTopic() {
	case "drop":
		return sdk.Drop, nil
	case "rewrite":
		r.Message.Payload = fmt.Appendf(nil, "%d properties", len(r.GetUserProps()))
		return sdk.Rewrite(r.GetMessage()).Final(), nil
	case "echo":
		return sdk.Rewrite(r.GetMessage()), nil
	}
	return sdk.Pass, nil
}

func (p *allRound) OnClientConnected(_ context.Context, r *sdk.ClientConnectedRequest) error {
	if r.GetClientinfo().GetUsername() == "error" {
		return errors.New("no room in the guest book")
	}
	return nil
}

type topicalKeeper struct{ keeper }

func (*topicalKeeper) Topics() sdk.Topics { return sdk.Topics{sdk.MessagePublish: {"#"}} }

type typo struct{ allRound }

func (*typo) OnClientAuthorise(context.Context, *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	return sdk.Allow, nil
}

type startFails struct{ allRound }

func (*startFails) Start(context.Context) error { return errors.New(`config: "users" is empty`) }

type startPanics struct{ allRound }

func (*startPanics) Start(context.Context) error { panic("no such luck") }

type startWaits struct{ allRound }

func (*startWaits) Start(ctx context.Context) error {
	slog.Info("starting")
	<-ctx.Done()
	return ctx.Err()
}

type stopHangs struct{ allRound }

func (*stopHangs) Stop(context.Context) error { select {} }

// parentMain is a host that starts a plugin, says so and waits to be killed.
// The plugin holds the write end of the pipe in descriptor 3 open: its reader
// sees the plugin's end.
func parentMain() {
	client, cmd, _ := launch(handshake.Stream, "all-round")
	pipe := os.NewFile(3, "pipe")
	cmd.ExtraFiles = []*os.File{pipe}
	if _, err := client.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = pipe.Close()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
