package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		hysteresis  bool
		bytes       int // of each event
		read, leave int // events read without waiting; answered until it goes on
	}{
		{"events", false, 1, 10, 1},
		{"bytes", false, 30, 4, 1},
		{"events, with hysteresis", true, 1, 10, 6},
		{"bytes, with hysteresis", true, 30, 4, 3},
		{"one that is too large", false, 1000, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWindow(10, 100)
				w.hysteresis = tt.hysteresis
				for range tt.read {
					if err := w.wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.enter(tt.bytes)
				}
				ctx, cancel := context.WithCancel(t.Context())
				waited := make(chan error, 2)
				go func() {
					waited <- w.wait(ctx)
					w.enter(1000)
					waited <- w.wait(ctx)
				}()
				for range tt.leave {
					synctest.Wait()
					if len(waited) > 0 {
						t.Fatal("it did not wait")
					}
					w.leave(1, tt.bytes)
				}
				if err := <-waited; err != nil {
					t.Error(err)
				}
				cancel()
				if err := <-waited; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if w.empty() {
					t.Error("it is empty")
				}
			})
		})
	}
}
