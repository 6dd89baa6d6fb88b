package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	systemdHint = "apt-get install systemd"
	unit        = "usr/lib/systemd/system/hookmux.service"
)

// The unit is right in the tree that make install makes, beside systemd's own units; with the
// drop-ins too.
func TestUnitIsRight(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze", systemdHint)
	for _, dropIn := range []string{"", "plugin-users.conf"} {
		t.Run(dropIn, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			output(t, "cp", "-R", installedTree(t)+"/.", root)
			output(t, "cp", "-R", "-n", "/usr/lib/systemd/system/.", filepath.Join(root, "usr/lib/systemd/system"))
			write(t, root, "usr/lib/systemd/system/emqx.service", "[Service]\nExecStart=/usr/bin/hookmux\n")
			if dropIn != "" {
				write(t, root, "etc/systemd/system/hookmux.service.d/"+dropIn, read(t, "systemd/"+dropIn))
			}
			// It complains of other units too, whose programs are not in this tree.
			out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", "--root="+root, "hookmux.service", "emqx.service").CombinedOutput()
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "hookmux") || strings.Contains(line, "emqx") {
					t.Error(line)
				}
			}
			t.Logf("systemd-analyze verify: %v", err)
		})
	}
}

// A unit that is wrong is found in the same way.
func TestWrongUnitIsFound(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze", systemdHint)
	root := t.TempDir()
	text := strings.Replace(read(t, "systemd/hookmux.service"), "ProtectHome=yes", "ProtektHome=yes", 1)
	write(t, root, unit, text)
	out, _ := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", "--root="+root, "hookmux.service").CombinedOutput()
	for _, want := range []string{"ProtektHome", "/usr/bin/hookmux is not executable"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("systemd-analyze verify does not tell of %s:\n%s", want, out)
		}
	}
}

// The sandbox is as tight as plugins allow: systemd's own measure, from 0 to 100, is not exceeded.
func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze", systemdHint)
	for dropIn, limit := range map[string]string{"": "20", "plugin-users.conf": "36"} {
		root := t.TempDir()
		text := read(t, "systemd/hookmux.service")
		if dropIn != "" {
			text += read(t, "systemd/"+dropIn)
		}
		write(t, root, "hookmux.service", text)
		out, err := exec.CommandContext(t.Context(), analyze, "security", "--no-pager", "--offline=true", "--threshold="+limit, filepath.Join(root, "hookmux.service")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", dropIn, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(dropIn, lines[len(lines)-1])
	}
}

func TestSysusers(t *testing.T) {
	t.Parallel()
	sysusers := program(t, "systemd-sysusers", systemdHint)
	root := t.TempDir()
	write(t, root, "usr/lib/sysusers.d/hookmux.conf", read(t, "systemd/hookmux.sysusers"))
	write(t, root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	write(t, root, "etc/group", "root:x:0:\n")
	output(t, sysusers, "--root="+root, "hookmux.conf")
	for _, file := range []string{"etc/passwd", "etc/group"} {
		if text := read(t, filepath.Join(root, file)); !strings.Contains(text, "hookmux:") {
			t.Errorf("%s has no hookmux:\n%s", file, text)
		}
	}
}

// With the capabilities that plugin-users.conf leaves it, hookmux can start plugins as other users.
func TestPluginUsersNeedNoMore(t *testing.T) {
	t.Parallel()
	asRoot(t)
	setpriv := program(t, "setpriv", "apt-get install util-linux")
	var caps []string
	for line := range strings.Lines(read(t, "systemd/plugin-users.conf")) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "CapabilityBoundingSet="); ok {
			for name := range strings.FieldsSeq(list) {
				caps = append(caps, "+"+strings.ToLower(strings.TrimPrefix(name, "CAP_")))
			}
		}
	}
	root := installedTree(t)
	dir, err := os.MkdirTemp("/tmp", "hookmux-users-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the plugin's user must get there
		t.Fatal(err)
	}
	output(t, "go", "build", "-o", dir, "../examples/go/minimal")
	write(t, dir, "hookmux.yaml", `
providers:
  - name: own-user
    command: [./minimal]
    process: {user: nobody, umask: "027"}
`)
	check := func(caps string) (string, error) {
		cmd := exec.CommandContext(t.Context(), setpriv, "--no-new-privs", "--bounding-set", caps, "--inh-caps", "-all", "--reuid", "0", "--regid", "0", "--clear-groups",
			root+"/usr/bin/hookmux", "check", "-c", filepath.Join(dir, "hookmux.yaml"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check("-all," + strings.Join(caps, ",")); err != nil {
		t.Errorf("with %v: %v\n%s", caps, err, out)
	}
	for i, cap := range caps {
		if cap == "+kill" { // for the end of a process that is not in this test
			continue
		}
		rest := append(append([]string{"-all"}, caps[:i]...), caps[i+1:]...)
		if out, err := check(strings.Join(rest, ",")); err == nil {
			t.Errorf("it goes without %s:\n%s", cap, out)
		}
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
