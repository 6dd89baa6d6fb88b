package config

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hookmux/hookmux/mux/trail"
)

// Admin is where operators connect, and who may.
type Admin struct {
	// Listen is the path of a unix socket, host:port, "off", or "" for the default.
	Listen string
	// Cert and Key are files for TLS, absolute; empty: there is none, and Listen is this
	// machine's own.
	Cert, Key string
	// Token is what operators must have; with host:port there is one.
	Token Secret
	// OpenMetrics has /metrics answer without the token.
	OpenMetrics bool
}

// IsTCP says whether Listen is host:port.
func (a Admin) IsTCP() bool { return a.Listen != Off && a.Listen != "" && a.Listen[0] != '/' }

// LoadAdmin reads the key admin of a file, whatever is wrong with others. The error is
// what is wrong with that key, or with the file as a whole.
func LoadAdmin(path string) (Admin, error) {
	data, err := readFile(path)
	if err != nil {
		return Admin{}, fmt.Errorf("cannot read the config: %w", err)
	}
	cfg, r, err := read(path, data, Sources{Dir: filepath.Dir(path)})
	if err != nil {
		return Admin{}, err
	}
	r.errs = slices.DeleteFunc(r.errs, func(e *Error) bool {
		return !r.gaveUp && e.Key != "" && e.Key != "admin" && !strings.HasPrefix(e.Key, "admin.")
	})
	if err := r.err(); err != nil {
		return Admin{}, err
	}
	return cfg.Admin, nil
}

// Secret is a text that is not shown, whoever prints or encodes it.
type Secret string

// String hides the secret.
func (Secret) String() string { return "(not shown)" }

// Format hides the secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("(not shown)"), nil }

const expectsAdmin = "unix:PATH, such as unix:/run/hookmux/admin.sock; host:port, such as 127.0.0.1:9080, with a token; or off"

// adminAddress is a mapping, or its key listen alone.
func adminAddress(into *Admin) value {
	keys := adminKeys(into)
	s := objectSchema(keys)
	s["required"] = []string{"listen"}
	return value{
		expects: expectsAdmin, keys: func() []key { return keys },
		schema: schema{"anyOf": []schema{patternSchema("^(unix:.+|off)$"), s}},
		read: func(r *reader, path string, n *node) {
			if n.kind != mapping {
				keys[0].value.read(r, path, n)
				if into.IsTCP() {
					r.fail(n.line, path, "an address needs a token: write {listen: %s, token: \"${file:admin.token}\"}", quote(n.text))
				}
				return
			}
			given := r.mapping(path, n, keys)
			_, hasToken := given["token"]
			_, hasTLS := given["tls"]
			switch listen, ok := given["listen"]; {
			case given == nil:
			case !ok:
				r.fail(n.line, join(path, "listen"), "this key is missing: expected %s", expectsAdmin)
			case into.IsTCP() && !hasToken:
				r.fail(listen.line, join(path, "token"), "this key is missing: who connects to an address must have a token, such as \"${file:admin.token}\"")
			case into.IsTCP() && !hasTLS && !isLoopback(into.Listen):
				r.fail(listen.line, join(path, "tls"), "this key is missing: other machines can reach %s, and who listens in would learn the token", quote(into.Listen))
			case into.Listen != "" && !into.IsTCP() && hasToken:
				r.fail(given["token"].line, join(path, "token"), "a unix socket has no token: its owner alone may open it")
			case into.Listen != "" && !into.IsTCP() && hasTLS:
				r.fail(given["tls"].line, join(path, "tls"), "a unix socket has no TLS: its owner alone may open it")
			}
		},
	}
}

func adminKeys(a *Admin) []key {
	return []key{
		{name: "listen", doc: "a unix socket, relative to this file, or an address, which needs a token and, if other machines can reach it, tls; `admin: unix:PATH` is short for it. Without it, a socket under /run or the user's own, named after this file",
			value: adminListen(&a.Listen)},
		{name: "token", doc: "what who connects to an address must have, such as `${file:admin.token}`",
			value: token(&a.Token)},
		{name: "tls", doc: "how who connects to an address sees that it is hookmux, and nobody listens in",
			value: adminTLS(a)},
		{name: "open_metrics", def: "false", doc: "true: /metrics needs no token",
			value: truth(func(b bool) { a.OpenMetrics = b })},
	}
}

// adminTLS is a mapping with a certificate and its key.
func adminTLS(a *Admin) value {
	keys := []key{
		{name: "cert", doc: "hookmux's certificate for operators, with those between it and its CA behind it: a PEM file, relative to this one, which may be replaced at any time",
			value: file(&a.Cert)},
		{name: "key", doc: "the certificate's private key, likewise",
			value: file(&a.Key)},
	}
	v := group(keys)
	v.read = func(r *reader, path string, n *node) {
		if given := r.mapping(path, n, keys); given != nil {
			r.certAndKey(path, n, given, true)
		}
	}
	return v
}

// adminListen is the path of a socket, or an address of this machine.
func adminListen(into *string) value {
	return value{expects: expectsAdmin, schema: schema{"type": "string"}, read: func(r *reader, path string, n *node) {
		if n.kind == list || n.kind == nothing {
			r.fail(n.line, path, "expected %s; found %s", expectsAdmin, n.kind)
			return
		}
		s, ok := r.plain(path, n)
		name, unix := strings.CutPrefix(s, "unix:")
		switch {
		case !ok:
		case s == Off:
			*into = Off
		case unix && name != "":
			*into = r.abs(name)
		case !strings.Contains(s, ":") || checkHostPort(s, 0) != "":
			r.fail(n.line, path, "expected %s; found %s", expectsAdmin, show(n))
		default:
			*into = s
		}
	}}
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}

// minToken is as short as a token may be: about as many characters as nobody guesses.
const minToken = 16

var tokenText = regexp.MustCompile(`^[!-~]{16,512}$`)

// token is a secret that goes into a header.
func token(into *Secret) value {
	const makes = "openssl rand -hex 24"
	const expects = "16 to 512 characters without spaces, such as \"${file:admin.token}\" made by: " + makes
	return value{expects: expects, schema: orFilled(schema{"type": "string", "minLength": minToken}), read: func(r *reader, path string, n *node) {
		if e := r.unfilled[path]; e != nil {
			e.Text += "; make a token by: " + makes
			return
		}
		s, ok := r.plain(path, n)
		switch {
		case !ok:
		case !tokenText.MatchString(s):
			r.fail(n.line, path, "expected %s; found %d characters", expects, len(s))
		default:
			*into = Secret(s)
		}
	}}
}

func trailKeys(t *trail.Options) []key {
	return []key{
		{name: "size", def: strconv.Itoa(trail.DefaultSize), doc: "how many decisions are kept of each kind: refusals, those that lacked a provider's answer, and all others; 0: none",
			value: trailSize(&t.Size)},
		{name: "sample", def: "1", doc: "of how many decisions of the last kind one is kept; 1 is all of them",
			value: count(&t.Sample, 1, 1_000_000)},
		{name: "payloads", def: "false", doc: "true: the trail and hookmux tail show the first 1024 bytes of messages' payloads",
			value: truth(func(b bool) { t.Payloads = b })},
	}
}

// trailSize is a count of which 0 is not the default.
func trailSize(into *int) value {
	v := count(into, 0, 100_000)
	read := v.read
	v.read = func(r *reader, path string, n *node) {
		*into = -1
		if read(r, path, n); *into == 0 {
			*into = -1
		}
	}
	return v
}
