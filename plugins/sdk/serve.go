package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes of Serve.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// How long stopping may take. go-plugin's host kills a plugin 2 s after it
// has asked for the end, which is answered after the drain; standalone there is
// no such hurry.
const (
	hostedDrain     = time.Second
	lastAnswers     = 250 * time.Millisecond
	hostedStop      = 1500 * time.Millisecond
	standaloneDrain = 5 * time.Second
	standaloneStop  = 5 * time.Second
)

// Serve runs a plugin until it is told to stop, and then ends the process; it
// does not return. plugin is a pointer to a struct with at least one method of
// the hook interfaces (ClientAuthenticateHook and so on).
//
// Under hookmux it serves hookmux. With --standalone ADDRESS it serves EMQX
// directly; otherwise it explains itself on stderr. Exit status: 0 after
// having been told to stop (by hookmux, by SIGTERM, or by the end of the
// parent process), 1 if the plugin is wrong, Start or Stop fails or the address
// cannot be used, 2 if it was started in a wrong way.
func Serve(plugin any) {
	leaveStdout()
	os.Exit(run(plugin))
}

func run(plugin any) int {
	hosted := underHookmux()
	var f flags
	if hosted {
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	} else {
		slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	h, err := newHandler(plugin)
	if err != nil {
		return fail(exitFailed, err)
	}
	if !hosted {
		f, err = parseFlags(os.Args[1:])
		switch {
		case err != nil:
			fmt.Fprintf(os.Stderr, "%s: %s\n\n%s", pluginName(), err, usage(h))
			return exitUsage
		case f.standalone == "":
			fmt.Fprint(os.Stderr, usage(h))
			if f.help {
				return exitOK
			}
			return exitUsage
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cancelOnSignal(ctx, cancel, hosted)
	if p, ok := plugin.(Starter); ok {
		err := start(ctx, p)
		if ctx.Err() != nil {
			return exitOK // told to stop before it had begun
		}
		if err != nil {
			return fail(exitFailed, fmt.Errorf("Start: %w", err)) //nolint:staticcheck // the method's name
		}
	}
	stopWithin := hostedStop
	if hosted {
		err = serveHosted(ctx, cancel, h)
	} else {
		stopWithin = standaloneStop
		err = serveStandalone(ctx, f.standalone, h)
	}
	cancel() // what Start left running learns of the end
	h.batches.close()
	if p, ok := plugin.(Stopper); ok {
		if stopErr := stop(p, stopWithin); stopErr != nil && err == nil {
			err = fmt.Errorf("Stop: %w", stopErr) //nolint:staticcheck // the method's name
		}
	}
	if err != nil {
		return fail(exitFailed, err)
	}
	return exitOK
}

// cancelOnSignal calls cancel at the first signal to stop. Standalone, a second
// one ends the process the hard way. Under hookmux it must not: hookmux may
// send SIGTERM while Stop still runs.
func cancelOnSignal(ctx context.Context, cancel context.CancelFunc, hosted bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	if !hosted {
		signal.Notify(signals, os.Interrupt)
	}
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
		if !hosted {
			signal.Stop(signals)
		}
	}()
}

func fail(code int, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", pluginName(), err)
	return code
}

// start makes a panic of Start look like its error: there is nothing to save
// of the process, but the reason should be one line and not a stack.
func start(ctx context.Context, p Starter) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			slog.Error("panic in Start", "panic", short(fmt.Sprint(v)), "stack", stack())
		}
	}()
	return p.Start(ctx)
}

// stop gives Stop its time and no more: a hung plugin must not be what keeps a
// reload from ending.
func stop(p Stopper, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				slog.Error("panic in Stop", "panic", short(fmt.Sprint(v)), "stack", stack())
				done <- fmt.Errorf("panic: %v", v)
			}
		}()
		done <- p.Stop(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("not done after %s", within)
	}
}
