package secure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest/certs"
	"github.com/hookmux/hookmux/mux/secure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a log to look into.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// place is a server's and a client's side with a CA each, in one folder.
type place struct {
	dir                   string
	servers, clients      *certs.CA
	cert, key, serverCA   string
	clientCert, clientKey string
	clientCA              string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir(), servers: certs.NewCA(t, "servers' CA"), clients: certs.NewCA(t, "clients' CA")}
	p.cert, p.key = p.servers.Sign(t, "hookmux", nil).Write(t, p.dir, "server")
	p.clientCert, p.clientKey = p.clients.Sign(t, "emqx-0", nil).Write(t, p.dir, "client")
	p.serverCA = certs.WriteFile(t, filepath.Join(p.dir, "servers.pem"), p.servers.PEM)
	p.clientCA = certs.WriteFile(t, filepath.Join(p.dir, "clients.pem"), p.clients.PEM)
	return p
}

func load(t *testing.T, f secure.Files, log *journal) *secure.Source {
	t.Helper()
	if log == nil {
		log = new(journal)
	}
	s, err := secure.Load(f, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake makes a connection, and says how each side fared with the handshake, and
// what the client saw of the server.
func shake(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, atServer, atClient error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			s := tls.Server(c, server)
			if err = s.HandshakeContext(context.Background()); err == nil {
				_, err = s.Write([]byte("!"))
			}
			_ = s.Close()
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if client.ServerName == "" {
		client.ServerName = "127.0.0.1" // what a dialler says
	}
	c := tls.Client(raw, client)
	// A refusal of the client's certificate comes after TLS 1.3's handshake.
	if atClient = c.HandshakeContext(t.Context()); atClient == nil {
		_, atClient = io.ReadFull(c, make([]byte, 1))
	}
	seen = c.ConnectionState()
	_ = c.Close()
	return seen, <-done, atClient
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	other := certs.NewCA(t, "somebody else's CA")
	pair := func(name string, ca *certs.CA, cn string, tune func(*x509.Certificate)) secure.Files {
		cert, key := ca.Sign(t, cn, tune).Write(t, p.dir, name)
		return secure.Files{Cert: cert, Key: key, CA: p.serverCA}
	}
	plain := secure.Files{Cert: p.cert, Key: p.key}
	mutual := secure.Files{Cert: p.cert, Key: p.key, CA: p.clientCA}
	emqx := secure.Files{Cert: p.clientCert, Key: p.clientKey, CA: p.serverCA}
	for _, c := range []struct {
		name           string
		server, client secure.Files
		names          []string
		serverName     string
		atServer       string // in its error; empty: none on both sides
		atClient       string
	}{
		{name: "one side", server: plain, client: secure.Files{CA: p.serverCA}},
		{name: "a name of its own", server: plain, client: secure.Files{CA: p.serverCA}, serverName: "hookmux"},
		{name: "both sides", server: mutual, client: emqx},
		{name: "common name", server: mutual, client: emqx, names: []string{"emqx-1", "emqx-0"}},
		{name: "DNS name", server: mutual, names: []string{"b.example"}, client: pair("dns", p.clients, "x", func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "b.example"} })},
		{name: "URI", server: mutual, names: []string{"spiffe://mesh/emqx"}, client: pair("uri", p.clients, "", certs.OnlyURI("spiffe://mesh/emqx"))},

		{name: "wrong server name", server: plain, client: secure.Files{CA: p.serverCA}, serverName: "other",
			atServer: "bad certificate", atClient: "not other"},
		{name: "server of another CA", server: withoutCA(pair("foreign", other, "hookmux", nil)), client: secure.Files{CA: p.serverCA},
			atServer: "bad certificate", atClient: "unknown authority"},
		{name: "expired server", server: withoutCA(pair("old", p.servers, "hookmux", certs.Expired)), client: secure.Files{CA: p.serverCA},
			atServer: "bad certificate", atClient: "has expired"},
		{name: "no client certificate", server: mutual, client: secure.Files{CA: p.serverCA},
			atServer: "didn't provide a certificate", atClient: "certificate required"},
		{name: "client of another CA", server: mutual, client: pair("forged", other, "emqx-0", nil), names: []string{"emqx-0"},
			atServer: "unknown authority", atClient: "unknown certificate authority"},
		{name: "expired client", server: mutual, client: pair("gone", p.clients, "emqx-0", certs.Expired),
			atServer: "has expired", atClient: "expired certificate"},
		{name: "client of another name", server: mutual, client: emqx, names: []string{"emqx-1"},
			atServer: "good for emqx-0, which is not among", atClient: "bad certificate"},
		{name: "client without a name", server: mutual, client: pair("nameless", p.clients, "", certs.OnlyURI("spiffe://mesh/other")), names: []string{""},
			atServer: "good for spiffe://mesh/other, which is not among", atClient: "bad certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, client := load(t, c.server, nil), load(t, c.client, nil)
			_, atServer, atClient := shake(t, server.Server(c.names, "h2"), client.Client(c.serverName))
			check := func(side string, err error, want string) {
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", side, err, want)
				}
			}
			check("server", atServer, c.atServer)
			check("client", atClient, c.atClient)
		})
	}
}

