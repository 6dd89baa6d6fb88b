package config

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/trail"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secrets are what the test sources hold. No error may show them.
var secrets = map[string]string{
	"ALICE": "s3cr3t:#*&'",
	"EMPTY": "",
	"N":     "17",
	"WORD":  "sesame",
}

// secretTexts are what shows that a secret got out.
var secretTexts = []string{"s3cr3t", "hunter2", "sesame"}

func testSources() Sources {
	return Sources{
		Dir: "/conf",
		Env: func(name string) (string, bool) { v, ok := secrets[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			switch path {
			case "/conf/bob.txt":
				return []byte("hunter2\n\n"), nil
			case "/run/windows.txt":
				return []byte("hunter2\r\n"), nil
			case "/conf/binary":
				return []byte{0xff, 0xfe}, nil
			case "/conf/huge":
				return []byte(strings.Repeat("hunter2 ", maxFile/8)), nil
			case "/conf/locked":
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

// TestGolden reads every testdata/*.yaml: what a good one means and what a
// broken one is told is in the .golden file beside it.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := Parse(filepath.Base(file), data, testSources())
			var got string
			if strings.HasPrefix(filepath.Base(file), "good_") {
				if err != nil {
					t.Fatal(err)
				}
				got = describe(cfg)
			} else {
				if err == nil {
					t.Fatal("it was taken")
				}
				got = err.Error() + "\n"
				checkErrors(t, filepath.Base(file), err, append(slices.Clone(secretTexts), "TOP-SECRET")...)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// checkErrors holds what is true of every error: it is a list of *Error that
// name the file, sorted by line, and none of secrets
// is in it.
func checkErrors(t *testing.T, file string, err error, secrets ...string) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is no list of errors", err)
	}
	last := 0
	for _, err := range joined.Unwrap() {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%T is no *Error: %v", err, err)
		}
		if e.File != file || e.Line < 1 || e.Line < last || e.Text == "" {
			t.Errorf("after line %d: %+v", last, e)
		}
		last = e.Line
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the error:\n%v", secret, err)
		}
	}
}

// describe is what a config means, for people to compare with its file.
func describe(c *Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen %s, timeout %s, log %s json=%t\n", c.Listen, c.Timeout, c.Log.Level, c.Log.JSON)
	if c.TLS != nil {
		fmt.Fprintf(&b, "TLS %+v\n", *c.TLS)
	}
	if c.Limits != (Limits{DefaultMessageLimit, DefaultCallLimit, DefaultConnectionLimit}) {
		fmt.Fprintf(&b, "limits %+v\n", c.Limits)
	}
	for _, h := range mux.Hooks() {
		if allow, ok := c.Default[h]; ok {
			fmt.Fprintf(&b, "default %s: allow=%t\n", h, allow)
		}
	}
	for _, h := range mux.Hooks() {
		if s := c.Strategy[h]; s != mux.Chain {
			fmt.Fprintf(&b, "strategy %s: %s\n", h, s)
		}
	}
	if c.Admin != (Admin{}) || c.Trail != (trail.Options{}) {
		fmt.Fprintf(&b, "admin %+v with a token of %d characters\ntrail %+v\n", c.Admin, len(c.Admin.Token), c.Trail)
	}
	if c.Tracing != (Tracing{}) {
		fmt.Fprintf(&b, "tracing %+v\n", c.Tracing)
	}
	if c.Spool != defaultSpool() {
		fmt.Fprintf(&b, "spool %+v\n", c.Spool)
	}
	for _, p := range c.Providers {
		fmt.Fprintf(&b, "\n%s\n", p)
		if p.IsRemote() {
			fmt.Fprintf(&b, "  url %s\n", p.URL)
			if p.TLS != nil {
				fmt.Fprintf(&b, "  TLS %+v\n", *p.TLS)
			}
		} else {
			fmt.Fprintf(&b, "  command %q in %s within %s\n", p.Command, p.Dir, p.StartTimeout)
			fmt.Fprintf(&b, "  env %q\n  config %s\n", p.Env, p.Config)
			describeProcess(&b, p.Process)
		}
		for _, h := range p.Hooks {
			fmt.Fprintf(&b, "  hook %s %q\n", h.Hook, h.Topics)
		}
		for _, h := range mux.Hooks() {
			if p.OnFailure[h] != mux.Always(mux.Deny) {
				fmt.Fprintf(&b, "  on failure %s: %s\n", h, p.OnFailure[h])
			}
		}
		if p.Pure != nil {
			fmt.Fprintf(&b, "  pure %t\n", *p.Pure)
		}
		if p.When != nil {
			fmt.Fprintf(&b, "  when %s\n", p.When)
		}
		if p.MayChange != nil || p.Redact != nil {
			fmt.Fprintf(&b, "  may change %v, redact %v\n", p.MayChange, p.Redact)
		}
		if p.Observe {
			fmt.Fprintf(&b, "  observes\n")
		}
		fmt.Fprintf(&b, "  timeout %s, concurrency %d, delivery %s\n", p.Timeout, p.Concurrency, p.Delivery)
		if p.Delivery.AnyDurable() {
			fmt.Fprintf(&b, "  durable %+v\n", p.Durable)
		}
		fmt.Fprintf(&b, "  breaker %+v\n  lane %+v\n", p.Breaker, p.Lane)
	}
	return b.String()
}

func describeProcess(b *strings.Builder, p Process) {
	if p.Umask != nil {
		fmt.Fprintf(b, "  umask %04o\n", *p.Umask)
		p.Umask = nil
	}
	if !reflect.DeepEqual(p, Process{}) {
		fmt.Fprintf(b, "  process %+v\n", p)
	}
}
