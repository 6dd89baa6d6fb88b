package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/hookmux/hookmux/plugins/sdk"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
)

func user(name string) *sdk.ClientAuthenticateRequest {
	return &sdk.ClientAuthenticateRequest{Clientinfo: &sdk.ClientInfo{Clientid: "c1", Username: name}}
}

func TestHostedTellsItsHooks(t *testing.T) { onBoth(t, hostedTellsItsHooks) }

func hostedTellsItsHooks(t *testing.T, protocol int) {
	h := startHost(t, protocol, "all-round", handshake.EnvConfig+`={"greeting":"hello","filters":["a/#"]}`)
	res, err := h.calls.OnProviderLoaded(t.Context(), &sdk.ProviderLoadedRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{
		{Name: "client.connected"}, {Name: "client.authenticate"}, {Name: "message.publish", Topics: []string{"a/#"}},
	}}
	if !proto.Equal(res, want) {
		t.Errorf("got %v, want %v", res, want)
	}
	var entry struct {
		Time            time.Time
		Level, Msg      string
		Greeting, Extra string
	}
	if err := json.Unmarshal([]byte(h.stderr.line(t, `"started"`)), &entry); err != nil {
		t.Fatal(err)
	}
	if entry.Level != "INFO" || entry.Msg != "started" || entry.Greeting != "hello" || entry.Time.IsZero() {
		t.Errorf("log line %+v", entry)
	}
	h.end(t)
	h.stderr.line(t, `"stopped"`)
}

// Every RPC is answered, also without a method for it: an error would be taken
// for an outage.
func TestHostedAnswersEveryRPC(t *testing.T) { onBoth(t, hostedAnswersEveryRPC) }

func hostedAnswersEveryRPC(t *testing.T, protocol int) {
	h := startHost(t, protocol, "all-round")
	methods := exhookv3.File_emqx_exhook_v3_exhook_proto.Services().ByName("HookProvider").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		res := dynamicpb.NewMessage(m.Output())
		if err := h.conn.Invoke(t.Context(), "/emqx.exhook.v3.HookProvider/"+string(m.Name()), dynamicpb.NewMessage(m.Input()), res); err != nil {
			t.Errorf("%s: %v", m.Name(), err)
			continue
		}
		wire, err := proto.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		if m.Output().Name() != "ValuedResponse" {
			continue
		}
		var valued exhookv3.ValuedResponse
		if err := proto.Unmarshal(wire, &valued); err != nil || valued.GetType() != exhookv3.ValuedResponse_IGNORE {
			t.Errorf("%s: %v %v, want IGNORE", m.Name(), &valued, err)
		}
	}
	h.end(t)
}

func TestHostedErrors(t *testing.T) { onBoth(t, hostedErrors) }

func hostedErrors(t *testing.T, protocol int) {
	h := startHost(t, protocol, "all-round")
	for _, tt := range []struct {
		user string
		code codes.Code
		text string
	}{
		{"panic", codes.Internal, "OnClientAuthenticate panicked: at the disco and elsewhere"},
		{"error", codes.Unknown, "the database is down"},
		{"backend", codes.Unknown, "rpc error: code = Unavailable desc = the backend is down"},
		{"zero", codes.Internal, "OnClientAuthenticate: neither an answer nor an error was returned: return sdk.Allow, sdk.Deny or sdk.NoOpinion"},
	} {
		_, err := h.calls.OnClientAuthenticate(t.Context(), user(tt.user))
		if protocol == handshake.Stream {
			tt.code = codes.Unknown // only the text travels
		}
		if s := status.Convert(err); s.Code() != tt.code || s.Message() != tt.text {
			t.Errorf("%s: %v, want %s %q", tt.user, err, tt.code, tt.text)
		}
	}
	_, err := h.calls.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: &sdk.ClientInfo{Username: "error"}})
	if s := status.Convert(err); s.Code() != codes.Unknown || s.Message() != "no room in the guest book" {
		t.Errorf("notification: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.calls.OnClientAuthenticate(ctx, user("wait")); err == nil || status.Code(err) != codes.DeadlineExceeded && !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("past the deadline: %v", err)
	}
	line := h.stderr.line(t, "panic in the plugin")
	for _, want := range []string{`"level":"ERROR"`, `"method":"OnClientAuthenticate"`, `"panic":"at the disco and elsewhere"`, "roles_test.go:"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in the log line %s", want, line)
		}
	}
	if res, err := h.calls.OnClientAuthenticate(t.Context(), user("allow")); err != nil || !res.GetBoolResult() {
		t.Errorf("after all that: %v %v", res, err)
	}
	h.end(t)
}

// rawCodec sends bytes that no protobuf library would.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (rawCodec) Name() string                       { return "proto" }

// invalidUTF8 is a request whose clientinfo (field 1) has the username (field
// 3) ff fe; as a MessagePublishRequest it has the id ff fe.
var invalidUTF8 = []byte{0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe}

func TestHostedStrangeRequests(t *testing.T) { onBoth(t, hostedStrangeRequests) }

