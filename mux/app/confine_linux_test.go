package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/app"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/host"
	"github.com/hookmux/hookmux/mux/muxtest"
)

// A plugin's process is who and has what the config says. Its socket is in a
// folder of its own.
func TestPluginIsConfined(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start a plugin as another user")
	}
	p := plugin(t, "confined", muxtest.Behaviour{Answer: "allow"})
	p.Command, p.Dir = publicCommand(t), "/"
	umask := 0o027
	p.Process = config.Process{User: "nobody", Umask: &umask, Nice: 7, OpenFiles: 512}
	free := plugin(t, "free", muxtest.Behaviour{})
	s := start(t, config.Config{Providers: []config.Provider{p, free}}, nil)
	if _, allowed := muxtest.NewBroker(t, s.Addr(), mux.V3).Authenticate(t, "c"); !allowed {
		t.Error("it did not answer")
	}

	state := s.provider(t, "confined")
	if state.Problems != nil {
		t.Errorf("problems: %v", state.Problems)
	}
	status := procStatus(t, state.Pid)
	for name, want := range map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "65534",
		"Umask": "0027", "CapEff": "0000000000000000", "nice": "7", "files": "512 512",
	} {
		if status[name] != want {
			t.Errorf("%s is %q, want %q", name, status[name], want)
		}
	}
	// Nothing of it stays with hookmux, nor with the next plugin.
	us := procStatus(t, os.Getpid())
	for name, value := range procStatus(t, s.provider(t, "free").Pid) {
		switch name {
		case "Uid", "Gid", "Umask", "nice":
			if value != us[name] {
				t.Errorf("%s of the other plugin is %q, hookmux has %q", name, value, us[name])
			}
		}
	}
	if us["Umask"] == "0027" || us["nice"] == "7" {
		t.Errorf("hookmux itself was changed: %v", us)
	}

	socket := environ(t, state.Pid)["PLUGIN_UNIX_SOCKET_DIR"]
	for dir, want := range map[string]string{socket: "drwx------ 65534", filepath.Dir(socket): "drwx--x--x 0"} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %d", info.Mode(), info.Sys().(*syscall.Stat_t).Uid); got != want {
			t.Errorf("%s is %s, want %s", dir, got, want)
		}
	}
}

// A user that the plugin cannot be is no reason to be another one.
func TestUserThatCannotBe(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start a plugin as another user")
	}
	private := t.TempDir() // 0700
	for name, c := range map[string]struct {
		user, dir string
		command   []string
		want      string
	}{
		"no such user":     {user: "no-such-user", want: "process.user: there is no user no-such-user on this machine"},
		"no such group":    {user: "nobody:no-such-group", want: "process.user: there is no group no-such-group"},
		"id without group": {user: "4294967294", want: "give it a group, such as 4294967294:4294967294"},
		"private folder":   {user: "nobody", dir: private, want: "process.user: nobody may not enter "},
		"private program":  {user: "nobody", command: muxtest.Command(t), want: "process.user: nobody may not enter "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugin(t, "bad", muxtest.Behaviour{Answer: "allow"})
			if p.Command, p.Dir = c.command, c.dir; p.Command == nil {
				p.Command = publicCommand(t)
			}
			p.Process.User = c.user
			s := start(t, config.Config{Providers: []config.Provider{p}}, nil)
			if got := s.provider(t, "bad").LastErr; !strings.Contains(got, c.want) {
				t.Errorf("said %q, want %q", got, c.want)
			}
			if _, allowed := muxtest.NewBroker(t, s.Addr(), mux.V3).Authenticate(t, "c"); allowed {
				t.Error("a login was allowed")
			}
		})
	}
}

