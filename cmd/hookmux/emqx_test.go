package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hookmux/hookmux/mux/emqx"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/certs"
	"github.com/hookmux/hookmux/mux/muxtest/fakeemqx"
)

// beside is a folder with a config and a key, and the commands run there.
type beside struct {
	t    *testing.T
	dir  string
	port int
	exe  string
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "emqx") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &beside{t: t, dir: dir, port: freePort(t), exe: exe}
	certs.WriteFile(t, filepath.Join(dir, "emqx.key"), []byte(fakeemqx.Key+":"+fakeemqx.Secret+":viewer\n"))
	b.config("client.authorize")
	return b
}

func (b *beside) config(hooks ...string) {
	text := fmt.Sprintf("listen: 127.0.0.1:%d\nadmin: unix:admin.sock\nstate: off\nproviders:\n  - {name: login, command: [%q], config: {hooks: [%s], answer: allow}}\n", b.port, b.exe, strings.Join(hooks, ", "))
	certs.WriteFile(b.t, filepath.Join(b.dir, "hookmux.yaml"), []byte(text))
}

func (b *beside) cmd(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.t.Context(), "hookmux", args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), emqxKeyVar+"=", emqxSecretVar+"=")
	return cmd
}

// run runs a command and gives all that it printed.
func (b *beside) run(ok bool, args ...string) string {
	b.t.Helper()
	out, err := b.cmd(args...).CombinedOutput()
	if (err == nil) != ok {
		b.t.Errorf("hookmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	b.t.Logf("$ hookmux %s\n%s", strings.Join(args, " "), out)
	if bytes.Contains(out, []byte(fakeemqx.Secret)) {
		b.t.Errorf("hookmux %s shows the secret", strings.Join(args, " "))
	}
	return string(out)
}

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

// From nothing to a registration that is right, and on to one that knows a hook more, as
// an operator goes.
func TestDoctorAndRegister(t *testing.T) {
	t.Parallel()
	b := newBeside(t)
	e := fakeemqx.Start(t, "5.8.8", "emqx@a", "emqx@b")
	e.Change(func() { e.Sources = []map[string]any{{"type": "file", "enable": true}} })
	to := []string{"--emqx", e.URL, "--api-key-file", "emqx.key"}
	doctor := append([]string{"doctor"}, to...)
	register := append([]string{"emqx", "register"}, to...)

	out := b.run(false, doctor...)
	contains(t, out, "problem  hookmux itself cannot be asked", "problem  EMQX has no ExHook server for hookmux", "→ hookmux emqx register --emqx "+e.URL+" --api-key-file emqx.key", "2 problems between EMQX and hookmux")

	daemon := b.cmd("run")
	var log bytes.Buffer
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	muxtest.Eventually(t, "hookmux runs", func() bool { return b.cmd("ready").Run() == nil })

	contains(t, b.run(true, append(register, "--dry-run")...), "EMQX has no entry for hookmux: hookmux is made", fmt.Sprintf("+ url: http://127.0.0.1:%d", b.port), "+ request_timeout: 5s")
	if len(e.Names()) != 0 {
		t.Error("a dry run changed something")
	}
	contains(t, b.run(true, register...), "hookmux is loaded on emqx@a, emqx@b")
	contains(t, b.run(true, register...), "nothing to do")
	out = b.run(false, doctor...)
	contains(t, out, "problem  EMQX's own authorization sources (file) are asked first", "authorization.sources = []", "1 problem between")
	e.Change(func() { e.Sources = nil })
	contains(t, b.run(true, doctor...), "ok       EMQX calls hookmux on 2 nodes, as it should")

	// A hook more: stale, until it is registered anew.
	b.config("client.authorize", "client.connected")
	b.run(true, "restart", "login")
	b.run(true, "reload")
	out = b.run(false, append(doctor, "--json")...)
	var found struct{ Findings []emqx.Finding }
	if err := json.Unmarshal([]byte(out[:strings.LastIndex(out, "}")+1]), &found); err != nil || len(found.Findings) != 1 || found.Findings[0].Code != "stale" || !strings.Contains(found.Findings[0].What, "client.connected") {
		t.Errorf("%v\n%s", err, out)
	}
	contains(t, b.run(true, register...), "EMQX is to send what it does not yet: client.connected", "hookmux-2 takes over from hookmux", "done: ")
	if !slices.Equal(e.Names(), []string{"hookmux-2"}) || !slices.Contains(e.Hooks("hookmux-2", "emqx@b"), "client.connected") {
		t.Errorf("EMQX has %q", e.Names())
	}
	contains(t, b.run(true, doctor...), "as it should")
	contains(t, b.run(true, register...), "nothing to do")

	// What somebody changed in EMQX is found, and put right.
	e.Set("hookmux-2", "failed_action", "ignore")
	e.Set("hookmux-2", "request_timeout", "3s")
	e.Set("hookmux-2", "url", fmt.Sprintf("http://127.0.0.1:%d", b.port+1))
	out = b.run(false, doctor...)
	contains(t, out, "failed_action of hookmux-2 is ignore", "request_timeout of hookmux-2 is 3s", "but hookmux listens at", "3 problems")
	contains(t, b.run(true, register...), "- failed_action: ignore", "+ failed_action: deny", "hookmux takes over from hookmux-2")
	contains(t, b.run(true, doctor...), "as it should")
}

func TestEMQXFlags(t *testing.T) {
	t.Parallel()
	b := newBeside(t)
	e := fakeemqx.Start(t, "5.10.3", "emqx@a")
	certs.WriteFile(t, filepath.Join(b.dir, "bad.key"), []byte("no colon"))
	certs.WriteFile(t, filepath.Join(b.dir, "wrong.key"), []byte(fakeemqx.Key+":wrong"))
	ca := certs.NewCA(t, "CA")
	certs.WriteFile(t, filepath.Join(b.dir, "ca.pem"), ca.PEM)
	certs.WriteFile(t, filepath.Join(b.dir, "every.yaml"), []byte("listen: :9000\nproviders: [{name: a, command: a}]\n"))
	key := []string{"--emqx", e.URL, "--api-key-file", "emqx.key"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"doctor", "--emqx", e.URL}, "EMQX's API needs a key: make one in its dashboard"},
		{[]string{"doctor", "--emqx", e.URL, "--api-key-file", "none"}, "the API key: open none"},
		{[]string{"doctor", "--emqx", e.URL, "--api-key-file", "bad.key"}, "bad.key must hold KEY:SECRET"},
		{[]string{"doctor", "--emqx", e.URL, "--api-key-file", "wrong.key"}, "problem  EMQX does not take the API key and secret"},
		{[]string{"doctor", "--emqx", "http://127.0.0.1:1", "--api-key-file", "emqx.key"}, "problem  nobody listens at http://127.0.0.1:1"},
		{[]string{"doctor", "--emqx", "127.0.0.1", "--api-key-file", "emqx.key"}, "EMQX's URL must be that of its dashboard"},
		{append([]string{"doctor", "--emqx-ca", "emqx.key"}, key...), "there is no certificate in emqx.key"},
		{append([]string{"emqx", "register", "-c", "every.yaml"}, key...), "name one with --url"},
		{append([]string{"emqx", "register", "--server-ca", "ca.pem"}, key...), "certificates are of no use with a URL of http://"},
		{append([]string{"emqx", "register", "--url", "https://x:1", "--client-cert", "ca.pem"}, key...), "--client-cert and --client-key go together"},
		{append([]string{"emqx", "register", "--url", "https://x:1", "--server-ca", "emqx.key"}, key...), "emqx.key is no PEM file"},
		{append([]string{"emqx", "register", "--request-timeout", "4s"}, key...), "must be more than the config's timeout"},
	} {
		contains(t, b.run(false, c.args...), c.want)
	}
	out := b.run(true, append([]string{"emqx", "register", "--dry-run", "--url", "https://x:1", "--server-ca", "ca.pem"}, key...)...)
	contains(t, out, "+ ssl: {cacertfile: (PEM), enable: true, verify: verify_peer}", "hookmux itself cannot be asked")
}
