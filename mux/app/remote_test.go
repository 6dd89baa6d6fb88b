package app_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv2 "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// A remote of any version of the service is found, asked in its own names, and
// loaded again when it comes back.
func TestRemoteOfEachVersion(t *testing.T) {
	t.Parallel()
	for api, name := range map[mux.API]string{mux.V1: "v1", mux.V2: "v2", mux.V3: "v3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, addr, loads := startRemote(t, api, "127.0.0.1:0")
			s := start(t, config.Config{Providers: []config.Provider{{Spec: mux.Spec{Name: "legacy"}, URL: "http://" + addr}}}, nil)
			if node := <-loads; node != "hookmux" {
				t.Errorf("first loaded for %q", node)
			}
			broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
			if _, ok := broker.Load(t, "5.10.3")["client.authorize"]; !ok {
				t.Error("the broker is not told of client.authorize")
			}
			if node := <-loads; node != broker.Node {
				t.Errorf("then loaded for %q", node)
			}
			if _, ok := broker.Authorize(t, "c", "allowed"); !ok {
				t.Error("a permission that the remote gave was refused")
			}
			if _, ok := broker.Authorize(t, "c", "forbidden"); ok {
				t.Error("a permission that the remote refused was given")
			}

			srv.Stop()
			s.until(t, "remote is down")
			if _, ok := broker.Authorize(t, "c", "allowed"); ok {
				t.Error("its policy is deny, but the permission was given while it was down")
			}
			startRemoteAgain(t, api, addr, loads)
			muxtest.Eventually(t, "the permission is given again", func() bool {
				_, ok := broker.Authorize(t, "c", "allowed")
				return ok
			})
		})
	}
}

func startRemoteAgain(t *testing.T, api mux.API, addr string, loads chan string) {
	t.Helper()
	_, _, again := startRemote(t, api, addr)
	if node := <-again; node != "hookmux" {
		t.Errorf("loaded again for %q", node)
	}
	_ = loads
}

func kill(t *testing.T, s *sidecar, name string) {
	t.Helper()
	if err := syscall.Kill(s.provider(t, name).Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

type v1Server struct {
	exhookv1.UnimplementedHookProviderServer
	loads chan string
}

func (s v1Server) OnProviderLoaded(_ context.Context, r *exhookv1.ProviderLoadedRequest) (*exhookv1.LoadedResponse, error) {
	s.loads <- r.Meta.GetNode()
	return &exhookv1.LoadedResponse{Hooks: []*exhookv1.HookSpec{{Name: "client.check_acl"}}}, nil
}

func (s v1Server) OnClientCheckAcl(_ context.Context, r *exhookv1.ClientCheckAclRequest) (*exhookv1.ValuedResponse, error) {
	return &exhookv1.ValuedResponse{Value: &exhookv1.ValuedResponse_BoolResult{BoolResult: r.Topic == "allowed"}}, nil
}

type v2Server struct {
	exhookv2.UnimplementedHookProviderServer
	loads chan string
}

func (s v2Server) OnProviderLoaded(_ context.Context, r *exhookv2.ProviderLoadedRequest) (*exhookv2.LoadedResponse, error) {
	s.loads <- r.Meta.GetNode()
	return &exhookv2.LoadedResponse{Hooks: []*exhookv2.HookSpec{{Name: "client.authorize"}}}, nil
}

func (s v2Server) OnClientAuthorize(_ context.Context, r *exhookv2.ClientAuthorizeRequest) (*exhookv2.ValuedResponse, error) {
	return &exhookv2.ValuedResponse{Value: &exhookv2.ValuedResponse_BoolResult{BoolResult: r.Topic == "allowed"}}, nil
}

func (s remoteServer) OnProviderLoaded(_ context.Context, r *exhookv3.ProviderLoadedRequest) (*exhookv3.LoadedResponse, error) {
	s.loads <- r.Meta.GetNode()
	return &exhookv3.LoadedResponse{Hooks: []*exhookv3.HookSpec{{Name: "client.authorize"}}}, nil
}

func (s remoteServer) OnClientAuthorize(_ context.Context, r *exhookv3.ClientAuthorizeRequest) (*exhookv3.ValuedResponse, error) {
	return &exhookv3.ValuedResponse{Value: &exhookv3.ValuedResponse_BoolResult{BoolResult: r.Topic == "allowed"}}, nil
}
