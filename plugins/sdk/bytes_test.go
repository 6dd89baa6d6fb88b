package sdk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
	"github.com/hookmux/hookmux/proto/batch"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
	pluginv1 "github.com/hookmux/hookmux/proto/hookmux/plugin/v1"
)

// sealing checks that each message is whole, answers with the checksum of its
// payload behind it, and now and then takes as long as makes others take over.
type sealing struct {
	t    *testing.T
	mu   sync.Mutex
	next map[string]uint64 // of each client
}

func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

func (p *sealing) check(m *sdk.Message) {
	n := len(m.Payload) - sha256.Size
	if n < 0 || !bytes.Equal(seal(m.Payload[:n]), m.Payload) {
		p.t.Errorf("message %s of %s arrived torn, %d bytes", m.Id, m.From, len(m.Payload))
	}
}

func (p *sealing) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	p.check(r.Message)
	switch r.Message.Payload[0] {
	case 0:
		time.Sleep(2 * time.Millisecond) // a slow method
	case 1, 2, 3: // one that ends when its time does
		for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
		}
	}
	r.Message.Payload = seal(r.Message.Payload)
	return sdk.Rewrite(r.Message), nil
}

func (p *sealing) OnMessageDelivered(_ context.Context, r *sdk.MessageDeliveredRequest) error {
	p.check(r.Message)
	p.mu.Lock()
	defer p.mu.Unlock()
	client := r.Clientinfo.Clientid
	if r.Message.Timestamp != p.next[client] {
		p.t.Errorf("%s: got message %d, want %d", client, r.Message.Timestamp, p.next[client])
	}
	p.next[client] = r.Message.Timestamp + 1
	return nil
}

// Every request and every answer arrives as it was and where it belongs, and
// every event has its reply, while the reader changes all the time.
func TestStreamBytesUnderLoad(t *testing.T) {
	t.Parallel()
	p := &sealing{t: t, next: make(map[string]uint64)}
	s := openStreams(t, serveInProcess(t, p))
	s.decide.batching(t)
	s.notify.batching(t)
	const callers, each = 32, 100
	replies := make(chan batch.Reply, callers*each)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			client := fmt.Sprint("client-", i)
			for n := range each {
				size := 1 + r.IntN(300)
				if r.IntN(8) == 0 {
					size = 1 + r.IntN(40<<10)
				}
				payload := make([]byte, size)
				for i := range payload {
					payload[i] = byte(r.Uint32())
				}
				payload = seal(payload)
				m := &sdk.Message{Id: fmt.Sprint(n), From: client, Topic: "t", Payload: payload, Timestamp: uint64(n)}
				req, _ := proto.Marshal(&sdk.MessageDeliveredRequest{Clientinfo: &sdk.ClientInfo{Clientid: client}, Message: m})
				e := batch.Event{ID: s.notify.expect(replies), Hook: uint64(pluginv1.Hook_HOOK_MESSAGE_DELIVERED), Key: []byte(client), Request: req}
				if err := s.notify.post(&e); err != nil {
					t.Error(err)
				}
				req, _ = proto.Marshal(&sdk.MessagePublishRequest{Message: m})
				answer, err := s.decide.call(t.Context(), pluginv1.Hook_HOOK_MESSAGE_PUBLISH, nil, req)
				if err != nil {
					t.Error(err)
					return
				}
				var got exhookv3.ValuedResponse
				if err := proto.Unmarshal(answer, &got); err != nil || !bytes.Equal(got.GetMessage().GetPayload(), seal(payload)) {
					t.Errorf("%s: the answer to message %d is torn, or another's: %v", client, n, err)
				}
			}
		})
	}
	all.Wait()
	for range callers * each {
		if r := <-replies; r.Error != "" {
			t.Error(r.Error)
		}
	}
}
