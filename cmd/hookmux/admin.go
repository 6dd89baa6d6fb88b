package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
)

// adminFlags adds what finds a hookmux that runs.
func adminFlags(cmd *cobra.Command) (client func() (*admin.Client, error)) {
	file := configFlag(cmd)
	at := cmd.Flags().String("admin", "", "admin `address` of the hookmux: a socket, or http://host:port with the token in HOOKMUX_TOKEN (default: what the config says)")
	return func() (*admin.Client, error) {
		address, token, err := strings.TrimPrefix(*at, "unix:"), "", error(nil)
		if address == "" {
			if address, token, err = adminAddress(*file); err != nil {
				return nil, err
			}
		}
		if given := os.Getenv("HOOKMUX_TOKEN"); given != "" {
			token = given
		}
		return admin.NewClient(address, token), nil
	}
}

// adminAddress is where the hookmux with this config is to be found. The config
// may be broken meanwhile: then only the default is known.
func adminAddress(flag string) (address, token string, err error) {
	path, err := findConfig(flag)
	if err != nil {
		return "", "", err
	}
	cfg, err := config.Load(path)
	switch {
	case err != nil || cfg.Admin.Listen == "":
		places := defaultAdmins(path)
		for _, socket := range places {
			// In a folder for all, such as /tmp, it may be somebody else's, who would tell
			// us what they like. The system's belongs to the service's user.
			info, err := os.Lstat(socket)
			if err != nil {
				continue
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			if ok && (int(owner.Uid) == os.Getuid() || owner.Uid == 0) || filepath.Dir(socket) == systemRun {
				return socket, "", nil
			}
		}
		return places[0], "", nil
	case cfg.Admin.IsTCP():
		return "http://" + cfg.Admin.Listen, string(cfg.Admin.Token), nil
	case cfg.Admin.Listen == config.Off:
		return "", "", fmt.Errorf("%s says admin: off, so hookmux cannot be reached", path)
	}
	return cfg.Admin.Listen, "", nil
}

func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running hookmux read its config anew",
		Long: `reload has a running hookmux read its config anew, and waits until it is in place.
Only providers whose process changed get a new one, which takes over without a
loss. If any of it fails, nothing has changed, the reason is printed, and the exit
status is 1. SIGHUP does the same, and says so in hookmux's log.`,
		Args: cobra.NoArgs,
	}
	client := adminFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		ctx, stop := untilSignal()
		defer stop()
		changes, err := c.Reload(ctx)
		if err != nil {
			return fmt.Errorf("nothing has changed: %w", err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), changes)
		return nil
	}
	return cmd
}

func newRestart() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restart PROVIDER",
		Short: "Give a plugin of a running hookmux a new process",
		Long: `restart starts a plugin anew, for example after its program was upgraded. The new
process starts, says what it wants and is found well; then it takes over, and the
old one finishes what it has. No event is lost. If the new one is no good, the old
one stays, the reason is printed, and the exit status is 1.`,
		Args: cobra.ExactArgs(1),
	}
	client := adminFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		ctx, stop := untilSignal()
		defer stop()
		if _, err := c.Do(ctx, "restart", args[0]); err != nil {
			return fmt.Errorf("nothing has changed: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s runs with a new process\n", args[0])
		return nil
	}
	return cmd
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running hookmux is doing",
		Args:  cobra.NoArgs,
	}
	client := adminFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print all there is to know, as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := client()
		if err != nil {
			return err
		}
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(s)
		}
		printStatus(cmd.OutOrStdout(), &s, time.Now())
		return nil
	}
	return cmd
}

func printStatus(out io.Writer, s *admin.Status, now time.Time) {
	fmt.Fprintf(out, "hookmux %s, %s, serves %s\n\nPROVIDERS\n", s.Version, s.Config, s.Listen)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  NAME\tSTATUS\tFOR\tPID\tRESTARTS\tWAITING\tDECIDED\tMISSING\tDELIVERED\tLOST")
	for i := range s.Providers {
		p := &s.Providers[i]
		pid := "-"
		if p.Pid != 0 {
			pid = fmt.Sprint(p.Pid)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", p.Name, p.Status, now.Sub(p.Since).Round(time.Second), pid,
			p.Restarts, p.WaitingEvents, sum(p.Decided), sum(p.Missing), p.Delivered, sum(p.Dropped))
	}
	_ = w.Flush()
	for i := range s.Providers {
		p := &s.Providers[i]
		if p.LastError != "" {
			fmt.Fprintf(out, "\n%s: last error: %s\n", p.Name, p.LastError)
		}
		for _, problem := range p.Problems {
			fmt.Fprintf(out, "\n%s: %s\n", p.Name, problem)
		}
		for what, state := range p.Breakers {
			if state != "closed" {
				fmt.Fprintf(out, "\n%s: the breaker for %s is %s\n", p.Name, what, state)
			}
		}
		if !p.HooksKnown {
			fmt.Fprintf(out, "\n%s: has never started, so every hook it might decide follows its failure policy\n", p.Name)
		}
	}
	fmt.Fprintln(out, "\nBROKERS")
	for i := range s.Brokers {
		b := &s.Brokers[i]
		fmt.Fprintf(out, "  %s  EMQX %s, sends %s\n", b.Node, b.Version, plural(len(b.Hooks), "hook"))
		if len(b.Missing) > 0 {
			fmt.Fprintf(out, "    does not send %s: disable and enable the ExHook server in EMQX\n", strings.Join(b.Missing, ", "))
		}
	}
	if len(s.Brokers) == 0 {
		fmt.Fprintln(out, "  none has loaded hookmux")
	}
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
