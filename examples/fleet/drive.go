package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
)

// tally is what the devices did.
type tally struct {
	messages, sessions         atomic.Int64
	wrongPasswords, trespasses atomic.Int64
	killed                     int
	took                       time.Duration
	bar                        *progressbar.ProgressBar
}

func (t *tally) message() {
	t.messages.Add(1)
	_ = t.bar.Add(1)
}

// killEvery is the pause between two kills of a plugin.
const killEvery = 1500 * time.Millisecond

// drive lets all devices live at the same time.
func drive(ctx context.Context, o options, s *system, stderr io.Writer) (*tally, error) {
	if o.quiet {
		stderr = io.Discard
	}
	t := &tally{bar: progressbar.NewOptions(o.devices*o.messages,
		progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(fmt.Sprintf("%d devices", o.devices)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("messages"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
	)}
	stopKills := func() int { return 0 }
	if o.kill {
		stopKills = s.killer(ctx, killEvery)
	}
	begun := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for i := range o.devices {
		d := &device{i: i, mqtt: s.mqtt, done: t}
		all.Go(func() error {
			if err := d.life(ctx, o.messages); err != nil {
				return fmt.Errorf("%s: %w", deviceID(i), err)
			}
			return nil
		})
	}
	err := all.Wait()
	t.took, t.killed = time.Since(begun), stopKills()
	_ = t.bar.Exit()
	fmt.Fprintln(stderr)
	return t, err
}
