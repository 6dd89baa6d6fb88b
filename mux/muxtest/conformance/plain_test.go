package conformance_test

import (
	"path/filepath"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/conformance"
	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// A short plugin without any SDK passes what there is for app protocol 1.
func TestPluginWithoutAnSDK(t *testing.T) {
	t.Parallel()
	python := filepath.Join(lanes.Require(t, "python").Dir, "bin", "python3")
	r := run(t, conformance.Options{Command: []string{python, filepath.Join("testdata", "plain.py")}})
	ok := 0
	for _, c := range r.Checks {
		switch {
		case c.Outcome == conformance.OK:
			ok++
		case c.Section == "protocol 2": // left out as a whole
		case c.Outcome == conformance.Note && (c.Name == "health" || c.Name == "Shutdown" || c.Name == "Shutdown under load"):
			// which it does not have
		default:
			t.Errorf("%s: %s: %s %s", c.Section, c.Name, c.Outcome, c.Text)
		}
	}
	if ok < 15 {
		t.Errorf("only %d checks are ok: %+v", ok, r.Checks)
	}
}
