package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
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

// A remote behind TLS is reached when its certificate is one that the machine
// trusts, and only then.
func TestRemoteByHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	creds := credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	_, addr, _ := startRemote(t, mux.V3, "127.0.0.1:0", grpc.Creds(creds))

	check := func(trusted string) string {
		cmd := exec.Command(muxtest.Command(t)[0])
		cmd.Env = append(os.Environ(), "HOOKMUX_TEST_CHECK=https://"+addr, "SSL_CERT_FILE="+trusted, "SSL_CERT_DIR="+dir+"/none")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := check(ca); got != "up client.authorize" {
		t.Errorf("with its certificate trusted: %q", got)
	}
	if got := check(filepath.Join(dir, "none")); !strings.HasPrefix(got, "restarting") {
		t.Errorf("with its certificate unknown: %q", got)
	}
}

// checkRemote is the process of the test above; its machine's trust is set by the
// environment, which Go reads once.
func checkRemote(url string) {
	states, err := app.Check(context.Background(), &config.Config{Providers: []config.Provider{{Spec: mux.Spec{Name: "tls"}, URL: url}}}, app.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Print(states[0].Status)
	if states[0].Known {
		fmt.Print(" ", states[0].Wants[0].Hook)
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
