// Package deploy has no code: its tests check the files beside them with the tools of each
// kind, which make lane-deploy installs.
package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/muxtest"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func TestMain(m *testing.M) {
	muxtest.MaybePlugin()
	var err error
	if treeDir, err = os.MkdirTemp("", "hookmux-deploy-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(treeDir)
		os.Exit(code)
	}))
}

var treeDir string

// tool is a program of the lane.
func tool(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(lanes.Require(t, "deploy").Dir, "bin", name)
}

// program is one that the system has, or else the test is left out.
func program(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case lanes.AllRequired():
		t.Fatalf("there is no %s here: %s", name, install)
	default:
		t.Skipf("there is no %s here: %s", name, install)
	}
	return path
}

func asRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Getuid() == 0:
	case lanes.AllRequired():
		t.Fatal("this test needs root")
	default:
		t.Skip("this test needs root")
	}
}

// output runs a command in this folder, which must succeed.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.String())
	}
	return out
}

// installed is the tree that make install makes, once for all tests; the programs in it are
// those of the image.
var installed = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(treeDir, "root")
	if err := buildStage("docker/Dockerfile", "/out", dir); err != nil {
		return "", err
	}
	out, err := exec.Command("make", "-C", "..", "install-units", "DESTDIR="+dir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("make install-units: %w\n%s", err, out)
	}
	return dir, err
})

func installedTree(t *testing.T) string {
	t.Helper()
	dir, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkConfig has hookmux's parser read a config that a file in deploy holds.
func checkConfig(t *testing.T, name string, text []byte) *config.Config {
	t.Helper()
	cfg, err := config.Parse(name, text, config.Sources{
		Env:      func(string) (string, bool) { return "a-value-of-sixteen", true },
		ReadFile: func(string) ([]byte, error) { return []byte("a-value-of-sixteen"), nil },
	})
	if err != nil {
		t.Errorf("the config in %s: %v\n%s", name, err, text)
	}
	return cfg
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