func hostedStrangeRequests(t *testing.T, protocol int) {
	h := startHost(t, protocol, "all-round")
	var out []byte
	for _, req := range [][]byte{invalidUTF8, {0xff}, {0x0a, 0x7f}} {
		err := h.conn.Invoke(t.Context(), exhookv3.HookProvider_OnClientAuthenticate_FullMethodName, req, &out, forceRaw)
		if err == nil || !strings.Contains(err.Error(), "invalid UTF-8") && !strings.Contains(err.Error(), "parse") {
			t.Errorf("% x: %v, want what is wrong with it", req, err)
		}
	}

	many := &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: "rewrite"}}
	for i := range 10_000 {
		many.UserProps = append(many.UserProps, &sdk.Property{Name: fmt.Sprint(i), Value: "v"})
	}
	res, err := h.calls.OnMessagePublish(t.Context(), many)
	if err != nil || string(res.GetMessage().GetPayload()) != "10000 properties" {
		t.Errorf("10,000 user properties: %v %v", res, err)
	}

	for _, size := range []int{1 << 20, 5 << 20} {
		large := &sdk.Message{Topic: "echo", Payload: bytes.Repeat([]byte{7}, size), Qos: 1}
		res, err = h.calls.OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{Message: large}, unlimited)
		if err != nil || !proto.Equal(res.GetMessage(), large) {
			t.Errorf("payload of %d bytes: %v", size, err)
		}
	}
	h.end(t)
}

// What a plugin prints neither ruins the handshake nor blocks it.
func TestHostedPrintingIsLogging(t *testing.T) { onBoth(t, hostedPrintingIsLogging) }

func hostedPrintingIsLogging(t *testing.T, protocol int) {
	h := startHost(t, protocol, "all-round")
	h.stderr.line(t, "a line before the handshake")
	for range 3 {
		if res, err := h.calls.OnClientAuthenticate(t.Context(), user("print")); err != nil || !res.GetBoolResult() {
			t.Fatal(res, err)
		}
	}
	h.stderr.line(t, "printed xxx")
	h.stderr.line(t, "said")
	h.end(t)
}

func TestHostedStopsGracefully(t *testing.T) { onBoth(t, hostedStopsGracefully) }

func hostedStopsGracefully(t *testing.T, protocol int) {
	for name, stop := range map[string]func(h *host) error{
		"Shutdown": func(h *host) error { h.Kill(); return nil },
		"SIGTERM":  func(h *host) error { return h.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, protocol, "all-round")
			type result struct {
				res *exhookv3.ValuedResponse
				err error
			}
			got := make(chan result, 1)
			go func() {
				res, err := h.calls.OnClientAuthenticate(context.WithoutCancel(t.Context()), user("until stopped"))
				got <- result{res, err}
			}()
			h.stderr.line(t, "in the handler")
			if err := stop(h); err != nil {
				t.Fatal(err)
			}
			if r := <-got; r.err != nil || !r.res.GetBoolResult() {
				t.Errorf("the call under way: %v %v", r.res, r.err)
			}
			h.stderr.line(t, `"stopped"`)
			h.end(t)
		})
	}
}

// A hung handler or Stop delays the end, but not until the host's SIGKILL.
func TestHostedStopsInTime(t *testing.T) { onBoth(t, hostedStopsInTime) }

func hostedStopsInTime(t *testing.T, protocol int) {
	t.Run("hung handler", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, protocol, "all-round")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.calls.OnClientAuthenticate(context.WithoutCancel(t.Context()), user("forever"))
		}()
		h.stderr.line(t, "in the handler")
		h.end(t)
		h.stderr.line(t, `"stopped"`)
		<-done
	})
	t.Run("hung Stop", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, protocol, "stop-hangs")
		h.Kill()
		if code := h.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("exit status %d, want 1", code)
		}
		h.stderr.line(t, "Stop: not done after 1.5s")
	})
}

// Told to stop before it has started, a plugin has nothing to complain of.
func TestHostedStopsWhileStarting(t *testing.T) {
	t.Parallel()
	cmd, stderr := program("start-waits", handshake.CookieKey+"="+handshake.CookieValue), newOutput()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.line(t, "starting")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
}

func TestHostedEndsWithItsParent(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent := program("parent")
	parent.ExtraFiles = []*os.File{w}
	said := newOutput()
	parent.Stdout, parent.Stderr = said, said
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	said.line(t, "ready")
	_ = parent.Process.Kill()
	_ = parent.Wait()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the plugin still runs: %v", err)
	}
}

// What is wrong before the handshake is on stderr, in one line if possible.
func TestHostedRefusesToStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ role, env, want string }{
		{"typo", "", "typo-plugin: method OnClientAuthorise is no hook; did you mean OnClientAuthorize?"},
		{"start-fails", "", `typo-plugin: Start: config: "users" is empty`},
		{"start-panic", "", "typo-plugin: Start: panic: no such luck"},
		{"all-round", `{"greting":"x"}`, `typo-plugin: config: unknown key "greting" (did you mean "greeting"?); allowed: greeting, filters`},
		{"all-round", `{"filters":["a/#/b"]}`, `typo-plugin: Topics: message.publish: topic filter "a/#/b": # must be the last level`},
		{"all-round", `{"filters":[]}`, "typo-plugin: Topics: an empty list for message.publish would mean every topic"},
	} {
		t.Run(tt.role+tt.env, func(t *testing.T) {
			t.Parallel()
			client, cmd, stderr := launch(handshake.Stream, tt.role, handshake.EnvName+"=typo-plugin", handshake.EnvConfig+"="+tt.env)
			defer client.Kill()
			if _, err := client.Start(); err == nil {
				t.Fatal("it started")
			}
			stderr.line(t, tt.want)
			client.Kill()
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
		})
	}
}
