package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/syntax"
)

// foreign are programs that guides may call, and of which nothing is checked but the paths
// that they are given.
//
//nolint:gochecknoglobals // a constant table
var foreign = strings.Fields(`
	apt-get cat cd chmod chown cp curl docker echo emqx export git go grep helm install java journalctl kill kubectl kustomize
	kcat ls mariadb mkdir mosquitto_pub mosquitto_sub mv mysql nats node npm openssl pip printf psql python python3 read rm sed sha256sum
	shasum sleep sudo sysctl systemctl systemd-sysusers systemd-analyze systemd-cgtop systemd-run tar tee touch umask useradd yes`)

func checkConsole(t *testing.T, b *block) error {
	commands := *b
	commands.text = ""
	for line := range strings.Lines(b.text) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			commands.text += command
		}
	}
	if commands.text == "" {
		return errors.New(`no line begins with "$ "; output alone is of kind text`)
	}
	return checkShell(t, &commands)
}

// checkShell looks at every command in the block. Nothing is done but what does no more
// than read.
func checkShell(_ *testing.T, b *block) error {
	script, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(b.text), b.file)
	if err != nil {
		return err
	}
	var errs []error
	syntax.Walk(script, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, w := range call.Args {
			words = append(words, textOf(w))
		}
		if err := checkCommand(b, words); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(words, " "), err))
		}
		return true
	})
	return errors.Join(errs...)
}

// textOf is a word as the shell would hand it on; what it would put in is VALUE.
func textOf(w *syntax.Word) string {
	var text strings.Builder
	var add func(parts []syntax.WordPart)
	add = func(parts []syntax.WordPart) {
		for _, part := range parts {
			switch p := part.(type) {
			case *syntax.Lit:
				text.WriteString(p.Value)
			case *syntax.SglQuoted:
				text.WriteString(p.Value)
			case *syntax.DblQuoted:
				add(p.Parts)
			default:
				text.WriteString("VALUE")
			}
		}
	}
	add(w.Parts)
	return text.String()
}

