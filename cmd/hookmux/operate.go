package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
)

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
	asJSON := jsonFlag(cmd)
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
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), changes)
		}
		fmt.Fprintln(cmd.OutOrStdout(), changes)
		return nil
	}
	return cmd
}

func newRestart() *cobra.Command {
	return newVerb("restart", "Give a plugin of a running hookmux a new process", `restart starts a plugin anew, for example after its program was upgraded. The new
process starts, says what it wants and is found well; then it takes over, and the
old one finishes what it has. No event is lost. If the new one is no good, the old
one stays, the reason is printed, and the exit status is 1.`,
		func(p *admin.Provider) (string, error) { return p.Name + " runs with a new process", nil })
}

func newDisable() *cobra.Command {
	return newVerb("disable", "Take a provider out of service, as if it had crashed", `disable ends a plugin's process, or a remote's connection, once what is under way is
handled. Until hookmux enable, it is as if the provider had crashed and were not
started again:

  - what it should decide follows its on_failure (cause: down), so a provider with
    on_failure deny, which is the default, lets nothing pass meanwhile;
  - notifications wait in its lane, as many as the lane holds.

It stays disabled over a reload and, with a state file, over a restart of hookmux. To go
on as if the provider were not there, take it out of the config and reload.`,
		func(p *admin.Provider) (string, error) {
			return fmt.Sprintf("%s is disabled: its on_failure decides, and notifications wait, until hookmux enable %s", p.Name, p.Name), nil
		})
}

func newEnable() *cobra.Command {
	return newVerb("enable", "Undo disable and drain", `enable starts a provider that was disabled or drained, and waits for its first start. What
waited in its lane is delivered. If it does not start, it is tried again and again as any
other, the reason is printed, and the exit status is 1.`,
		func(p *admin.Provider) (string, error) {
			if p.Status != "up" {
				return "", fmt.Errorf("%s is enabled, but is %s: %s", p.Name, p.Status, clean(p.LastError))
			}
			return p.Name + " is enabled, and up", nil
		})
}

// verb is the command that does something to one provider.
type verb struct {
	*cobra.Command
	client func() (*admin.Client, error)
	asJSON *bool
}

// oneProvider takes the name of a provider, and says so if it is not there.
func oneProvider(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one provider: %s PROVIDER; hookmux providers lists them", cmd.CommandPath())
	}
	return nil
}

func newVerbCommand(name, short, long string) verb {
	cmd := &cobra.Command{Use: name + " PROVIDER", Short: short, Long: long, Args: oneProvider}
	return verb{cmd, adminFlags(cmd), jsonFlag(cmd)}
}

// newVerb is a command that ends when hookmux has answered; done says what came of it.
func newVerb(name, short, long string, done func(*admin.Provider) (string, error)) *cobra.Command {
	v := newVerbCommand(name, short, long)
	v.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.client()
		if err != nil {
			return err
		}
		ctx, stop := untilSignal()
		defer stop()
		p, err := c.Do(ctx, name, args[0])
		if err != nil {
			return fmt.Errorf("nothing has changed: %w", err)
		}
		text, err := done(p)
		if *v.asJSON {
			return errors.Join(printJSON(cmd.OutOrStdout(), p), err)
		}
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), text)
		}
		return err
	}
	return v.Command
}

// drainPoll is how often it is looked at how far the draining is.
const drainPoll = 200 * time.Millisecond

func newDrain() *cobra.Command {
	v := newVerbCommand("drain", "Deliver what waits for a provider, then disable it", `drain takes a provider out of service as disable does, but delivers what waits in its
lane first: for a clean stop. It gets nothing new from the beginning; new notifications
wait. drain waits until all is delivered and the provider is disabled; Ctrl-C ends the
waiting, not the draining, which hookmux enable takes back.`)
	v.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.client()
		if err != nil {
			return err
		}
		ctx, stop := untilSignal()
		defer stop()
		p, err := c.Do(ctx, "drain", args[0])
		if err != nil {
			return fmt.Errorf("nothing has changed: %w", err)
		}
		for told := int64(-1); err == nil && p.Draining; p, err = c.Provider(ctx, args[0]) {
			if p.WaitingEvents != told && p.WaitingEvents > 0 && !*v.asJSON {
				told = p.WaitingEvents
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", p.Name, draining(p))
			}
			select {
			case <-time.After(drainPoll):
			case <-ctx.Done():
			}
		}
		switch {
		case errors.Is(err, context.Canceled):
			return fmt.Errorf("%s is still being drained; hookmux status shows how far it is", args[0])
		case err != nil:
			return err
		case p.Enabled:
			return fmt.Errorf("somebody has enabled %s meanwhile", p.Name)
		case *v.asJSON:
			return printJSON(cmd.OutOrStdout(), p)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s has got all that waited, and is disabled until hookmux enable %s\n", p.Name, p.Name)
		return nil
	}
	return v.Command
}

// draining is how far it is.
func draining(p *admin.Provider) string {
	text := plural(int(p.WaitingEvents), "notification") + " wait"
	if p.WaitingEvents == 1 {
		text += "s"
	}
	if len(p.Breakers) == 0 && p.LastError != "" {
		text += "; nothing is delivered while it is down: " + clean(p.LastError)
	}
	return text
}
