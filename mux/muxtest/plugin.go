package muxtest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// Behaviour is the config of a plugin that this test binary plays.
type Behaviour struct {
	// Do is what it does wrong; "" is a good plugin.
	Do string `json:"do,omitempty"`
	// Hooks it declares, all when empty; "" as an only element: none.
	Hooks []string `json:"hooks,omitempty"`
	// Topics of its message hooks.
	Topics []string `json:"topics,omitempty"`
	// Answer to valued hooks: "" IGNORE, or allow, deny, rewrite. Not deny: it
	// denies clients whose id begins with "bad" all the same.
	Answer string `json:"answer,omitempty"`
	// Record is a file that gets a line for each call.
	Record string `json:"record,omitempty"`
	// Protocol is the app protocol that it speaks; 0 is 1.
	Protocol int `json:"protocol,omitempty"`
	// Mark is found in the environment of all processes of one test.
	Mark string `json:"mark,omitempty"`
}

// What a plugin can do wrong.
const (
	ExitAtStart   = "exit at start"
	ExitMidCall   = "exit in client.authenticate"
	Slow          = "answer after 10 s"
	Garbage       = "answer garbage"
	Panic         = "panic in client.authenticate"
	Flood         = "flood its output"
	Grandchildren = "fork grandchildren"
	Leak          = "leak goroutines"
	NoHandshake   = "print no handshake"
	OtherProtocol = "speak app protocol 7"
	Deaf          = "ignore SIGTERM and Shutdown"
	CloseSockets  = "close its sockets and live on"
	UseMemory     = "use 300 MB of memory from client.authenticate on"
)

// Command is the command line of a plugin that this test binary plays.
func Command(t testing.TB) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe}
}

// Config is b as a plugin's config.
func (b Behaviour) Config() json.RawMessage {
	data, _ := json.Marshal(b)
	return data
}

// MaybePlugin runs the process as a plugin, and does not return, when hookmux
// started it as one. Call it first in TestMain.
func MaybePlugin() {
	if os.Getenv(handshake.CookieKey) != handshake.CookieValue {
		return
	}
	var b Behaviour
	if err := json.Unmarshal([]byte(os.Getenv(handshake.EnvConfig)), &b); err != nil {
		fmt.Fprintln(os.Stderr, "bad config:", err)
		os.Exit(1)
	}
	b.serve()
	os.Exit(0)
}

