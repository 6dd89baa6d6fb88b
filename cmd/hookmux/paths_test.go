package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A socket in a folder for all may be somebody else's.
func TestAdminSocketOfSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	tmp, err := os.MkdirTemp("", "paths") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	t.Setenv("XDG_RUNTIME_DIR", "")
	config := filepath.Join(tmp, "hookmux.yaml")
	if err := os.WriteFile(config, []byte("providers: [{name: a, command: x}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	places := defaultAdmins(config)
	theirs := places[len(places)-1]
	if filepath.Dir(theirs) != filepath.Join(tmp, "hookmux-"+strconv.Itoa(os.Getuid())) {
		t.Fatalf("places: %q", places)
	}
	if err := os.Mkdir(filepath.Dir(theirs), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := adminTarget(config); got.address != theirs || err != nil {
		t.Errorf("our own: %s, %v", got, err)
	}
	if err := os.Lchown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if got, err := adminTarget(config); got.address != places[0] || err != nil {
		t.Errorf("somebody else's: %s, %v", got, err)
	}
}
