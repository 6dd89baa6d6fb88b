package server

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	health := grpc_health_v1.NewHealthClient(dial(t, serve(t, newMux(t, mux.Spec{}, &conn{}))))
	for _, service := range []string{"", mux.V1.Service(), mux.V2.Service(), mux.V3.Service()} {
		resp, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || resp.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, resp, err)
		}
	}
}

func TestReflectionShowsTheThreeServices(t *testing.T) {
	t.Parallel()
	client := grpc_reflection_v1.NewServerReflectionClient(dial(t, serve(t, newMux(t, mux.Spec{}, &conn{}))))
	stream, err := client.ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	list := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	var names []string
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	for _, api := range apis {
		if !slices.Contains(names, api.Service()) {
			t.Errorf("%s is not among %q", api.Service(), names)
		}
		resp := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: api.Service()}})
		files := resp.GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) == 0 {
			t.Errorf("%s: %v", api.Service(), resp)
			continue
		}
		var file descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(files[0], &file); err != nil {
			t.Fatal(err)
		}
		if len(file.Service) != 1 || len(file.Service[0].Method) < 21 || file.GetPackage()+".HookProvider" != api.Service() {
			t.Errorf("%s: the file descriptor is %s of package %s", api.Service(), file.GetName(), file.GetPackage())
		}
		// The name that the service description gives for it has to be that.
		if got := serviceDesc(api).Metadata; got != file.GetName() {
			t.Errorf("%s: metadata %q, the file is %q", api.Service(), got, file.GetName())
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestCompressedRequestIsUnderstood(t *testing.T) {
	t.Parallel()
	client := exhookv3.NewHookProviderClient(dial(t, serve(t, newMux(t, mux.Spec{}, &conn{}))))
	resp, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{Result: true}, grpc.UseCompressor(gzip.Name))
	if err != nil || resp.Type != exhookv3.ValuedResponse_IGNORE {
		t.Errorf("%v, %v", resp, err)
	}
}

// What is small only while it is compressed is too large.
func TestCompressedRequestThatIsTooLarge(t *testing.T) {
	t.Parallel()
	client := exhookv3.NewHookProviderClient(dial(t, serveWith(t, newMux(t, mux.Spec{}, &conn{}), Options{Limits: Limits{Message: 64 << 10}})))
	resp, err := client.OnMessagePublish(t.Context(), &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Payload: make([]byte, 10<<20)}}, grpc.UseCompressor(gzip.Name))
	if err != nil || resp.Type != exhookv3.ValuedResponse_STOP_AND_RETURN || resp.GetMessage().GetHeaders()["allow_publish"] != "false" {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, patient := range []bool{true, false} {
		started, finish := make(chan struct{}), make(chan struct{})
		c := &conn{decide: func(ctx context.Context, _ mux.Hook, _ []byte) ([]byte, error) {
			close(started)
			select {
			case <-finish:
			case <-ctx.Done():
			}
			return ignore, nil
		}}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := New(newMux(t, mux.Spec{Timeout: time.Minute}, c), Options{})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		client := exhookv3.NewHookProviderClient(dial(t, l.Addr().String()))
		called := make(chan error, 1)
		go func() {
			_, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{})
			called <- err
		}()
		<-started
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { s.Stop(ctx); close(stopped) }()
		eventually(t, "no more connections are taken", func() bool {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err == nil {
				_ = nc.Close()
			}
			return err != nil
		})
		if patient {
			close(finish)
		} else {
			cancel()
		}
		<-stopped
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-called; (err == nil) != patient {
			t.Errorf("patient %t: the call under way ends with %v", patient, err)
		}
	}
}

func TestManyCallsAtATime(t *testing.T) {
	t.Parallel()
	const calls = 500
	all := make(chan struct{}, calls)
	release := make(chan struct{})
	c := &conn{decide: func(ctx context.Context, _ mux.Hook, _ []byte) ([]byte, error) {
		all <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ignore, nil
	}}
	client := exhookv3.NewHookProviderClient(dial(t, serve(t, newMux(t, mux.Spec{Concurrency: calls, Timeout: time.Minute}, c))))
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := client.OnClientAuthenticate(t.Context(), &exhookv3.ClientAuthenticateRequest{})
			errs <- err
		}()
	}
	for range calls {
		<-all
	}
	close(release)
	for range calls {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}