func checkCommand(b *block, words []string) error {
	if words[0] == "sudo" { // and its options, and variables
		words = words[1:]
		for len(words) > 0 && (words[0][0] == '-' || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
		if len(words) == 0 {
			return nil
		}
	}
	if err := checkPaths(b, words); err != nil {
		return err
	}
	switch name := path.Base(words[0]); {
	case name == "hookmux":
		return checkHookmux(words[1:])
	case name == "make":
		return checkMake(words[1:])
	case name == "docker" && slices.Contains(words, "exec") && slices.Contains(words, "hookmux"): // of a container, perhaps of that name
		for len(words) > 1 && slices.Contains(words[1:], "hookmux") {
			words = words[1+slices.Index(words[1:], "hookmux"):]
		}
		return checkHookmux(words[1:])
	case name == "kubectl" && slices.Contains(words, "--"): // kubectl exec … -- hookmux status
		return checkCommand(b, words[slices.Index(words, "--")+1:])
	case name == "curl":
		return checkRoutes(words[1:])
	case slices.Contains(foreign, name), isOurs(name):
		return nil
	default:
		return fmt.Errorf("%s is neither ours nor among the programs that guides may call (foreign in docs_shell_test.go)", name)
	}
}

// isOurs reports whether it is a plugin of ours, or a script.
func isOurs(name string) bool {
	for _, dir := range []string{"plugins", "examples/go", "examples/java"} {
		if info, err := os.Stat(filepath.Join(root, dir, name)); err == nil && info.IsDir() {
			return true
		}
	}
	return strings.HasSuffix(name, ".sh") || strings.HasSuffix(name, ".py")
}

// checkPaths fails when a word is a path into the repository, and nothing is there.
func checkPaths(b *block, words []string) error {
	for _, w := range words {
		if _, value, ok := strings.Cut(w, "="); ok && strings.HasPrefix(w, "-") {
			w = value
		}
		// ./... and globs are of more than one file.
		if !strings.Contains(w, "/") || strings.ContainsAny(w, "*?:@<>{}…") || strings.Contains(w, "VALUE") || strings.Contains(w, "...") {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(w, "./"), "/")
		inRoot := slices.Contains([]string{"cmd", "deploy", "examples", "mux", "plugins", "proto"}, first)
		if !inRoot && first != ".." {
			continue
		}
		beside := filepath.Join(root, filepath.Dir(b.file), w)
		fromRoot := filepath.Join(root, w)
		if !exists(beside) && (!inRoot || !exists(fromRoot)) {
			return fmt.Errorf("there is no %s, neither from the root nor from the guide's folder", w)
		}
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// checkHookmux has hookmux parse its arguments, and does what only reads a file of ours.
func checkHookmux(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	switch err := cmd.ParseFlags(rest); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	if cmd.Runnable() {
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			return err
		}
	} else if len(args) > 0 && !cmd.Flags().Changed("version") {
		return fmt.Errorf("%s needs one of its commands", cmd.CommandPath())
	}
	var instead []string
	switch cmd.Name() {
	case "version", "schema":
		instead = args
	case "check", "run":
		if file := configOf(cmd); file != "" && exists(filepath.Join(root, file)) {
			instead = []string{"check", "--no-start", "-c", filepath.Join(root, file)}
		}
	}
	if instead == nil {
		return nil
	}
	var out, stderr bytes.Buffer
	if code := run(instead, strings.NewReader(""), &out, &stderr); code != 0 {
		return fmt.Errorf("exit status %d: %s", code, stderr.String())
	}
	return nil
}

func configOf(cmd *cobra.Command) string {
	if f := cmd.Flag("config"); f != nil {
		return f.Value.String()
	}
	return ""
}

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z0-9-]+(?: [a-z0-9-]+)*):`)
	route      = regexp.MustCompile(`(?m)^  (/[^:]*):$`)
	parameter  = regexp.MustCompile(`\{[^}]*\}`)
)

// checkMake fails when make has no such target. What ARGS holds is for hookmux.
func checkMake(args []string) error {
	var rules bytes.Buffer
	files, _ := filepath.Glob(root + "/plugins/sdk/*/lane.mk")
	others, _ := filepath.Glob(root + "/deploy/*.mk")
	for _, f := range slices.Concat([]string{root + "/Makefile"}, files, others) {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		rules.Write(text)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(rules.String(), -1) {
		targets = append(targets, strings.Fields(m[1])...)
	}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "ARGS="); ok {
			if i == 0 || !strings.Contains(recipeOf(rules.String(), args[0]), "$(ARGS)") {
				return errors.New("ARGS is not for this target")
			}
			if command := map[string]string{"demo": "demo", "bench-e2e": "bench"}[args[0]]; command != "" {
				if err := checkHookmux(append([]string{command}, strings.Fields(value)...)); err != nil {
					return err
				}
			}
			continue
		}
		if !strings.Contains(arg, "=") && !slices.Contains(targets, arg) {
			return fmt.Errorf("make has no target %q", arg)
		}
	}
	return nil
}

func recipeOf(rules, target string) string {
	_, recipe, _ := strings.Cut("\n"+rules, "\n"+target+":")
	recipe, _, _ = strings.Cut(recipe, "\n\n")
	return recipe
}

// checkRoutes fails when the admin API has no such path as curl is to ask.
func checkRoutes(args []string) error {
	api, err := os.ReadFile(root + "/mux/admin/openapi.yaml")
	if err != nil {
		return err
	}
	for _, arg := range args {
		at := strings.Index(arg, "/v1/")
		if at < 0 {
			continue
		}
		asked, _, _ := strings.Cut(arg[at:], "?")
		known := slices.ContainsFunc(route.FindAllStringSubmatch(string(api), -1), func(m []string) bool {
			pattern := parameter.ReplaceAllString(regexp.QuoteMeta(m[1]), "[^/]+")
			pattern = strings.ReplaceAll(pattern, `\{`, "{")
			ok, err := regexp.MatchString("^"+parameter.ReplaceAllString(pattern, "[^/]+")+"$", asked)
			return ok && err == nil
		})
		if !known {
			return fmt.Errorf("the admin API has no path %s (mux/admin/openapi.yaml)", asked)
		}
	}
	return nil
}

// The commands that the alerts name exist.
func TestCommandsInAlerts(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile("`hookmux ([^`]+)`").FindAllStringSubmatch(string(readFile(t, "deploy/prometheus/alerts.yaml")), -1)
	if len(found) < 5 {
		t.Errorf("%d commands", len(found))
	}
	for _, m := range found {
		if err := checkHookmux(strings.Fields(strings.ReplaceAll(m[1], "{{ $labels.provider }}", "login"))); err != nil {
			t.Errorf("hookmux %s: %v", m[1], err)
		}
	}
}
