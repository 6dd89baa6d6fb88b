package server

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// The answer about a provider that hangs is with the broker before its
// grpc-timeout. A fake clock, so that a busy machine is not taken for a late
// answer.
func TestHangingProviderIsAnsweredForBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := &conn{
			decide: func(ctx context.Context, _ mux.Hook, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			notify: func(ctx context.Context, _ mux.Hook, _ []byte) error { <-ctx.Done(); return ctx.Err() },
		}
		l := bufconn.Listen(1 << 20)
		s := New(newMux(t, mux.Spec{Timeout: time.Minute, Delivery: mux.By(mux.Sync), Breaker: mux.BreakerSpec{Failures: 1000}}, hangs), Options{})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		cc, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range mux.Hooks() {
			for timeout, want := range map[time.Duration]time.Duration{5 * time.Second: 4750 * time.Millisecond, time.Second: 950 * time.Millisecond} {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				start := time.Now()
				answer, err := stub(ctx, cc, mux.V3, h, fill)
				cancel()
				if took := time.Since(start); err != nil || took != want {
					t.Errorf("%s, %s: after %s, %v", h, timeout, took, err)
				}
				if got, ok := answer.(*exhookv3.ValuedResponse); ok && got.Type != exhookv3.ValuedResponse_STOP_AND_RETURN {
					t.Errorf("%s: %v, want a refusal", h, got)
				}
			}
		}
		_ = cc.Close()
		s.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
