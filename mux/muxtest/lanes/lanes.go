// Package lanes says whether the tests of a language can run here: the lane of a
// language is its programs, of a version that will do, and what `make lane-NAME`
// has installed for its tests.
//
// Where a lane is missing its tests are left out and say how to get it, so that
// Go alone is enough to work on hookmux. With HOOKMUX_LANES=all in the environment
// they fail instead: that is how .ci/run makes sure that nothing is left out.
package lanes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// EnvLanes is set to "all" where no lane may be left out.
	EnvLanes = "HOOKMUX_LANES"
	// EnvHome is the folder that lanes are installed to; default is
	// hookmux/lanes in the user's cache folder.
	EnvHome = "HOOKMUX_LANES_HOME"
)

// Lane is a language that is there.
type Lane struct {
	// Program is the absolute path of the language's first program: python3,
	// node, java.
	Program string
	// Dir is what `make lane-NAME` has installed, outside of the repository: one
	// folder for each version of the program and of the language's lock files.
	Dir string
}

// readyFile in a lane's folder says that its installation was not cut short.
const readyFile = "ready"

// language is what a lane needs.
type language struct {
	name     string
	programs []string // of the first the version counts
	atLeast  []int
	install  string // how to get the programs
	locks    string // pattern of the files, from the root, that say what to install
}

//nolint:gochecknoglobals // a constant table
var languages = []language{
	{"python", []string{"python3"}, []int{3, 11}, "apt-get install python3 python3-venv", "plugins/sdk/python/requirements*.txt"},
	{"node", []string{"node", "npm"}, []int{20}, "apt-get install nodejs npm", "plugins/sdk/node/package*.json"},
	{"java", []string{"java", "javac", "mvn"}, []int{17}, "apt-get install openjdk-17-jdk-headless maven", "plugins/sdk/java/pom.xml"},
	// No language, but installed and looked for in the same way.
	{"browser", []string{"node", "npm", "chromium"}, []int{20}, "apt-get install nodejs npm chromium", "mux/admin/page/package*.json"},
	{"kafka", []string{"java", "mvn"}, []int{17}, "apt-get install openjdk-17-jdk-headless maven", "mux/muxtest/targets/kafka/pom.xml"},
	{"deploy", []string{"python3"}, []int{3, 11}, "apt-get install python3 python3-venv", "deploy/tools/*"},
}

// Require is the lane of that name. Where it is missing the test is skipped, or
// fails if HOOKMUX_LANES says so.
func Require(t testing.TB, name string) Lane {
	t.Helper()
	l, err := Find(t.Context(), name)
	if err == nil {
		return l
	}
	if AllRequired() {
		t.Fatalf("%v\n(%s=all: no lane may be left out)", err, EnvLanes)
	}
	t.Skip(err)
	return Lane{}
}

// AllRequired reports whether no lane may be left out.
func AllRequired() bool { return os.Getenv(EnvLanes) == "all" }

// Find is the lane of that name, or an error that says what is missing and how to
// get it.
func Find(ctx context.Context, name string) (Lane, error) {
	l, err := Locate(ctx, name)
	if err != nil {
		return Lane{}, err
	}
	if _, err := os.Stat(filepath.Join(l.Dir, readyFile)); err != nil {
		return Lane{}, fmt.Errorf("%s: what its tests need is not installed, or not as the repository has it now; make lane-%[1]s does it", name)
	}
	return l, nil
}

// Locate is the lane of that name, whether `make lane-NAME` has been there or not.
// It fails when a program is missing.
func Locate(ctx context.Context, name string) (Lane, error) {
	i := slices.IndexFunc(languages, func(l language) bool { return l.name == name })
	if i < 0 {
		return Lane{}, fmt.Errorf("there is no lane %q", name)
	}
	lang := languages[i]
	var program string
	for _, p := range lang.programs {
		path, err := exec.LookPath(p)
		if err != nil {
			return Lane{}, fmt.Errorf("%s: there is no %s here; %s, then make lane-%[1]s", name, p, lang.install)
		}
		if program == "" {
			program = path
		}
	}
	version, err := versionOf(ctx, program)
	if err != nil {
		return Lane{}, fmt.Errorf("%s: %w", name, err)
	}
	if slices.Compare(numbers(version), lang.atLeast) < 0 {
		return Lane{}, fmt.Errorf("%s: %s is %s, and %s or newer is needed; %s, then make lane-%[1]s",
			name, program, version, strings.Trim(strings.ReplaceAll(fmt.Sprint(lang.atLeast), " ", "."), "[]"), lang.install)
	}
	key, err := lockKey(lang.locks, version)
	if err != nil {
		return Lane{}, fmt.Errorf("%s: %w", name, err)
	}
	home, err := home()
	if err != nil {
		return Lane{}, err
	}
	return Lane{Program: program, Dir: filepath.Join(home, name+"-"+key)}, nil
}

func home() (string, error) {
	if h := os.Getenv(EnvHome); h != "" {
		return filepath.Abs(h)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder to install lanes to: %w (set %s)", err, EnvHome)
	}
	return filepath.Join(cache, "hookmux", "lanes"), nil
}

// versionPattern is the first version in what a program prints: "Python 3.11.7",
// "v20.20.2", "openjdk 17.0.15 2025-04-15".
var versionPattern = regexp.MustCompile(`\d+(\.\d+)*`)

func versionOf(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	v := versionPattern.Find(out)
	if v == nil {
		return "", fmt.Errorf("%s --version printed no version: %q", program, out)
	}
	return string(v), nil
}

func numbers(version string) []int {
	var ns []int
	for s := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(s)
		ns = append(ns, n)
	}
	return ns
}

// lockKey names what is installed by what it depends on.
func lockKey(pattern, version string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("%s: no such files: %w", pattern, errors.Join(err, fs.ErrNotExist))
	}
	sum := sha256.New()
	fmt.Fprintln(sum, version)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, filepath.Base(f), len(b))
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

// Root is the root of the repository that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module github.com/hookmux/hookmux\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not in hookmux's repository")
		}
		dir = filepath.Dir(dir)
	}
}
