package config

import (
	"fmt"
	"strings"
)

// TLS is how brokers connect. Its paths are absolute.
type TLS struct {
	Cert, Key string
	// ClientCA has who signs brokers' certificates; empty: they need none.
	ClientCA string
	// ClientNames are the certificate names that may connect; nil: all that ClientCA
	// signed.
	ClientNames []string
}

// RemoteTLS is how a remote with an https URL is connected to. Its paths are absolute.
type RemoteTLS struct {
	// CA has who signs the remote's certificate; empty: who the system trusts.
	CA string
	// Cert and Key are hookmux's own; empty: it shows none.
	Cert, Key string
	// ServerName is what the remote's certificate must be good for; empty: the URL's
	// host.
	ServerName string
}

// tlsOf is a mapping with the keys of a TLS.
func tlsOf(into **TLS) value {
	t := new(TLS)
	keys := []key{
		{name: "cert", doc: "hookmux's certificate, with those between it and its CA behind it: a PEM file, relative to this one, which may be replaced at any time",
			value: file(&t.Cert)},
		{name: "key", doc: "the certificate's private key, likewise",
			value: file(&t.Key)},
		{name: "client_ca", doc: "the certificates of who signs those of brokers, likewise; with it, a broker needs one",
			value: file(&t.ClientCA)},
		{name: "client_names", doc: "the brokers' certificates that are let in, by common name, DNS name or URI; without it, all that client_ca signed",
			value: certNames(&t.ClientNames)},
	}
	v := group(keys)
	v.read = func(r *reader, path string, n *node) {
		given := r.mapping(path, n, keys)
		if given == nil {
			return
		}
		r.certAndKey(path, n, given, true)
		names, narrowed := given["client_names"]
		if _, ok := given["client_ca"]; narrowed && !ok {
			r.fail(names.line, join(path, "client_names"), "without client_ca, brokers need no certificate and have no name; add client_ca")
		}
		*into = t
	}
	return v
}

// certAndKey reports one that is missing beside the other, and both if they are needed.
func (r *reader) certAndKey(path string, n *node, given map[string]pair, needed bool) {
	_, hasCert := given["cert"]
	_, hasKey := given["key"]
	if !hasCert && (hasKey || needed) {
		r.fail(n.line, join(path, "cert"), "this key is missing: a certificate and its key go together")
	}
	if !hasKey && (hasCert || needed) {
		r.fail(n.line, join(path, "key"), "this key is missing: a certificate and its key go together")
	}
}

// remoteTLS is a mapping with the keys of a RemoteTLS.
func remoteTLS(into **RemoteTLS) value {
	t := new(RemoteTLS)
	keys := []key{
		{name: "ca", doc: "the certificates of who signs the remote's: a PEM file, relative to this one, which may be replaced at any time; without it, who the system trusts",
			value: file(&t.CA)},
		{name: "cert", doc: "the certificate that hookmux shows, likewise",
			value: file(&t.Cert)},
		{name: "key", doc: "its private key, likewise",
			value: file(&t.Key)},
		{name: "server_name", doc: "what the remote's certificate must be good for; without it, the host of the url",
			value: serverName(&t.ServerName)},
	}
	v := group(keys)
	v.read = func(r *reader, path string, n *node) {
		given := r.mapping(path, n, keys)
		if given == nil {
			return
		}
		r.certAndKey(path, n, given, false)
		*into = t
	}
	return v
}

// checkRemoteTLS checks that who has tls has an https URL.
func (r *reader) checkRemoteTLS(path string, p *Provider, given map[string]pair) {
	at, ok := given["tls"]
	switch {
	case !ok || p.TLS == nil:
	case p.URL == "":
		if _, hasURL := given["url"]; !hasURL {
			r.fail(at.line, join(path, "tls"), "a provider with a command cannot have this key: hookmux talks to it over a socket of its own")
		}
	case !strings.HasPrefix(p.URL, "https://"):
		r.fail(at.line, join(path, "tls"), "the url begins with http://, which goes without TLS: write https://, or leave this key out")
	}
}

// file is the path of a file, relative to this one.
func file(into *string) value {
	const expects = "the path of a file"
	return value{expects: expects, schema: schema{"type": "string", "minLength": 1}, read: func(r *reader, path string, n *node) {
		if !r.is(text, path, n, expects) {
			return
		}
		s, ok := r.plain(path, n)
		if ok && s == "" {
			r.fail(n.line, path, "expected %s; found an empty string", expects)
		} else if ok && strings.Contains(s, "-----BEGIN") {
			r.fail(n.line, path, "expected %s; found what such a file holds", expects)
		} else if ok {
			*into = r.abs(s)
		}
	}}
}

// certNames is a list of names as they are in certificates.
func certNames(into *[]string) value {
	const expects = "a list of names, such as [emqx-0.example, spiffe://mesh/emqx]"
	return value{expects: expects, list: true, schema: listSchema(schema{"type": "string", "minLength": 1}), read: func(r *reader, path string, n *node) {
		if !r.is(list, path, n, expects) {
			return
		}
		if len(n.items) == 0 {
			r.fail(n.line, path, "the list is empty, so no broker could connect; leave the key out to let all in that client_ca signed")
		}
		for i, item := range n.items {
			at := index(path, i)
			switch {
			case !r.isShown(text, at, item, "a name"):
			case item.text == "":
				r.fail(item.line, at, "expected a name; found an empty string")
			case strings.Contains(item.text, "*"):
				r.fail(item.line, at, "names are compared as they are, without wildcards; found %s", show(item))
			default:
				*into = append(*into, item.text)
			}
		}
	}}
}

// serverName is a host as a certificate has it.
func serverName(into *string) value {
	v := value{expects: "a host name or an IP address, such as legacy.example", schema: patternSchema("^[^/]+$")}
	v.read = func(r *reader, path string, n *node) {
		if !r.isShown(text, path, n, v.expects) {
			return
		}
		if problem := checkHostPort(fmt.Sprintf("[%s]:1", n.text), 0); problem != "" {
			r.fail(n.line, path, "expected %s; found %s", v.expects, show(n))
			return
		}
		*into = n.text
	}
	return v
}
