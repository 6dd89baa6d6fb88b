// Command hookmux is a sidecar for EMQX: one ExHook server to the broker, many
// independent providers behind it. It is a thin face on mux/app: flags, files
// and exit codes are here, all else is there.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole program but for the process around it, so that tests can
// have it in theirs. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintf(stderr, "hookmux: %v\n", err)
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hookmux",
		Short: "One ExHook server for EMQX, many providers behind it",
		Long: `hookmux stands beside EMQX. To EMQX it is one ExHook server; behind it, each
event goes to several providers: plugins, which hookmux starts and watches, and
remotes, ExHook servers that run already. Their answers are merged into one. A
provider that crashes, hangs or crawls costs the others nothing.

The config is one file, hookmux.yaml, with the providers in the order in which
they are asked:

  providers:
    - name: login                      # a plugin
      command: [./login, --verbose]
      config: {users: {alice: "${env:ALICE_PASSWORD}"}}
    - name: legacy                     # a remote
      url: http://127.0.0.1:9001

Without --config, hookmux reads ./hookmux.yaml, or else /etc/hookmux/hookmux.yaml.
"hookmux check" tells everything that is wrong with it, and what is allowed.
All keys are described in mux/config/README.md, and "hookmux schema" has them for editors.

In EMQX, add an ExHook server with the URL http://127.0.0.1:9000.`,
		Example: `  hookmux demo                     see it work first, with a broker and plugins of its own
  hookmux check                    is ./hookmux.yaml right, do its providers start, who is asked what?
  hookmux run                      serve EMQX until SIGTERM or Ctrl-C
  hookmux status                   who is up, what is wrong and why
  hookmux explain --client C       why was this client refused?
  hookmux run -c /srv/mqtt.yaml    the same with another config`,
		Version:       versionString(),
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(newRun(), newStatus(), newProviders(), newExplain(), newTail(), newSpool(), newReload(), newReady(), newCheck(), newSchema(), newDemo(), newBench())
	root.AddCommand(newDoctor(), newEMQX(), newRestart(), newDrain(), newDisable(), newEnable())
	root.AddCommand(newInit(), newDev(), newVerify(), newVersion(), newReaper())
	root.AddCommand(newBenchParts()...)
	return root
}
