package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var dockerfiles = []string{"docker/Dockerfile", "docker/plugins.Dockerfile"}

// hadolint finds nothing, not even a matter of style.
func TestDockerfilesAreClean(t *testing.T) {
	t.Parallel()
	hadolint := tool(t, "hadolint")
	output(t, hadolint, append([]string{"--failure-threshold", "style", "--strict-labels"}, dockerfiles...)...)

	wrong := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(wrong, []byte("FROM debian\nRUN cd /x && apt-get install curl\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), hadolint, wrong).CombinedOutput(); err == nil {
		t.Errorf("hadolint finds nothing in a bad Dockerfile:\n%s", out)
	}
}

// An instruction of a Dockerfile, with its continued lines in one.
type instruction struct{ name, rest string }

func instructions(t *testing.T, file string) (all []instruction) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(read(t, file), "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, instruction{name, rest})
		}
	}
	return all
}

// What the build stages do works outside of docker too: the files that they copy are there, and
// their commands succeed.
func TestDockerBuilds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds everything")
	}
	for _, file := range dockerfiles {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			out := t.TempDir() // for the root that the build stage makes files in
			made := regexp.MustCompile(`(DESTDIR=|\s)(/out|/plugins)`)
			stage := ""
			for _, in := range instructions(t, file) {
				switch in.name {
				case "FROM":
					_, stage, _ = strings.Cut(in.rest, " AS ")
				case "COPY":
					words := strings.Fields(in.rest)
					if words[0] == "--from=build" {
						source := words[1]
						if made.MatchString(" " + source) {
							source = out + source
						}
						if _, err := os.Stat(source); err != nil {
							t.Errorf("COPY %s: %v", in.rest, err)
						}
						continue
					}
					for _, source := range words[:len(words)-1] {
						if _, err := os.Stat(filepath.Join("..", source)); err != nil {
							t.Errorf("COPY %s: %v", in.rest, err)
						}
					}
				case "RUN":
					if stage != "build" {
						continue // apt-get
					}
					command := made.ReplaceAllString(in.rest, "${1}"+out+"${2}")
					cmd := exec.CommandContext(t.Context(), "sh", "-ec", command)
					cmd.Dir = ".."
					cmd.Env = append(os.Environ(), "VERSION=v0.0.0-test")
					if text, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("RUN %s: %v\n%s", command, err, text)
					}
				}
			}
		})
	}
}

// In a root file system that holds nothing else, and as nobody, hookmux starts a plugin and says
// that it is ready: what the image from scratch is, but for docker.
func TestStaticInAnEmptyRoot(t *testing.T) {
	t.Parallel()
	asRoot(t)
	root, err := os.MkdirTemp("/tmp", "hookmux-scratch-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "cp", "-R", installedTree(t)+"/usr", root)
	output(t, "install", "-d", "-m", "700", "-o", "65532", "-g", "65532", filepath.Join(root, "var/lib/hookmux"))
	tmp := filepath.Join(root, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(root, "usr/lib/hookmux"), "../examples/go/minimal")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil { // docker brings it
		t.Fatal(err)
	}
	if err := syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "dev/null"), 0o666); err != nil {
		t.Fatal(err)
	}
	write(t, root, "etc/hookmux/hookmux.yaml", "listen: 127.0.0.1:0\nproviders: [{name: minimal, command: minimal}]\n")

	// The environment, user and commands are the image's.
	image := imageOf(t)
	hookmux := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), image.entrypoint, args...)
		cmd.Path, cmd.Err, cmd.Dir, cmd.Env = image.entrypoint, nil, "/", image.env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		return cmd
	}
	if out, err := hookmux("version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "hookmux v0.0.0-test") {
		t.Fatalf("hookmux version: %v\n%s", err, out)
	}
	var log bytes.Buffer
	running := hookmux(image.command...)
	running.Stderr = &log
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		out, err := hookmux(image.health[1:]...).CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			_ = running.Process.Kill()
			_ = running.Wait()
			t.Fatalf("it does not become ready: %v\n%s\n%s", err, out, log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	status, err := hookmux("status").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^  minimal +up `).Match(status) {
		t.Errorf("hookmux status: %v\n%s", err, status)
	}
	if err := running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := running.Wait(); err != nil {
		t.Errorf("hookmux run: %v", err)
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("it warns:\n%s", log.String())
	}
}

type image struct {
	entrypoint string
	command    []string
	health     []string
	env        []string
	user       string
}

// imageOf is what the Dockerfile says of the image from scratch.
func imageOf(t *testing.T) (im image) {
	t.Helper()
	list := func(text string) (words []string) {
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return words
	}
	all := instructions(t, "docker/Dockerfile")
	i := slices.IndexFunc(all, func(in instruction) bool { return in.name == "FROM" && strings.HasPrefix(in.rest, "scratch") })
	for _, in := range all[i:] {
		switch in.name {
		case "ENTRYPOINT":
			im.entrypoint = list(in.rest)[0]
		case "CMD":
			im.command = list(in.rest)
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(in.rest, "CMD ")
			im.health = list(command)
		case "ENV":
			im.env = strings.Fields(in.rest)
		case "USER":
			im.user = in.rest
		}
	}
	if im.entrypoint == "" || len(im.command) == 0 || len(im.health) < 2 || im.user != "65532:65532" {
		t.Fatalf("the image: %+v", im)
	}
	return im
}
