package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/certs"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// canaries are secrets, by where they are. None may come out anywhere.
var canaries = []string{
	"canary-password", "canary-payload", "canary-argument", "canary-config-env", "canary-config-file",
	"canary-environment", "canary-broken-config", "canary-token-1234567890", "canary-when", "canary-wrong-token",
}

// exposed says in which form a secret is in b, or "".
func exposed(b []byte, secret string) string {
	for form, text := range map[string]string{
		"plain": secret, "base64": base64.RawStdEncoding.EncodeToString([]byte(secret))[:len(secret)],
		"hexadecimal": fmt.Sprintf("%x", secret), "spaced": strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]"),
	} {
		if bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(text))) {
			return form
		}
	}
	return ""
}

// everything is all that came out of hookmux, by where.
type everything struct {
	t   *testing.T
	mu  sync.Mutex
	out map[string][]byte
}

func (e *everything) add(where string, b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out[where] = append(e.out[where], b...)
}

const secretsConfig = `
listen: 127.0.0.1:%d
log: {level: debug}
admin: {listen: "127.0.0.1:%d", token: "${file:token}"}
limits: {message: 64KiB}
tls: {cert: hookmux.crt, key: hookmux.key}
providers:
  - name: login
    command: [%q, "${env:ARGUMENT}"]
    config: {protocol: 2, hooks: [client.authenticate, client.connected, message.publish], record: record, secret: {nested: ["${env:CONFIG}", "x-${file:secret}"]}}
    env: {PASSWORD: "${env:ENVIRONMENT}"}
    when: client.id != "${env:WHEN}"
  - name: garbage
    command: [%[3]q, "${env:ARGUMENT}"]
    config: {do: answer garbage, hooks: [client.authorize], secret: "${env:CONFIG}"}
  - name: panics
    command: [%[3]q]
    config: {do: panic in client.authenticate, hooks: [client.authenticate], secret: "${env:CONFIG}"}
    when: client.id == "panic"
  - name: broken
    command: [%[3]q, "${env:ARGUMENT}"]
    config: {do: exit at start, secret: "${env:BROKEN}"}
    hooks: [client.connack]
  - name: legacy
    url: https://127.0.0.1:1
    tls: {ca: hookmux.crt, cert: remote.crt, key: remote.key}
    hooks: [client.subscribe]
`

