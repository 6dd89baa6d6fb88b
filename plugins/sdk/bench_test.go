package sdk_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
	"github.com/hookmux/hookmux/proto/batch"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	"github.com/hookmux/hookmux/proto/handshake"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
	"github.com/hookmux/hookmux/proto/rawcodec"
)

// idle is a plugin whose methods cost nothing.
type idle struct{}

func (idle) OnClientAuthorize(context.Context, *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	return sdk.Allow, nil
}

func (idle) OnMessageDelivered(context.Context, *sdk.MessageDeliveredRequest) error { return nil }

// serveInProcess serves a plugin over a unix socket, without a process.
func serveInProcess(t testing.TB, plugin any) *grpc.ClientConn {
	t.Helper()
	server, end, err := sdk.NewHostedServer(plugin)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "socket")
	lis, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); end(); server.Stop(); <-done })
	return conn
}

// The requests of the benchmarks, of the size that EMQX sends.
var (
	someClient = &sdk.ClientInfo{
		Node: "emqx@10.0.0.1", Clientid: "device-0123456789", Username: "device-0123456789", Peerhost: "10.1.2.3",
		Sockport: 1883, Protocol: "mqtt", Mountpoint: "", IsSuperuser: false, Anonymous: false,
	}
	someMeta = &sdk.RequestMeta{Node: "emqx@10.0.0.1", Version: "5.8.6", Sysdescr: "EMQX", ClusterName: "emqxcl"}

	authorizeRequest, _ = proto.Marshal(&sdk.ClientAuthorizeRequest{
		Clientinfo: someClient, Type: sdk.Publish, Topic: "devices/device-0123456789/telemetry", Result: true, Meta: someMeta,
	})
	deliveredRequest, _ = proto.Marshal(&sdk.MessageDeliveredRequest{
		Clientinfo: someClient, Meta: someMeta, Message: &sdk.Message{
			Node: "emqx@10.0.0.1", Id: "0006219B7B8F5A4CF4420000045C0001", Qos: 1, From: "device-0123456789",
			Topic: "devices/device-0123456789/telemetry", Payload: make([]byte, 256), Timestamp: 1_700_000_000_000,
			Headers: map[string]string{"username": "device-0123456789", "protocol": "mqtt", "peerhost": "10.1.2.3"},
		},
	})
)

// bench runs a benchmark against a server in this process, which -benchmem is
// about, and one in a process of its own, whose CPU time is reported.
func bench(b *testing.B, version int, run func(b *testing.B, conn *grpc.ClientConn)) {
	b.Run("in-process", func(b *testing.B) {
		b.ReportAllocs()
		run(b, serveInProcess(b, idle{}))
	})
	b.Run("process", func(b *testing.B) {
		client, cmd, _ := launch(version, "idle")
		defer client.Kill()
		protocol, err := client.Client()
		if err != nil {
			b.Fatal(err)
		}
		raw, err := protocol.Dispense(handshake.PluginName)
		if err != nil {
			b.Fatal(err)
		}
		before := cpuTime(cmd.Process.Pid)
		run(b, raw.(*grpc.ClientConn))
		b.ReportMetric(float64(cpuTime(cmd.Process.Pid)-before)/float64(b.N), "plugin-cpu-ns/op")
	})
}

// cpuTime is the CPU time that a process has used.
func cpuTime(pid int) time.Duration {
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(^pid<<3|2), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic(errno)
	}
	return time.Duration(ts.Nano())
}

const benchCallers = 32

func BenchmarkDecide(b *testing.B) {
	decide := func(b *testing.B, call func() error) {
		b.SetParallelism(benchCallers / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("unary", func(b *testing.B) {
		bench(b, handshake.Unary, func(b *testing.B, conn *grpc.ClientConn) {
			decide(b, func() error {
				return callRaw(conn, exhookv3.HookProvider_OnClientAuthorize_FullMethodName, authorizeRequest)
			})
		})
	})
	b.Run("stream", func(b *testing.B) {
		bench(b, handshake.Stream, func(b *testing.B, conn *grpc.ClientConn) {
			s := openStream(b, conn, "Decide", true)
			s.batching(b)
			decide(b, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				_, err := s.call(ctx, pluginv1.Hook_HOOK_CLIENT_AUTHORIZE, nil, authorizeRequest)
				return err
			})
		})
	})
}

func callRaw(conn *grpc.ClientConn, method string, request []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var resp rawcodec.Message
	return conn.Invoke(ctx, method, rawcodec.Message(request), &resp, grpc.ForceCodecV2(rawcodec.New()))
}

func BenchmarkNotify(b *testing.B) {
	b.Run("unary", func(b *testing.B) {
		bench(b, handshake.Unary, func(b *testing.B, conn *grpc.ClientConn) {
			b.ResetTimer()
			var callers sync.WaitGroup
			for i := range benchCallers {
				callers.Go(func() {
					for n := i; n < b.N; n += benchCallers {
						if err := callRaw(conn, exhookv3.HookProvider_OnMessageDelivered_FullMethodName, deliveredRequest); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			callers.Wait()
		})
	})
	b.Run("stream", func(b *testing.B) {
		bench(b, handshake.Stream, func(b *testing.B, conn *grpc.ClientConn) {
			s := openStream(b, conn, "Notify", false)
			s.batching(b)
			window := make(chan struct{}, 1024)
			b.Cleanup(s.end)
			go func() {
				defer close(s.ended)
				for {
					var m rawcodec.Message
					if s.stream.RecvMsg(&m) != nil {
						return
					}
					s.batches++
					_ = batch.ReadReplies(m, func(r *batch.Reply) { <-window })
				}
			}()
			keys := make([][]byte, 256)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "device-%d", i)
			}
			b.ResetTimer()
			for i := range b.N {
				window <- struct{}{}
				e := batch.Event{ID: uint64(i + 1), Hook: uint64(pluginv1.Hook_HOOK_MESSAGE_DELIVERED), TimeoutUs: 5e6, Key: keys[i%len(keys)], Request: deliveredRequest}
				if err := s.post(&e); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(window) {
				window <- struct{}{}
			}
			b.StopTimer()
			s.end()
			<-s.ended
			b.ReportMetric(float64(b.N)/float64(s.batches), "replies/batch")
			b.ReportMetric(float64(b.N)/float64(s.sent), "events/batch")
		})
	})
}
