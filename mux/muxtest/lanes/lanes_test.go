package lanes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program puts a program into a PATH of its own that prints a version.
func program(t *testing.T, name, version string) {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\necho '" + version + "'\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv(EnvHome, t.TempDir())
}

func TestWhatIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		program, version string
		want             []string
	}{
		"no program":       {"ruby", "ruby 3", []string{"no python3 here", "apt-get install python3", "make lane-python"}},
		"an old one":       {"python3", "Python 3.10.12", []string{"is 3.10.12", "3.11 or newer"}},
		"a strange one":    {"python3", "hello", []string{"printed no version"}},
		"nothing for it":   {"python3", "Python 3.11.0", []string{"make lane-python does it"}},
		"a far newer one":  {"python3", "Python 4.0", []string{"make lane-python does it"}},
		"of two digits":    {"python3", "Python 3.9", []string{"is 3.9"}},
		"longer than that": {"python3", "Python 3.11", []string{"make lane-python does it"}},
	} {
		t.Run(name, func(t *testing.T) {
			program(t, tt.program, tt.version)
			_, err := Find(t.Context(), "python")
			if err == nil {
				t.Fatal("found")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
}

func TestWhatIsInstalledBelongsToAVersion(t *testing.T) {
	program(t, "python3", "Python 3.12.1")
	l, err := Locate(t.Context(), "python")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), "python"); err == nil {
		t.Error("an installation that was cut short counts")
	}
	if err := os.WriteFile(filepath.Join(l.Dir, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Require(t, "python"); got != l {
		t.Errorf("%+v, want %+v", got, l)
	}
	home := os.Getenv(EnvHome)
	program(t, "python3", "Python 3.12.2")
	t.Setenv(EnvHome, home)
	if _, err := Find(t.Context(), "python"); err == nil {
		t.Error("another version's installation counts")
	}
}

// fake is a test that Require ends.
type fake struct {
	testing.TB
	how string
}

func (f *fake) Skip(...any)           { f.how = "skipped" }
func (f *fake) Fatalf(string, ...any) { f.how = "failed"; panic(f) }

func TestLeftOutOrFailed(t *testing.T) {
	for env, want := range map[string]string{"": "skipped", "all": "failed"} {
		program(t, "nothing", "")
		t.Setenv(EnvLanes, env)
		f := &fake{TB: t}
		func() {
			defer func() { _ = recover() }()
			Require(f, "python")
		}()
		if f.how != want {
			t.Errorf("%s=%q: %q, want %q", EnvLanes, env, f.how, want)
		}
	}
}