// A file with another sum than the config has keeps the plugin from starting,
// also when it changes between two starts.
func TestSumsAreComparedBeforeEveryStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "plugin.py")
	write := func(text string) {
		if err := os.WriteFile(script+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(script+".new", script); err != nil {
			t.Fatal(err)
		}
	}
	write("right")
	exe, err := os.ReadFile(muxtest.Command(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	p := plugin(t, "summed", muxtest.Behaviour{Answer: "allow"})
	p.Process.SHA256 = map[string]string{"": hexSum(exe), script: hexSum([]byte("right"))}
	wrong := plugin(t, "wrong", muxtest.Behaviour{})
	wrong.OnFailure[mux.ClientAuthenticate] = mux.Always(mux.Ignore)
	wrong.Process.SHA256 = map[string]string{"": hexSum([]byte("x"))}
	s := start(t, config.Config{Providers: []config.Provider{p, wrong}}, nil)

	refused := s.provider(t, "wrong")
	for _, want := range []string{hexSum(exe), hexSum([]byte("x")), "process.sha256", muxtest.Command(t)[0]} {
		if !strings.Contains(refused.LastErr, want) || refused.Pid != 0 {
			t.Errorf("%q is not in %q", want, refused.LastErr)
		}
	}

	broker := muxtest.NewBroker(t, s.Addr(), mux.V3)
	if _, allowed := broker.Authenticate(t, "c"); !allowed {
		t.Error("it did not answer")
	}
	write("wrong")
	_ = syscall.Kill(s.provider(t, "summed").Pid, syscall.SIGKILL)
	muxtest.Eventually(t, "it is refused", func() bool {
		return strings.Contains(s.provider(t, "summed").LastErr, hexSum([]byte("wrong"))+", but must have "+hexSum([]byte("right")))
	})
	if _, allowed := broker.Authenticate(t, "c"); allowed {
		t.Error("a login was allowed")
	}
	write("right")
	muxtest.Eventually(t, "it is back", func() bool { return s.provider(t, "summed").Status == host.Up })
}

// A plugin over its memory limit is restarted, and it is said why: by the
// kernel where our cgroup is delegated to us, else by ourselves.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	p := plugin(t, "greedy", muxtest.Behaviour{Do: muxtest.UseMemory})
	p.Process.Memory = 256 << 20
	s := start(t, config.Config{Providers: []config.Provider{p}}, nil)
	state := s.provider(t, "greedy")
	why := "needed more than the 256 MiB of memory it may have (process.memory), and was killed"
	if len(state.Problems) != 0 {
		why = "more than the 256 MiB it may have (process.memory)"
		s.until(t, "the host does not allow what the config says")
		t.Log("the limit is watched:", state.Problems)
	}
	muxtest.NewBroker(t, s.Addr(), mux.V3).Authenticate(t, "c")
	s.until(t, why)
	muxtest.Eventually(t, "it is back", func() bool {
		now := s.provider(t, "greedy")
		return now.Status == host.Up && now.Restarts > 0 && strings.Contains(now.LastErr, why)
	})
}

// Where our cgroup is delegated to us, a plugin gets one of its own, which
// ends with it, whatever the plugin does to get away.
func TestCgroup(t *testing.T) {
	t.Parallel()
	p := plugin(t, "grouped", muxtest.Behaviour{Do: muxtest.Grandchildren})
	p.Process = config.Process{Memory: 1 << 30, CPUWeight: 50}
	s := start(t, config.Config{Providers: []config.Provider{p}}, nil)
	state := s.provider(t, "grouped")
	if len(state.Problems) != 0 {
		t.Skip("the limits of cgroup v2 cannot be tested here: ", state.Problems)
	}
	at := cgroupOf(t, state.Pid)
	if !strings.Contains(at, "/plugin-grouped-") {
		t.Fatalf("it is in %s", at)
	}
	for file, want := range map[string]string{"memory.max": "1073741824", "cpu.weight": "50", "memory.oom.group": "1"} {
		got, err := os.ReadFile(filepath.Join(at, file))
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, want %s: %v", file, got, want, err)
		}
	}
	s.stop()
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", at, err)
	}
}

// What the host does not allow is said in log and state, and does not keep the
// plugin from starting.
func TestWhatTheHostDoesNotAllow(t *testing.T) {
	t.Parallel()
	p := plugin(t, "wants-much", muxtest.Behaviour{Hooks: []string{"client.connected"}})
	p.Process.OpenFiles = 1 << 40
	s := start(t, config.Config{Providers: []config.Provider{p}}, nil)
	s.until(t, "the host does not allow what the config says")
	s.until(t, "process.open_files: ")
	reports, err := app.Check(t.Context(), &config.Config{Providers: []config.Provider{p}}, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []app.ProviderState{s.provider(t, "wants-much"), reports[0]} {
		if state.LastErr != "" || len(state.Problems) != 1 || !strings.HasPrefix(state.Problems[0], "process.open_files: the system does not allow it; it is left at hookmux's own ") {
			t.Errorf("%+v", state)
		}
	}
}

// publicCommand is muxtest.Command where everybody may run it.
func publicCommand(t *testing.T) []string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hookmux-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe, err := os.ReadFile(muxtest.Command(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plugin")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func hexSum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// procStatus is what Linux says of a process, with its nice value and its limit
// of open files.
func procStatus(t *testing.T, pid int) map[string]string {
	t.Helper()
	read := func(file string) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	out := make(map[string]string)
	for line := range strings.Lines(read("status")) {
		name, value, _ := strings.Cut(line, ":")
		out[name] = strings.Join(strings.Fields(value), " ")
	}
	stat := read("stat")
	out["nice"] = strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[16]
	for line := range strings.Lines(read("limits")) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			out["files"] = strings.Join(strings.Fields(rest)[:2], " ")
		}
	}
	return out
}

func environ(t *testing.T, pid int) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for v := range strings.SplitSeq(string(data), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		out[name] = value
	}
	return out
}

// cgroupOf is the folder of a process's cgroup v2, mounted where all have it.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join("/sys/fs/cgroup", path)
		}
	}
	t.Fatalf("no cgroup v2 in %s", data)
	return ""
}