// A real hookmux with a secret in every place where one may be, with events that hold
// secrets, in trouble, and everybody asking it everything: nothing that comes out of it
// shows one.
func TestNoSecretComesOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certs.NewCA(t, "CA")
	ca.Sign(t, "hookmux", nil).Write(t, dir, "hookmux")
	remote := ca.Sign(t, "me", nil)
	remote.Write(t, dir, "remote")
	for name, text := range map[string]string{"token": "canary-token-1234567890", "secret": "canary-config-file\n"} {
		certs.WriteFile(t, filepath.Join(dir, name), []byte(text))
	}
	secrets := canaries
	for _, key := range []string{"hookmux.key", "remote.key"} {
		data, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.Split(string(data), "\n")[1])
	}
	port, adminPort := freePort(t), freePort(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "hookmux.yaml")
	text := fmt.Sprintf(secretsConfig, port, adminPort, exe)
	certs.WriteFile(t, file, []byte(text))
	env := append(os.Environ(), "ARGUMENT=canary-argument", "CONFIG=canary-config-env", "ENVIRONMENT=canary-environment",
		"BROKEN=canary-broken-config", "WHEN=canary-when", "XDG_STATE_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	all := &everything{t: t, out: make(map[string][]byte)}
	cli := func(args ...string) (out []byte) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "hookmux", args...)
		cmd.Env, cmd.Dir = env, dir
		out, _ = cmd.CombinedOutput()
		all.add("hookmux "+strings.Join(args, " "), out)
		return out
	}

	daemon := exec.Command("hookmux", "run", "-c", file)
	daemon.Env, daemon.Dir = env, dir
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	logged := make(chan struct{})
	var log bytes.Buffer
	var logMu sync.Mutex
	go func() {
		defer close(logged)
		for r := bufio.NewScanner(stderr); r.Scan(); {
			logMu.Lock()
			log.WriteString(r.Text() + "\n")
			logMu.Unlock()
		}
	}()
	stop := sync.OnceFunc(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		<-logged
		_ = daemon.Wait()
		all.add("the log", log.Bytes())
	})
	defer stop()
	inLog := func(text string) {
		t.Helper()
		muxtest.Eventually(t, fmt.Sprintf("%q is in the log", text), func() bool {
			logMu.Lock()
			defer logMu.Unlock()
			return strings.Contains(log.String(), text)
		})
	}
	inLog("listening for brokers")
	inLog("provider=broken")

	// Who follows events meanwhile.
	base := fmt.Sprintf("http://127.0.0.1:%d", adminPort)
	get := func(ctx context.Context, token, path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	}
	following, unfollow := context.WithCancel(t.Context())
	defer unfollow()
	tail, err := get(following, "canary-token-1234567890", "/v1/tail")
	if err != nil {
		t.Fatal(err)
	}
	var follower sync.WaitGroup
	follower.Go(func() {
		b, _ := io.ReadAll(tail.Body)
		_ = tail.Body.Close()
		all.add("GET /v1/tail", b)
	})

	events(t, fmt.Sprintf("127.0.0.1:%d", port), ca)
	inLog("no answer, so its failure policy decides")

	cli("check", "-c", file, "--explain", "--no-start")
	certs.WriteFile(t, filepath.Join(dir, "other.yaml"), []byte(strings.Replace(text, fmt.Sprintf("127.0.0.1:%d", port), "127.0.0.1:0", 1)))
	checked := cli("check", "-c", filepath.Join(dir, "other.yaml"), "--explain", "-v")
	if !bytes.Contains(checked, []byte("legacy")) || !bytes.Contains(checked, []byte("client.authenticate")) {
		t.Errorf("check:\n%s", checked)
	}
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"providers"}, {"providers", "--json"}, {"explain", "--client", "bad"}, {"explain", "--client", "bad", "--json"},
		{"restart", "login"}, {"restart", "broken"}, {"reload"}, {"disable", "login"}, {"enable", "login"}, {"drain", "login"},
	} {
		if cmd, _, err := newRoot().Find(args[:1]); err == nil && cmd.Name() == args[0] {
			cli(append(args, "-c", file)...)
		}
	}
	openapi, err := os.ReadFile("../../mux/admin/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, m := range regexp.MustCompile(`(?m)^  (/.*):\n    get:`).FindAllStringSubmatch(string(openapi), -1) {
		path := strings.ReplaceAll(m[1], "{name}", "login")
		if path == "/v1/tail" {
			continue
		}
		asked++
		for _, token := range []string{"canary-token-1234567890", "canary-wrong-token"} {
			resp, err := get(t.Context(), token, path)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			all.add("GET "+path, b)
			all.add("headers of GET "+path, []byte(fmt.Sprint(resp.Header)))
		}
	}
	for _, path := range []string{"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/v1/providers/broken", "/v1/nothing?token=canary-token-1234567890"} {
		resp, err := get(t.Context(), "canary-token-1234567890", path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		all.add("GET "+path, bytes.ReplaceAll(b, []byte(path), nil))
	}
	if asked < 8 {
		t.Errorf("%d paths were asked", asked)
	}

	// A reload of a file in which secrets are where they are not expected.
	for _, wrong := range []string{
		"listen: '${env:CONFIG}'", "log: {level: '${env:CONFIG}'}", "admin: {listen: '${env:CONFIG}', token: short-canary-token-1234567890}",
		"tls: {cert: '${file:token}', key: 'x'}", "default: {'client.authenticate': '${env:CONFIG}'}", "nothing: '${env:CONFIG}'",
	} {
		certs.WriteFile(t, file, []byte(wrong+"\nproviders: [{name: a, command: ['${env:ARGUMENT}'], when: '${env:WHEN} +', url: '${env:CONFIG}', timeout: '${env:CONFIG}'}]\n"))
		_ = daemon.Process.Signal(syscall.SIGHUP)
		cli("check", "-c", file)
	}
	inLog("reload failed")
	unfollow()
	follower.Wait()
	stop()

	for where, b := range all.out {
		for _, secret := range secrets {
			if form := exposed(b, secret); form != "" {
				at := bytes.Index(bytes.ToLower(b), []byte(strings.ToLower(secret)))
				t.Errorf("%s shows %s (%s): …%s…", where, secret, form, b[max(0, at-100):min(len(b), max(0, at)+100)])
			}
		}
	}
	// That something came out at all.
	for where, want := range map[string]string{
		"the log": "client=bad", "GET /v1/tail": `"client":"bad"`, "GET /v1/decisions": `"client":"bad"`, "GET /v1/status": `"name":"login"`,
		"GET /debug/pprof/goroutine?debug=2": "goroutine ",
	} {
		if !strings.Contains(string(all.out[where]), want) {
			t.Errorf("%s does not have %s:\n%s", where, want, all.out[where])
		}
	}
}

// events has a broker send what holds secrets, some of it broken.
func events(t *testing.T, addr string, ca *certs.CA) {
	t.Helper()
	b := muxtest.NewTLSBroker(t, addr, mux.V3, ca.ClientConfig())
	b.Load(t, "5.10.3")
	for _, client := range []string{"good", "bad", "panic"} {
		info := &exhookv3.ClientInfo{Clientid: client, Username: "user", Password: "canary-password"}
		b.Event(t, mux.ClientAuthenticate, client, &exhookv3.ClientAuthenticateRequest{Clientinfo: info})
		b.Event(t, mux.ClientAuthorize, client, &exhookv3.ClientAuthorizeRequest{Clientinfo: info, Topic: "t"})
		b.Event(t, mux.ClientConnected, client, &exhookv3.ClientConnectedRequest{Clientinfo: info})
		b.Event(t, mux.ClientSubscribe, client, &exhookv3.ClientSubscribeRequest{Clientinfo: info, TopicFilters: []*exhookv3.TopicFilter{{Name: "t"}}})
		msg := &exhookv3.Message{From: client, Topic: "t", Payload: []byte("canary-payload")}
		b.Event(t, mux.MessagePublish, client, &exhookv3.MessagePublishRequest{Message: msg})
		msg.Payload = bytes.Repeat([]byte("canary-payload"), 10_000) // too large
		b.Event(t, mux.MessagePublish, client, &exhookv3.MessagePublishRequest{Message: msg})
		whole, err := proto.Marshal(&exhookv3.ClientAuthenticateRequest{Clientinfo: info})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Call(mux.V3.FullMethod(mux.ClientAuthenticate), client, whole[:len(whole)-1]); err != nil {
			t.Error(err)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