func withoutCA(f secure.Files) secure.Files {
	f.CA = ""
	return f
}

// Nothing older than TLS 1.2, and what is agreed on.
func TestVersionsAndProtocols(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	server := load(t, secure.Files{Cert: p.cert, Key: p.key}, nil).Server(nil, "h2")
	client := load(t, secure.Files{CA: p.serverCA}, nil)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := client.Client("")
		cfg.NextProtos, cfg.MinVersion, cfg.MaxVersion = []string{"h2"}, version, version
		seen, _, err := shake(t, server, cfg)
		if (err == nil) != ok || ok && (seen.Version != version || seen.NegotiatedProtocol != "h2") {
			t.Errorf("%s: %v, agreed on %s %q", tls.VersionName(version), err, tls.VersionName(seen.Version), seen.NegotiatedProtocol)
		}
	}
	if client.Client("").MinVersion != tls.VersionTLS12 {
		t.Error("a client takes less")
	}
}

// No session is resumed: it would pass by a CA or a name that was taken away.
func TestNoSessionIsResumed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	server := load(t, secure.Files{Cert: p.cert, Key: p.key, CA: p.clientCA}, nil).Server(nil)
	cfg := load(t, secure.Files{Cert: p.clientCert, Key: p.clientKey, CA: p.serverCA}, nil).Client("")
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for range 2 {
		if seen, _, err := shake(t, server, cfg); err != nil || seen.DidResume {
			t.Errorf("resumed: %t, %v", seen.DidResume, err)
		}
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	log := new(journal)
	source := load(t, secure.Files{Cert: p.cert, Key: p.key}, log)
	server, client := source.Server(nil), load(t, secure.Files{CA: p.serverCA}, nil)
	shows := func(want string) {
		t.Helper()
		seen, _, err := shake(t, server, client.Client("127.0.0.1"))
		if err != nil || seen.PeerCertificates[0].Subject.CommonName != want {
			t.Errorf("shown %v, %v; want %s", seen.PeerCertificates, err, want)
		}
	}
	shows("hookmux")
	next := p.servers.Sign(t, "second", nil)
	certs.WriteFile(t, p.cert, next.Cert) // half of it
	shows("hookmux")
	shows("hookmux")
	if n := log.count("those of before stay in use"); n != 1 {
		t.Errorf("said %d times that the pair does not fit", n)
	}
	if err := source.Refresh(); err == nil || !strings.Contains(err.Error(), p.cert) || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("refresh: %v", err)
	}
	certs.WriteFile(t, p.key, next.Key)
	shows("second")
	if err := source.Refresh(); err != nil || log.count("are in use from the next connection on") != 1 {
		t.Errorf("refresh: %v", err)
	}
	// Gone for a moment, and back as it was.
	_ = os.Rename(p.key, p.key+".away")
	shows("second")
	if err := source.Refresh(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("refresh: %v", err)
	}
	_ = os.Rename(p.key+".away", p.key)
	if err := source.Refresh(); err != nil {
		t.Error(err)
	}
	for _, junk := range []string{"", "no PEM at all", string(next.Key)} {
		certs.WriteFile(t, p.cert, []byte(junk))
		shows("second")
	}
	if log.count("BEGIN") != 0 || log.count("PRIVATE") != 0 {
		t.Error("the log shows what is in a file")
	}
}

