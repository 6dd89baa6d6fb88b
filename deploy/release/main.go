// Release builds what is published: for each target an archive with hookmux, the shipped
// plugins and their bills of materials, and the archives' checksums.
//
//	go run ./deploy/release -version v1.2.3
//
// The same commit and the same Go give the same bytes, on every machine and in every
// folder: paths and build ids are left out, and files bear the time of the commit, or
// SOURCE_DATE_EPOCH. Which Go it was, the bills of materials say.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const allTargets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

// enclosed are the files that go into each archive, by their place in it.
//
//nolint:gochecknoglobals // a constant table
var enclosed = map[string]string{
	"LICENSE":                   "LICENSE",
	"README.md":                 "README.md",
	"CHANGELOG.md":              "CHANGELOG.md",
	"systemd/hookmux.service":   "deploy/systemd/hookmux.service",
	"systemd/hookmux.sysusers":  "deploy/systemd/hookmux.sysusers",
	"systemd/plugin-users.conf": "deploy/systemd/plugin-users.conf",
	"systemd/emqx.conf":         "deploy/systemd/emqx.conf",
	"emqx.conf":                 "deploy/emqx/emqx.conf",
}

func main() {
	version := flag.String("version", "", "the release's `version`, such as v1.2.3")
	targets := flag.String("targets", allTargets, "what to build for, `os/arch,…`")
	dist := flag.String("dist", "dist", "the `folder` to write to")
	flag.Parse()
	if err := release(*version, strings.Split(*targets, ","), *dist); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(version string, targets []string, dist string) error {
	if version == "" {
		return errors.New("-version is missing")
	}
	date, err := commitTime()
	if err != nil {
		return err
	}
	mains, err := filepath.Glob("plugins/*/main.go")
	if err != nil {
		return err
	}
	programs := map[string]string{"hookmux": "./cmd/hookmux"}
	for _, m := range mains {
		dir := path.Dir(filepath.ToSlash(m))
		programs["plugins/"+path.Base(dir)] = "./" + dir
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, target := range targets {
		name, err := archive(version, target, dist, programs, date)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		data, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
		fmt.Println(filepath.Join(dist, name))
	}
	return os.WriteFile(filepath.Join(dist, "SHA256SUMS"), sums.Bytes(), 0o644)
}

// commitTime is what the files' times are.
func commitTime() (time.Time, error) {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		out, err := run(nil, "git", "log", "-1", "--format=%ct")
		if err != nil {
			return time.Time{}, fmt.Errorf("when was the commit? (outside of a checkout, set SOURCE_DATE_EPOCH) %w", err)
		}
		seconds = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: expected seconds since 1970, found %q", seconds)
	}
	return time.Unix(n, 0).UTC(), nil
}

// archive builds for one target, and gives the archive's name.
func archive(version, target, dist string, programs map[string]string, date time.Time) (string, error) {
	system, arch, ok := strings.Cut(target, "/")
	if !ok {
		return "", errors.New("a target is os/arch")
	}
	work, err := os.MkdirTemp("", "hookmux-release-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()

	type file struct {
		from string
		mode int64
	}
	files := make(map[string]file)
	for to, from := range enclosed {
		files[to] = file{from, 0o644}
	}
	for name, pkg := range programs {
		program := filepath.Join(work, name)
		env := []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch, "GOFLAGS=", "GOAMD64=v1"}
		if _, err := run(env, "go", buildArgs(version, program, pkg)...); err != nil {
			return "", err
		}
		files[name] = file{program, 0o755}
		bill := program + ".cdx.json"
		_, err = run(nil, "go", "tool", "-modfile=deploy/tools/go.mod", "cyclonedx-gomod", "bin",
			"-json", "-noserial", "-notimestamp", "-std", "-version", version, "-output", bill, program)
		if err != nil {
			return "", err
		}
		files["sbom/"+path.Base(name)+".cdx.json"] = file{bill, 0o644}
	}

	base := fmt.Sprintf("hookmux-%s-%s-%s", strings.TrimPrefix(version, "v"), system, arch)
	out, err := os.Create(filepath.Join(dist, base+".tar.gz"))
	if err != nil {
		return "", err
	}
	defer out.Close()
	compressed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	tarball := tar.NewWriter(compressed)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := add(tarball, base+"/"+name, files[name].from, files[name].mode, date); err != nil {
			return "", err
		}
	}
	return base + ".tar.gz", errors.Join(tarball.Close(), compressed.Close(), out.Close())
}

func buildArgs(version, program, pkg string) []string {
	return []string{"build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w -buildid= -X main.version=" + version, "-o", program, pkg}
}

func add(tarball *tar.Writer, name, from string, mode int64, date time.Time) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	err = tarball.WriteHeader(&tar.Header{
		Name: name, Size: info.Size(), Mode: mode, ModTime: date, Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		Uname: "root", Gname: "root",
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(tarball, f)
	return err
}

// run gives a command's output; it has env besides our own environment.
func run(env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
