package spool_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/spool"
)

func TestQuick(t *testing.T) {
	s, err := spool.Open(spool.Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	q := s.Queue("p")
	start := time.Now()
	n := 20000
	sem := make(chan struct{}, 256)
	for i := range n {
		sem <- struct{}{}
		go func() {
			defer func() { <-sem }()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := q.Store(ctx, &mux.Stored{Hook: mux.MessageDelivered, Body: fmt.Appendf(nil, "%d %0200d", i, 7)}); err != nil {
				t.Error(err)
			}
		}()
	}
	for range cap(sem) {
		sem <- struct{}{}
	}
	t.Log("stored", float64(n)/time.Since(start).Seconds())
	start = time.Now()
	for range n {
		e, err := q.Next()
		if err != nil {
			t.Fatal(err)
		}
		q.Done(e.Seq)
	}
	t.Log("read", float64(n)/time.Since(start).Seconds())
	q.Close()
	s.Close()
}
