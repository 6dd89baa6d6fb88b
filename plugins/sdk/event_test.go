package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type valueKey struct{}

// However it is looked at, an event is a context like any other.
func TestEventIsAContext(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		how  func(e *event, cancelStream context.CancelFunc)
		want error
	}{
		"canceled":   {func(e *event, _ context.CancelFunc) { e.end() }, context.Canceled},
		"stream end": {func(_ *event, cancelStream context.CancelFunc) { cancelStream() }, context.Canceled},
		"deadline":   {func(*event, context.CancelFunc) { time.Sleep(2 * time.Second) }, context.DeadlineExceeded},
	} {
		for look, at := range map[string]func(context.Context) error{
			"Err": context.Context.Err,
			"Done": func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			},
			"Cause": context.Cause,
			"Value": func(ctx context.Context) error { _ = ctx.Value(0); return ctx.Err() },
			"child": func(ctx context.Context) error {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				<-child.Done()
				return child.Err()
			},
		} {
			for _, before := range []bool{false, true} {
				t.Run(name+" "+look, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						stream, cancel := context.WithCancel(context.WithValue(context.Background(), valueKey{}, "v"))
						defer cancel()
						e := &event{stream: stream, deadline: time.Now().Add(time.Second)}
						defer e.end()
						if e.Err() != nil || context.Cause(e) != nil || e.Value(valueKey{}) != "v" {
							t.Error("it has ended before it began")
						}
						if d, ok := e.Deadline(); !ok || time.Until(d) != time.Second {
							t.Errorf("deadline %v %v", d, ok)
						}
						if before {
							select {
							case <-e.Done():
								t.Error("done")
							default:
							}
							if e.Value(valueKey{}) != "v" {
								t.Error("the value is gone")
							}
						}
						end.how(e, cancel)
						if err := at(e); !errors.Is(err, end.want) {
							t.Errorf("%v, want %v", err, end.want)
						}
					})
				})
			}
		}
	}
}

// A method that ties something to its context costs no goroutine, and one that
// does not look at it no timer.
func TestEventIsCheap(t *testing.T) {
	t.Parallel()
	stream, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := &event{stream: stream, deadline: time.Now().Add(time.Minute)}
	if _, ok := e.Deadline(); !ok || e.Err() != nil || e.inner != nil {
		t.Error("a context was made for nothing")
	}
	child, cancelChild := context.WithCancel(e)
	defer cancelChild()
	e.end()
	// An AfterFunc would take a goroutine to get here.
	if child.Err() == nil {
		t.Error("the child does not end with it")
	}
}

func TestDeadlineOfAnyTimeout(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for us, want := range map[uint64]time.Duration{1: time.Microsecond, 5e6: 5 * time.Second, 1 << 63: 24 * time.Hour, 1<<64 - 1: 24 * time.Hour} {
		if got := deadline(now, us).Sub(now); got != want {
			t.Errorf("%d µs: %s, want %s", us, got, want)
		}
	}
}