// As Kubernetes does: the folder's files are links through one that is replaced.
func TestRenewalByLinks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	mount := t.TempDir()
	version := func(name string) {
		t.Helper()
		dir := filepath.Join(mount, ".."+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		pair := p.servers.Sign(t, name, nil)
		certs.WriteFile(t, filepath.Join(dir, "tls.crt"), pair.Cert)
		certs.WriteFile(t, filepath.Join(dir, "tls.key"), pair.Key)
		tmp := filepath.Join(mount, "..data_tmp")
		if err := errors.Join(os.Symlink(dir, tmp), os.Rename(tmp, filepath.Join(mount, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("first")
	for _, f := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", f), filepath.Join(mount, f)); err != nil {
			t.Fatal(err)
		}
	}
	server := load(t, secure.Files{Cert: filepath.Join(mount, "tls.crt"), Key: filepath.Join(mount, "tls.key")}, nil).Server(nil)
	client := load(t, secure.Files{CA: p.serverCA}, nil)
	for _, name := range []string{"first", "second", "third"} {
		if name != "first" {
			version(name)
		}
		if seen, _, err := shake(t, server, client.Client("")); err != nil || seen.PeerCertificates[0].Subject.CommonName != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Another CA counts for both sides from the next handshake on.
func TestOtherCA(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	server := load(t, secure.Files{Cert: p.cert, Key: p.key, CA: p.clientCA}, nil).Server(nil)
	client := load(t, secure.Files{Cert: p.clientCert, Key: p.clientKey, CA: p.serverCA}, nil)
	if _, _, err := shake(t, server, client.Client("")); err != nil {
		t.Fatal(err)
	}
	next := certs.NewCA(t, "the next clients' CA")
	certs.WriteFile(t, p.clientCA, next.PEM)
	if _, atServer, err := shake(t, server, client.Client("")); err == nil || atServer == nil {
		t.Error("the old client still gets in")
	}
	pair := next.Sign(t, "emqx-0", nil)
	pair.Write(t, p.dir, "client")
	if _, _, err := shake(t, server, client.Client("")); err != nil {
		t.Error(err)
	}
	certs.WriteFile(t, p.serverCA, next.PEM)
	if _, _, err := shake(t, server, client.Client("")); err == nil {
		t.Error("the client trusts who it does not any more")
	}
}

// Certificates are replaced while many connect: nobody ever sees a failure.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	source := load(t, secure.Files{Cert: p.cert, Key: p.key}, nil)
	server, client := source.Server(nil), load(t, secure.Files{CA: p.serverCA}, nil)
	pairs := []certs.Pair{p.servers.Sign(t, "a", nil), p.servers.Sign(t, "b", nil)}
	stop := make(chan struct{})
	var writer, all sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				certs.WriteFile(t, p.cert, pairs[i%2].Cert)
				certs.WriteFile(t, p.key, pairs[i%2].Key)
			}
		}
	})
	for range 4 {
		all.Go(func() {
			for range 20 {
				if _, _, err := shake(t, server, client.Client("")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	writer.Wait()
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	empty := certs.WriteFile(t, filepath.Join(p.dir, "empty"), nil)
	huge := certs.WriteFile(t, filepath.Join(p.dir, "huge"), make([]byte, 5<<20))
	for want, f := range map[string]secure.Files{
		"no such file":             {Cert: filepath.Join(p.dir, "none"), Key: p.key},
		"is a directory":           {Cert: p.cert, Key: p.dir},
		"cannot be used":           {Cert: p.cert, Key: p.clientKey},
		"failed to find any PEM":   {Cert: empty, Key: p.key},
		"there is no certificate ": {Cert: p.cert, Key: p.key, CA: empty},
		"larger than 4 MiB":        {CA: huge},
	} {
		if _, err := secure.Load(f, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	log := new(journal)
	p.servers.Sign(t, "hookmux", certs.Expired).Write(t, p.dir, "server")
	if s := load(t, secure.Files{Cert: p.cert, Key: p.key}, log); log.count("has expired") != 1 || s.Expires().IsZero() {
		t.Error("nothing is said of a certificate that has expired")
	}
}
