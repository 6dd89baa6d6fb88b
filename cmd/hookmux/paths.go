package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
)

// defaultAdmins and defaultState are where a hookmux keeps its socket and its
// state when its config does not say. They are named after the config's path, so that
// several can run and each is found by its config.

// systemRun is where only root makes folders, for the socket of a hookmux of the system's.
const systemRun = "/run/hookmux"

// defaultAdmins are the places for the socket: run takes the first; the others are
// where it is if run was called from another environment, such as systemd's.
func defaultAdmins(configPath string) (paths []string) {
	add := func(dir string) { paths = append(paths, filepath.Join(dir, nameOf(configPath)+".sock")) }
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" { // systemd's
		add(dir)
	}
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); xdg != "" {
		add(filepath.Join(xdg, "hookmux"))
	}
	if os.Getuid() == 0 {
		add(systemRun)
	}
	add(filepath.Join(os.TempDir(), "hookmux-"+strconv.Itoa(os.Getuid())))
	return paths
}

func defaultState(configPath string) string { return inStateDir(nameOf(configPath) + ".json") }

// defaultSpool is where it stores what is delivered durably.
func defaultSpool(configPath string) string { return inStateDir(nameOf(configPath) + ".spool") }

func inStateDir(name string) string {
	var dir string
	switch xdg := os.Getenv("XDG_STATE_HOME"); {
	case os.Getenv("STATE_DIRECTORY") != "": // systemd's
		dir = os.Getenv("STATE_DIRECTORY")
	case xdg != "":
		dir = filepath.Join(xdg, "hookmux")
	case os.Getuid() == 0:
		dir = "/var/lib/hookmux"
	default:
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state", "hookmux")
	}
	return filepath.Join(dir, name)
}

// nameOf is a short name for a file's place.
func nameOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:6])
}
