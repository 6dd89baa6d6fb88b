package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// sealed is n random bytes behind their checksum; an n of 0 is an empty request.
func sealed(r *rand.Rand, n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, sha256.Size+n)
	for i := sha256.Size; i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
	sum := sha256.Sum256(b[sha256.Size:])
	copy(b, sum[:])
	return b
}

func intact(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if len(b) < sha256.Size {
		return false
	}
	sum := sha256.Sum256(b[sha256.Size:])
	return bytes.Equal(sum[:], b[:sha256.Size])
}

// mirrored turns the bytes around, so that an answer is no copy of its request by chance.
func mirrored(b []byte) []byte {
	m := make([]byte, len(b))
	for i := range b {
		m[len(b)-1-i] = b[i]
	}
	return m
}

// Every request and every answer arrives as it was and where it belongs, while the
// memory of batches goes round, some callers give up, and all is in a hurry.
func TestBytesStayWhatTheyAreUnderLoad(t *testing.T) {
	t.Parallel()
	var delivered sync.Map // id of each notification that arrived
	torn := func(e *pluginv1.Event) {
		if !intact(e.GetRequest()) {
			t.Errorf("event %d arrived torn, %d bytes", e.GetId(), len(e.GetRequest()))
		}
	}
	c := dial(t, &byHand{
		decide: func(s serverStream) error {
			for {
				events, err := s.Recv()
				if err != nil {
					return err
				}
				var r pluginv1.Replies
				for _, e := range events.GetEvents() {
					torn(e)
					r.Replies = append(r.Replies, &pluginv1.Reply{Id: e.GetId(), Answer: mirrored(e.GetRequest())})
				}
				if err := s.Send(&r); err != nil {
					return err
				}
			}
		},
		notify: func(s serverStream) error {
			for {
				events, err := s.Recv()
				if err != nil {
					return err
				}
				var r pluginv1.Replies
				for _, e := range events.GetEvents() {
					torn(e)
					if _, twice := delivered.LoadOrStore(e.GetId(), string(e.GetKey())); twice {
						t.Errorf("event %d arrived twice", e.GetId())
					}
					r.Done = append(r.Done, e.GetId())
				}
				if err := s.Send(&r); err != nil {
					return err
				}
			}
		},
	})
	const callers, each = 32, 60
	replied := make(chan error, callers*each)
	c.Replies(func(_ uint64, err error) { replied <- err })
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			client := []byte(fmt.Sprint("client-", i))
			for n := range each {
				// Half of them small, the others around all the bounds there are.
				size := r.IntN(300)
				if r.IntN(2) == 0 {
					size = r.IntN(2 * keptApart)
				}
				req := sealed(r, size)
				if err := c.Post(uint64(i*each+n+1), mux.MessageDelivered, client, req, "", time.Minute); err != nil {
					t.Errorf("post: %v", err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(10) == 0 {
					go cancel()
				}
				answer, err := c.Decide(ctx, mux.MessagePublish, req)
				canceled := ctx.Err() != nil
				cancel()
				if err == nil && !bytes.Equal(answer, mirrored(req)) {
					t.Errorf("%d bytes came back as %d others", len(req), len(answer))
				}
				if err != nil && !canceled {
					t.Errorf("decide: %v", err)
				}
			}
		})
	}
	all.Wait()
	for n := range callers * each {
		select {
		case err := <-replied:
			if err != nil {
				t.Errorf("a notification: %v", err)
			}
		case <-c.broken:
			t.Fatalf("the streams broke: %v", c.brokeBy)
		case <-time.After(30 * time.Second):
			t.Fatalf("no reply to the last %d notifications", callers*each-n)
		}
	}
	for id := range callers * each {
		if key, _ := delivered.Load(uint64(id + 1)); key != fmt.Sprint("client-", id/each) {
			t.Errorf("event %d came with the key %v", id+1, key)
		}
	}
}
