package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/config"
)

// standardPaths are where the config is looked for.
var standardPaths = []string{"hookmux.yaml", "/etc/hookmux/hookmux.yaml"}

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "", "config `file` (default ./hookmux.yaml, or else /etc/hookmux/hookmux.yaml)")
}

// onlyConfig refuses arguments: the config is a flag.
func onlyConfig(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no argument %q; to name the config, write %s -c %s", cmd.CommandPath(), args[0], cmd.CommandPath(), args[0])
}

// findConfig is the file of the flag, or the first of the standard ones that is
// there.
func findConfig(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	for _, path := range standardPaths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no config: looked for %s; name a file with --config, or a socket with --admin", strings.Join(standardPaths, " and "))
}

// loadConfig reads the file of the flag, or the first of the standard ones that
// is there, and says which it was.
func loadConfig(flag string) (*config.Config, string, error) {
	paths := standardPaths
	if flag != "" {
		paths = []string{flag}
	}
	for _, path := range paths {
		cfg, err := config.Load(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			n := len(joined.Unwrap())
			return nil, path, fmt.Errorf("the config has %s:\n%w", plural(n, "error"), err)
		}
		return cfg, path, err
	}
	return nil, "", fmt.Errorf("there is no config: looked for %s; name a file with --config, or begin with this:\n\n%s",
		strings.Join(paths, " and "), indented(config.Example))
}

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// newLogger logs to w as the config says, from level on.
func newLogger(cfg config.Log, level slog.Leveler, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if cfg.JSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// reaperCommand is the command line of newReaper.
func reaperCommand() []string {
	exe, err := os.Executable()
	if err != nil {
		return nil // hookmux works without
	}
	return []string{exe, reaperName}
}