func (b Behaviour) serve() {
	version := max(b.Protocol, handshake.Unary)
	switch b.Do {
	case ExitAtStart:
		fmt.Fprintln(os.Stderr, "cannot reach the database at db.example:5432")
		os.Exit(3)
	case NoHandshake:
		fmt.Println("hello, I am no plugin")
		select {}
	case OtherProtocol:
		version = 7
	case Flood:
		go flood()
	case Grandchildren:
		b.fork(false)
		b.fork(true)
	case Deaf:
		ignoreTerm()
	}
	p := &player{b: b, protocol: version}
	if b.Record != "" {
		f, err := os.OpenFile(b.Record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		p.record = f
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{version: {handshake.PluginName: p}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(rawcodec.New()), grpc.MaxRecvMsgSize(math.MaxInt32))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	if b.Do == Deaf || b.Do == CloseSockets {
		select {}
	}
}

// fork starts a process that would outlive us by far, in a session of its own
// if away.
func (b Behaviour) fork(away bool) {
	cmd := exec.Command("/bin/sleep", "1000") // no PATH here
	if away {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // and keeps our pipes open
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func flood() {
	long := strings.Repeat("x", 10<<20) // one line
	fmt.Fprintln(os.Stderr, long)
	fmt.Println(long)
	for i := 0; ; i++ {
		fmt.Fprintln(os.Stderr, "line", i, "on stderr")
		fmt.Println("line", i, "on stdout")
	}
}

// player is the service of a Behaviour, on encoded messages.
type player struct {
	plugin.NetRPCUnsupportedPlugin
	b        Behaviour
	protocol int
	server   *grpc.Server
	mu       sync.Mutex
	record   *os.File
	leaked   []chan []byte
}

func (p *player) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (p *player) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	p.server = s
	if p.protocol == handshake.Stream {
		p.serveStreams(s)
		return nil
	}
	d := &grpc.ServiceDesc{ServiceName: mux.V3.Service(), HandlerType: (*any)(nil)}
	for h := mux.Hook(0); int(h) < mux.NumHooks; h++ {
		d.Methods = append(d.Methods, grpc.MethodDesc{
			MethodName: mux.V3.Method(h),
			Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var req rawcodec.Message
				if err := dec(&req); err != nil {
					return nil, err
				}
				return rawcodec.Message(p.handle(h, req)), nil
			},
		})
	}
	s.RegisterService(d, p)
	return nil
}

func (p *player) handle(h mux.Hook, req []byte) []byte {
	p.note(h, req)
	if h == mux.ProviderLoaded {
		return p.loaded()
	}
	switch p.b.Do {
	case ExitMidCall:
		if h == mux.ClientAuthenticate {
			os.Exit(4)
		}
	case CloseSockets:
		if h == mux.ClientAuthenticate {
			go p.server.Stop()
		}
	case UseMemory:
		if h == mux.ClientAuthenticate {
			useMemory(300 << 20)
		}
	case Panic:
		if h == mux.ClientAuthenticate {
			panic("handler of client.authenticate")
		}
	case Slow:
		if h != mux.ProviderUnloaded {
			time.Sleep(10 * time.Second)
		}
	case Garbage:
		return []byte("\xff\xff garbage \x00\x01")
	case Leak:
		never := make(chan []byte)
		p.mu.Lock()
		p.leaked = append(p.leaked, never)
		p.mu.Unlock()
		go func() { never <- make([]byte, 1<<10) }()
	}
	if !h.Valued() {
		return nil
	}
	return p.answer(h, req)
}

func (p *player) answer(h mux.Hook, req []byte) []byte {
	resp := &exhookv3.ValuedResponse{Type: exhookv3.ValuedResponse_IGNORE}
	switch {
	case p.b.Answer == "":
	case h.Access():
		resp.Type = exhookv3.ValuedResponse_CONTINUE
		ev := mux.NewEvent(h, req)
		allow := p.b.Answer != "deny" && !strings.HasPrefix(ev.Client(), "bad")
		resp.Value = &exhookv3.ValuedResponse_BoolResult{BoolResult: allow}
	case p.b.Answer == "rewrite" && h == mux.MessagePublish:
		var r exhookv3.MessagePublishRequest
		if proto.Unmarshal(req, &r) == nil {
			r.Message.Payload = append(r.Message.Payload, '!')
			resp.Type = exhookv3.ValuedResponse_CONTINUE
			resp.Value = &exhookv3.ValuedResponse_Message{Message: r.Message}
		}
	}
	out, _ := proto.Marshal(resp)
	return out
}

func (p *player) loaded() []byte {
	names := p.b.Hooks
	if len(names) == 0 {
		for _, h := range mux.Hooks() {
			names = append(names, h.String())
		}
	}
	resp := new(exhookv3.LoadedResponse)
	for _, n := range names {
		if n == "" {
			continue
		}
		spec := &exhookv3.HookSpec{Name: n}
		if strings.HasPrefix(n, "message.") {
			spec.Topics = p.b.Topics
		}
		resp.Hooks = append(resp.Hooks, spec)
	}
	out, _ := proto.Marshal(resp)
	return out
}

func (p *player) note(h mux.Hook, req []byte) {
	if p.record == nil {
		return
	}
	line := h.String() + " " + base64.StdEncoding.EncodeToString(req) + "\n"
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.record.WriteString(line)
}

// Recorded is one call that a plugin got.
type Recorded struct {
	Hook mux.Hook
	Body []byte
}

// ReadRecord reads what a plugin recorded, without the calls that load and
// unload it.
func ReadRecord(t testing.TB, path string) (calls []Recorded) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		name, b64, _ := strings.Cut(sc.Text(), " ")
		h, ok := mux.HookByName(name)
		if !ok {
			continue
		}
		body, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			t.Fatalf("%s: torn line", path)
		}
		calls = append(calls, Recorded{h, body})
	}
	if sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return calls
}

// ReadLifecycle is the calls that loaded and unloaded a plugin, each with the
// broker node it was for: "loaded emqx@127.0.0.1".
func ReadLifecycle(t testing.TB, path string) (calls []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, b64, _ := strings.Cut(strings.TrimSpace(line), " ")
		body, _ := base64.StdEncoding.DecodeString(b64)
		switch name {
		case mux.ProviderLoaded.String():
			var r exhookv3.ProviderLoadedRequest
			_ = proto.Unmarshal(body, &r)
			calls = append(calls, "loaded "+r.Meta.GetNode())
		case mux.ProviderUnloaded.String():
			var r exhookv3.ProviderUnloadedRequest
			_ = proto.Unmarshal(body, &r)
			calls = append(calls, "unloaded "+r.Meta.GetNode())
		}
	}
	return calls
}
