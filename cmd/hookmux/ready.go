package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

func newReady() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Say by the exit status whether a running hookmux is ready",
		Long: `ready exits with status 0 if hookmux runs and each of its providers has had its
first chance to start: the moment for EMQX to start, and what a container's probes ask.
It prints nothing then; else it says what is missing. A provider that is down does not
make hookmux unready, since its failure policy answers for it: see "hookmux status".`,
		Example: `  hookmux ready                    a container's probe
  hookmux ready --wait 30s         in a script, before EMQX is started`,
		Args: cobra.NoArgs,
	}
	client := adminFlags(cmd)
	wait := cmd.Flags().Duration("wait", 0, "how long to wait for it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal()
		defer stop()
		for end := time.Now().Add(*wait); ; {
			c, err := client() // anew: where the socket is may show only once it is there
			if err == nil {
				s, statusErr := c.Status(ctx)
				if err = statusErr; err == nil && s.Ready {
					return nil
				}
			}
			if err == nil {
				err = errors.New("hookmux runs, but not every provider has had its first chance to start")
			}
			if time.Until(end) <= 0 {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(min(100*time.Millisecond, time.Until(end))):
			}
		}
	}
	return cmd
}
