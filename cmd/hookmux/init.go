package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/cmd/hookmux/internal/scaffold"
)

func newInit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init LANGUAGE DIR",
		Short: "Make the folder of a new plugin: code, test, build file, config",
		Long: `init makes a new folder with a small plugin that works as it is: its code, a test,
the build file of its language, a hookmux.yaml and a README with the next steps.

Languages: ` + strings.Join(scaffold.Names(), ", ") + `.

A released hookmux takes its SDK from the language's registry. One that was built
from a checkout of the sources takes the SDK from there.`,
		Example: `  hookmux init go topic-rules
  hookmux init python topic-rules --sdk ~/src/hookmux`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("give a language (%s) and a new folder: hookmux init go my-plugin", strings.Join(scaffold.Names(), ", "))
			}
			return nil
		},
	}
	name := cmd.Flags().String("name", "", "the plugin's `name` (default that of the folder)")
	sdk := cmd.Flags().String("sdk", "", "a `checkout` of hookmux to take the SDK from")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		lang, err := scaffold.ByName(args[0])
		if err != nil {
			return err
		}
		p := scaffold.Project{Dir: args[1], Name: *name, Version: strings.TrimPrefix(shortVersion(), "v")}
		if p.SDK, err = findSDK(*sdk); err != nil {
			return err
		}
		files, err := lang.Create(p)
		if err != nil {
			return fmt.Errorf("make the plugin's folder: %w", err)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s: a plugin in %s\n\n", args[1], lang.Name)
		for _, f := range files {
			fmt.Fprintln(out, " ", f)
		}
		fmt.Fprintf(out, "\nNext:\n  cd %s\n", shellQuote(args[1]))
		verify := append([]string{"hookmux", "verify", "--"}, lang.Verify...)
		for _, command := range slices.Concat(lang.Setup, lang.Test, lang.Build, [][]string{verify, {"hookmux", "dev", "."}}) {
			var line []string
			for _, word := range command {
				line = append(line, shellQuote(word))
			}
			fmt.Fprintln(out, " ", strings.Join(line, " "))
		}
		return nil
	}
	return cmd
}

// findSDK is the checkout whose SDK a new plugin is to use: the given one, or that
// of a hookmux that was built in place and never released.
func findSDK(given string) (string, error) {
	if given != "" {
		dir, err := filepath.Abs(given)
		if err == nil && !isCheckout(dir) {
			err = fmt.Errorf("%s is no checkout of hookmux: it has no go.mod of github.com/hookmux/hookmux", dir)
		}
		return dir, err
	}
	if released.MatchString(shortVersion()) {
		return "", nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	for dir := filepath.Dir(exe); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if isCheckout(dir) {
			return dir, nil
		}
	}
	return "", errors.New("this hookmux is no release, and does not lie in a checkout of its sources: name one with --sdk")
}

var released = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+$`)

func isCheckout(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && bytes.HasPrefix(b, []byte("module github.com/hookmux/hookmux\n"))
}
