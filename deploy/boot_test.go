package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is asked of the systemd that is booted; the answers are in /out, which outlives it.
const questions = `#!/bin/sh
exec >/out/answers 2>&1
systemctl show hookmux -p ActiveState
hookmux status -c /etc/hookmux/hookmux.yaml
ps -eo user,args
ls -ld /run/hookmux /var/lib/hookmux
systemctl reload hookmux && echo reloaded
echo nonsense: 1 >> /etc/hookmux/hookmux.yaml
systemctl reload hookmux || echo refused
systemctl show hookmux -p ActiveState
for u in node python java; do systemctl start $u-in-sandbox && echo $u runs; done
systemctl stop hookmux
systemctl show hookmux -p ActiveState,Result
echo the end
`

// Under a real systemd, the unit starts hookmux and its plugin as another user, in its sandbox; a
// reload that fails says so; and the languages of the SDKs run there too.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	asRoot(t)
	program(t, "systemd-analyze", systemdHint)
	work, err := os.MkdirTemp("/tmp", "hookmux-boot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	layer, out := filepath.Join(work, "layer"), filepath.Join(work, "layer", "out")
	output(t, "cp", "-R", installedTree(t)+"/.", layer)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(layer, "usr/lib/hookmux"), "../examples/go/minimal")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	write(t, layer, "etc/hookmux/hookmux.yaml", "listen: 127.0.0.1:0\nproviders:\n  - {name: minimal, command: minimal}\n")
	write(t, layer, "etc/systemd/system/try.target", "[Unit]\nWants=systemd-sysusers.service dbus.service hookmux.service questions.service\n")
	write(t, layer, "etc/systemd/system/questions.service", "[Unit]\nAfter=hookmux.service\n[Service]\nType=oneshot\nExecStart=/bin/sh /out/questions\n")
	write(t, layer, "out/questions", questions)
	sandbox := unitOf(t)
	var runs []string
	for language, command := range map[string]string{
		"node":   `/usr/bin/node -e 'for (let i = 0, n = 0; i < 1e7; i++) n += i'`,
		"python": `/usr/bin/env python3 -c 'import ssl, threading, socket; socket.getaddrinfo("localhost", 1)'`,
		"java":   `/usr/bin/java -version`,
	} {
		if _, err := exec.LookPath(strings.Replace(language, "python", "python3", 1)); err == nil {
			runs = append(runs, language)
		}
		write(t, layer, "etc/systemd/system/"+language+"-in-sandbox.service", "[Service]\nType=oneshot\nExecStart="+command+"\n"+sandbox)
	}

	group, err := newCgroup()
	if err != nil {
		t.Skipf("there is no cgroup for a systemd here: %v", err)
	}
	t.Cleanup(func() { removeCgroup(group) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute)
	defer cancel()
	fd, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	boot := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--kill-child", "sh", "testdata/boot.sh", layer, work)
	boot.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	// It does not end by itself: with unshare, all in its namespaces does.
	go func() {
		for ctx.Err() == nil {
			if text, err := os.ReadFile(filepath.Join(out, "answers")); err == nil && strings.HasSuffix(string(text), "the end\n") {
				cancel()
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	log, err := boot.CombinedOutput()
	cancel()
	text, readErr := os.ReadFile(filepath.Join(out, "answers"))
	if readErr != nil {
		if strings.Contains(string(log), "mount:") || strings.Contains(string(log), "unshare:") {
			t.Skipf("no systemd can be booted here: %v\n%s", err, log)
		}
		t.Fatalf("systemd gave no answers: %v\n%s", err, log)
	}
	answers := string(text)
	for what, pattern := range map[string]string{
		"it has not started":             `(?s)\AActiveState=active\n`,
		"the plugin is not up":           `(?m)^  minimal +up `,
		"hookmux is not the user":        `(?m)^hookmux +/usr/bin/hookmux run`,
		"the plugin is not the user's":   `(?m)^hookmux +minimal`,
		"the folders are not the user's": `(?m)^drwx------ .* hookmux hookmux .* /run/hookmux\n.*^drwx------ .* hookmux hookmux .* /var/lib/hookmux`,
		"it does not reload":             `(?m)^reloaded$`,
		"a reload that fails":            `(?m)^refused\nActiveState=active$`,
		"it does not stop well":          `(?s)Result=success\nActiveState=inactive\nthe end`,
	} {
		if !regexp.MustCompile(pattern).MatchString(answers) {
			t.Errorf("%s", what)
		}
	}
	for _, language := range runs {
		if !strings.Contains(answers, language+" runs\n") {
			t.Errorf("%s does not run in the sandbox", language)
		}
	}
	if t.Failed() {
		t.Logf("the answers:\n%s\nthe log:\n%s", answers, log)
	}
}

// unitOf is what the unit says about the sandbox.
func unitOf(t *testing.T) string {
	t.Helper()
	var kept []string
	for line := range strings.Lines(read(t, "systemd/hookmux.service")) {
		key, _, ok := strings.Cut(line, "=")
		switch {
		case !ok || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(key, "Protect"), strings.HasPrefix(key, "Private"), strings.HasPrefix(key, "Restrict"), strings.HasPrefix(key, "SystemCall"),
			strings.HasPrefix(key, "Capability"), strings.HasPrefix(key, "Ambient"), key == "NoNewPrivileges", key == "LockPersonality", key == "User", key == "Group", key == "UMask":
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// newCgroup makes a group of cgroup v2 for a systemd to be the root of.
func newCgroup() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err != nil {
			continue
		}
		group := filepath.Join(dir, fmt.Sprintf("hookmux-test-%d", os.Getpid()))
		return group, os.Mkdir(group, 0o755)
	}
	return "", os.ErrNotExist
}

func removeCgroup(group string) {
	_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0o600)
	// Groups go from the leaves up, and once their processes have.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var dirs []string
		_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i])
		}
		if _, err := os.Stat(group); err != nil {
			return
		}
	}
}
