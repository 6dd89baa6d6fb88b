package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
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

func instructions(file string) (all []instruction) {
	content, err := os.ReadFile(file)
	if err != nil {
		panic(err) // it is beside this file
	}
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(content), "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, instruction{name, rest})
		}
	}
	return all
}

// buildStage runs the commands of a Dockerfile's build stage on this machine, with the folder
// out, which the others copy from, elsewhere.
func buildStage(file, out, instead string) error {
	stage := ""
	for _, in := range instructions(file) {
		switch {
		case in.name == "FROM":
			_, stage, _ = strings.Cut(in.rest, " AS ")
		case in.name == "RUN" && stage == "build":
			command := regexp.MustCompile(`(DESTDIR=|\s)`+out+`\b`).ReplaceAllString(in.rest, "${1}"+instead)
			if os.Getuid() != 0 { // who may not give files away
				command = strings.ReplaceAll(command, " -o 65532 -g 65532", "")
			}
			cmd := exec.Command("sh", "-ec", command)
			cmd.Dir = ".."
			cmd.Env = append(os.Environ(), "VERSION=v0.0.0-test")
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("RUN %s: %w\n%s", command, err, text)
			}
		}
	}
	return nil
}

// The build stages work, and every file that is copied is there.
func TestDockerBuilds(t *testing.T) {
	t.Parallel()
	t.Run("hookmux", func(t *testing.T) {
		t.Parallel()
		checkCopies(t, "docker/Dockerfile", "/out", installedTree(t))
	})
	t.Run("plugins", func(t *testing.T) {
		t.Parallel()
		plugins := filepath.Join(t.TempDir(), "plugins")
		if err := buildStage("docker/plugins.Dockerfile", "/plugins", plugins); err != nil {
			t.Fatal(err)
		}
		checkCopies(t, "docker/plugins.Dockerfile", "/plugins", plugins)
	})
}

func checkCopies(t *testing.T, file, out, instead string) {
	t.Helper()
	for _, in := range instructions(file) {
		if in.name != "COPY" {
			continue
		}
		words := strings.Fields(in.rest)
		built := words[0] == "--from=build"
		if built {
			words = words[1:]
		}
		for _, source := range words[:len(words)-1] {
			if own, ok := strings.CutPrefix(source, out); ok && built {
				source = instead + own
			} else if !built {
				source = filepath.Join("..", source)
			}
			if _, err := os.Stat(source); err != nil {
				t.Errorf("%s: COPY %s: %v", file, in.rest, err)
			}
		}
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
	all := instructions("docker/Dockerfile")
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
