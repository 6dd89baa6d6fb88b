// Package tlsfiles is the part of a plugin's config that says how it uses TLS.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Config names the files. The zero value trusts whom the system trusts, and shows no
// certificate.
type Config struct {
	// CA is a file with the certificates of those to trust, instead of the system's.
	CA string `json:"ca"`
	// Cert and Key are files with our own certificate, for a target that wants one.
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// ServerName is the name in the target's certificate, if it is not that of its address.
	ServerName string `json:"server_name"`
}

// Load reads the files. Our own certificate is read again for every connection, since it
// may have been renewed.
func (c Config) Load() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s has no certificate in PEM", c.CA)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("tls.cert and tls.key: one needs the other")
	}
	if c.Cert != "" {
		load := func() (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			if err != nil {
				return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
			}
			return &cert, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return conf, nil
}
