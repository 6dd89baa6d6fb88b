// Package secure has TLS from files that change: a certificate that was renewed is
// used from the next handshake on, by whoever listens and whoever dials.
//
// # Use
//
//	s, err := secure.Load(secure.Files{Cert: "tls.crt", Key: "tls.key", CA: "brokers.pem"}, log)
//	l = tls.NewListener(l, s.Server([]string{"emqx-0"}, "h2"))
//	cfg := s.Client("providers.example") // for one handshake
//
// The files are read at every handshake, which costs little beside it, and what is
// in them is taken once it is a pair that fits. Until then, and while a file cannot be
// read, the pair of before stays in use, and the log says why, once for each new
// content. So it does not matter how a file is replaced: written anew, renamed into
// place, or behind a symbolic link as in Kubernetes.
//
// Connections that are open stay as they are. Sessions are not resumed: a peer shows
// its certificate with every connection, and it is held against the newest CA and names.
//
// All checks are crypto/tls's and crypto/x509's.
package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Files are the paths of PEM files.
type Files struct {
	// Cert is our certificate, with those between it and the CA behind it, and Key its
	// private key: both or neither.
	Cert, Key string
	// CA has the certificates of who signs the other side's. Empty: for Server nobody
	// is asked for one, for Client it is who the system trusts.
	CA string
}

// Source is what the files hold, as far as it is right. Its methods may be called
// from any goroutine.
type Source struct {
	files Files
	log   *slog.Logger

	mu   sync.Mutex
	read *contents // what was read last, be it right or not
	bad  error     // what is wrong with read
	now  *material
	said string // the last complaint, so that it is made once
}

// contents are the bytes of each file.
type contents struct{ cert, key, ca []byte }

func (c *contents) equal(o *contents) bool {
	return bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key) && bytes.Equal(c.ca, o.ca)
}

// material is what can be used. It is not changed.
type material struct {
	cert *tls.Certificate // nil: none
	ca   *x509.CertPool   // nil: none
}

// Load reads the files. Every error names the file, and none shows what is in it.
func Load(files Files, log *slog.Logger) (*Source, error) {
	s := &Source{files: files, log: log}
	if err := s.Refresh(); err != nil {
		return nil, err
	}
	return s, nil
}

// Refresh takes what the files hold now. An error says why it cannot be used; then
// what was in use stays.
func (s *Source) Refresh() error {
	_, err := s.current()
	return err
}

// Expires is when our own certificate does; zero if there is none.
func (s *Source) Expires() time.Time {
	m, _ := s.current()
	if m == nil || m.cert == nil {
		return time.Time{}
	}
	return m.cert.Leaf.NotAfter
}

// current is what is in use after a look at the files, and what is wrong with them.
func (s *Source) current() (*material, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.readFiles()
	if err == nil && (s.read == nil || !s.read.equal(c)) {
		var m *material
		if m, s.bad = s.parse(c); s.bad == nil {
			s.use(m)
		}
		s.read = c
	}
	if err == nil {
		err = s.bad
	}
	switch {
	case err == nil:
		s.said = ""
	case s.now != nil && s.said != err.Error(): // at the start, Load says it
		s.said = err.Error()
		s.log.Error("TLS files have changed and cannot be used: those of before stay in use", "error", err)
	}
	return s.now, err
}

func (s *Source) use(m *material) {
	attrs := []any{"ca", s.files.CA}
	if m.cert != nil {
		attrs = append(attrs, "cert", s.files.Cert, "expires", m.cert.Leaf.NotAfter)
		if time.Now().After(m.cert.Leaf.NotAfter) {
			s.log.Warn("the TLS certificate has expired: who checks it will not connect", attrs...)
		}
	}
	if s.now != nil {
		s.log.Info("TLS files have changed and are in use from the next connection on", attrs...)
	}
	s.now = m
}

func (s *Source) readFiles() (*contents, error) {
	c := new(contents)
	for _, f := range []struct {
		path string
		into *[]byte
	}{{s.files.Cert, &c.cert}, {s.files.Key, &c.key}, {s.files.CA, &c.ca}} {
		if f.path == "" {
			continue
		}
		var err error
		if *f.into, err = readFile(f.path); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
	}
	return c, nil
}

// maxFile is far more than certificates need; all CAs of the world are 300 kB.
const maxFile = 4 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than 4 MiB", path)
	}
	return data, err
}

func (s *Source) parse(c *contents) (*material, error) {
	m := new(material)
	if s.files.Cert != "" {
		cert, err := tls.X509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("TLS: the certificate in %s and the key in %s cannot be used: %w", s.files.Cert, s.files.Key, err)
		}
		m.cert = &cert
	}
	if s.files.CA != "" {
		m.ca = x509.NewCertPool()
		if !m.ca.AppendCertsFromPEM(c.ca) {
			return nil, fmt.Errorf("TLS: there is no certificate in %s", s.files.CA)
		}
	}
	return m, nil
}

// Server is for who listens, and needs Cert and Key. With a CA, who connects must
// have a certificate that it signed, and with names, in which one of them is the
// common name or a DNS name or URI that it is good for. protos are the protocols
// that are offered (ALPN).
func (s *Source) Server(names []string, protos ...string) *tls.Config {
	names = slices.Clone(names)
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protos, // for who looks, as gRPC does
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m, _ := s.current() // which has said what is wrong
			cfg := &tls.Config{
				MinVersion:             tls.VersionTLS12,
				NextProtos:             protos,
				Certificates:           []tls.Certificate{*m.cert},
				SessionTicketsDisabled: true,
			}
			if m.ca != nil {
				cfg.ClientCAs, cfg.ClientAuth = m.ca, tls.RequireAndVerifyClientCert
				if len(names) > 0 {
					cfg.VerifyConnection = func(c tls.ConnectionState) error { return checkName(c.PeerCertificates[0], names) }
				}
			}
			return cfg, nil
		},
	}
}

// Client is for who dials, for one handshake. serverName is the name that the
// server's certificate must be good for; empty: who dials says it.
func (s *Source) Client(serverName string) *tls.Config {
	m, _ := s.current() // which has said what is wrong
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.ca, ServerName: serverName}
	if m.cert != nil {
		// Shown whatever the server says whom it trusts: its own answer is clearer.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.cert, nil }
	}
	return cfg
}

// NameError is why a peer whose certificate is right was refused.
type NameError struct{ Names []string }

func (e *NameError) Error() string {
	return fmt.Sprintf("the client's certificate is good for %s, which is not among the names that may connect", strings.Join(e.Names, ", "))
}

func checkName(cert *x509.Certificate, allowed []string) error {
	names := Names(cert)
	if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(allowed, n) }) {
		return nil
	}
	return &NameError{names}
}

// Names are what a certificate is for, as an allow-list has them: its common name,
// DNS names and URIs.
func Names(cert *x509.Certificate) (names []string) {
	if cn := cert.Subject.CommonName; cn != "" {
		names = append(names, cn)
	}
	for _, n := range cert.DNSNames {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return names
}
