package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/muxtest/conformance"
)

func newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [flags] -- COMMAND [ARGUMENT...]",
		Short: "Check that a program is a good plugin, in any language",
		Long: `verify starts a plugin as hookmux would and tries what a plugin must stand: the
handshake, every hook that it declares, large messages, fields and bytes that it
does not know, deadlines, cancellation, order, overload, SIGSTOP, a crash,
Shutdown, the death of its parent; on both app protocols, as far as it speaks them.

Nothing else runs meanwhile, and no EMQX is needed. The plugin's handlers get made-up
events of clients verify-1, verify-2 and so on; do not point it at a database in
service. What they answer is their own affair, and an error is an answer, too.

A check is ok or FAILED; or it has a note, for what is good to have. "-" is left
out, because this plugin does not do what it is about. The exit status is 1 if a
check failed.

Names for --only: ` + strings.Join(conformance.Names(), ", ") + `.`,
		Example: `  hookmux verify -- python3 plugin.py
  hookmux verify --config '{"users": {"alice": "secret"}}' -- bin/login
  hookmux verify --protocol 1 --json -- java -jar plugin.jar`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which plugin? Put its command behind --: hookmux verify -- python3 plugin.py")
			}
			return nil
		},
	}
	f := cmd.Flags()
	var o conformance.Options
	config := f.String("config", "", "the plugin's config, a `JSON` object, or the name of a file with one")
	f.StringArrayVar(&o.Env, "env", nil, "an environment variable, `NAME=VALUE`; as under hookmux, it inherits none")
	f.IntVar(&o.Protocol, "protocol", 0, "check only this app protocol, 1 or 2 (default all that the plugin speaks)")
	f.DurationVar(&o.Patience, "patience", 0, "how long the plugin may take for what has no limit of its own (default 10s)")
	f.StringSliceVar(&o.Only, "only", nil, "run only these `CHECKS`, separated by commas")
	f.StringVar(&o.Dir, "dir", "", "the plugin's working `folder` (default this one)")
	verbose := f.BoolP("verbose", "v", false, "show what the plugin prints")
	asJSON := f.Bool("json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Protocol < 0 || o.Protocol > 2 {
			return fmt.Errorf("there is no app protocol %d: 1 or 2", o.Protocol)
		}
		var err error
		if o.Command, err = findProgram(args, o.Dir); err != nil {
			return err
		}
		if o.Config, err = pluginConfig(*config); err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *verbose {
			o.Output = func(line string) { fmt.Fprintf(cmd.ErrOrStderr(), "  | %s\n", line) }
		}
		var before *conformance.Check
		if !*asJSON {
			fmt.Fprintln(out, "verify", strings.Join(args, " "))
			o.Done = func(c conformance.Check) {
				conformance.WriteCheck(out, before, c)
				before = &c
			}
		}
		ctx, stop := untilSignal()
		defer stop()
		report, err := conformance.Run(ctx, o)
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(out)
			e.SetIndent("", "  ")
			if err := e.Encode(report); err != nil {
				return err
			}
		} else {
			report.WriteSummary(out)
		}
		switch n := report.Failed(); n {
		case 0:
			return nil
		case 1:
			return errors.New("1 check failed")
		default:
			return fmt.Errorf("%d checks failed", n)
		}
	}
	return cmd
}

// findProgram makes a program's path independent of the plugin's PATH; one with a
// slash is relative to the plugin's folder.
func findProgram(command []string, dir string) ([]string, error) {
	path := command[0]
	if dir != "" && strings.Contains(path, "/") && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	path, err := exec.LookPath(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find the plugin: %w", err)
	}
	return append([]string{path}, command[1:]...), nil
}

// pluginConfig reads a JSON object, or the file of that name.
func pluginConfig(text string) (json.RawMessage, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, nil
	case !strings.HasPrefix(text, "{"):
		return readJSON(text)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, fmt.Errorf("--config is no JSON object: %w", err)
	}
	return json.RawMessage(text), nil
}
