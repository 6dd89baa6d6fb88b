package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatus(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // nothing is there
	for _, tt := range []struct {
		all, args string
		code      int
		stderr    string
	}{
		{"", "ready python", 0, "left out: python: there is no python3 here"},
		{"all", "ready python", 1, "left out: python: there is no python3 here"},
		{"", "dir python", 1, "no python3"},
		{"", "dir cobol", 1, `no lane "cobol"`},
		{"", "frobnicate", 2, "usage"},
	} {
		t.Setenv(lanes.EnvLanes, tt.all)
		var stdout, stderr bytes.Buffer
		if code := run(strings.Fields(tt.args), &stdout, &stderr); code != tt.code || !strings.Contains(stderr.String(), tt.stderr) || stdout.Len() > 0 {
			t.Errorf("%s with %q: status %d, %q, %q", tt.args, tt.all, code, &stdout, &stderr)
		}
	}
}
