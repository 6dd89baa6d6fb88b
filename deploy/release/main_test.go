package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const version = "v0.0.0-test"

// Two builds of the same files, in different folders, give the same bytes; the archives hold
// what they should, static, for each target.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	lanes.Require(t, "deploy") // has built what makes the bills of materials
	targets := allTargets
	switch os.Getenv("HOOKMUX_RELEASE") {
	case "all":
	case "two": // of each system one, for who has not the time
		targets = "linux/amd64,darwin/arm64"
	default:
		t.Skip("it builds everything for four targets, which takes minutes: make check-deploy does")
	}
	first := copyOfRepository(t, filepath.Join(t.TempDir(), "a"))
	releaseIn(t, first, targets)
	second := copyOfRepository(t, filepath.Join(t.TempDir(), "another", "folder"))
	releaseIn(t, second, "linux/amd64")

	name := "hookmux-0.0.0-test-linux-amd64"
	one, two := read(t, first, "dist", name+".tar.gz"), read(t, second, "dist", name+".tar.gz")
	if !bytes.Equal(one, two) {
		t.Error("the two archives differ")
	}
	// The compiler's cache knows the files by their content, so once without it.
	program := filepath.Join(t.TempDir(), "forward-nats")
	args := buildArgs(version, program, "./plugins/forward-nats")
	cmd := exec.CommandContext(t.Context(), "go", append([]string{args[0], "-a"}, args[1:]...)...)
	cmd.Dir = second
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOAMD64=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, unpack(t, one)[name+"/plugins/forward-nats"]) {
		t.Error("the compiler does not give the same bytes again")
	}

	sums := string(read(t, first, "dist", "SHA256SUMS"))
	for target := range strings.SplitSeq(targets, ",") {
		base := "hookmux-0.0.0-test-" + strings.ReplaceAll(target, "/", "-")
		data := read(t, first, "dist", base+".tar.gz")
		if want := fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(data), base); !strings.Contains(sums, want) {
			t.Errorf("SHA256SUMS has no %s", want)
		}
		files := unpack(t, data)
		for _, want := range []string{"hookmux", "plugins/forward-nats", "LICENSE", "README.md", "systemd/hookmux.service", "emqx.conf"} {
			if files[base+"/"+want] == nil {
				t.Errorf("%s has no %s", base, want)
			}
		}
		checkBill(t, files[base+"/sbom/hookmux.cdx.json"])
		if target == runtime.GOOS+"/"+runtime.GOARCH {
			checkRuns(t, files[base+"/hookmux"])
		}
	}
}

// checkBill looks for what is known to be in hookmux.
func checkBill(t *testing.T, text []byte) {
	t.Helper()
	var bill struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, Purl string }
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatalf("the bill of materials: %v\n%.500s", err, text)
	}
	var names []string
	for _, c := range bill.Components {
		names = append(names, c.Name)
	}
	all := strings.Join(names, "\n")
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version || !strings.Contains(all, "google.golang.org/grpc") || !strings.Contains(all, "std") {
		t.Errorf("the bill of materials is of %+v (%s), with\n%s", bill.Metadata, bill.BOMFormat, all)
	}
}

func checkRuns(t *testing.T, program []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hookmux")
	if err := os.WriteFile(file, program, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), file, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "hookmux "+version) {
		t.Errorf("hookmux version: %v\n%s", err, out)
	}
}

func releaseIn(t *testing.T, dir, targets string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./deploy/release", "-version", version, "-targets", targets)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release: %v\n%s", err, out)
	}
}

// copyOfRepository copies what git knows or would take, changed or not.
func copyOfRepository(t *testing.T, to string) string {
	t.Helper()
	root, err := lanes.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("this is no checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(compressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
