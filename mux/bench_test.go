package mux

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func benchPublish(b *testing.B) []byte {
	return marshal(b, &exhookv3.MessagePublishRequest{
		Message: &exhookv3.Message{
			Node: "emqx@127.0.0.1", Id: "00061F0E0B6C1A2B", Qos: 1, From: "client-4711", Topic: "plant/7/line/3/temperature", Payload: make([]byte, 200), Timestamp: 1 << 40,
			Headers: map[string]string{"username": "u", "protocol": "mqtt", "peerhost": "10.0.0.1"},
		},
		Meta: &exhookv3.RequestMeta{Node: "emqx@127.0.0.1", Version: "5.10.3", Sysdescr: "EMQX", ClusterName: "emqxcl"},
	})
}

func BenchmarkNewEvent(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for h, body := range map[Hook][]byte{
		MessagePublish: benchPublish(b), MessageDelivered: marshal(b, randomRequest(r, V3, MessageDelivered)), ClientAuthenticate: marshal(b, randomRequest(r, V3, ClientAuthenticate)),
	} {
		b.Run(h.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewEvent(h, body)
			}
		})
	}
}

func benchMux(b *testing.B, providers int, h Hook, answer []byte) *Mux {
	var ps []*Provider
	for n := range providers {
		ps = append(ps, newProvider(b, Spec{Name: fmt.Sprint(n)}, &fakeFunc{func() []byte { return answer }}, wants(h)...))
	}
	return newMux(Options{}, ps...)
}

func BenchmarkDispatchNotification(b *testing.B) {
	for _, providers := range []int{1, 4} {
		b.Run(fmt.Sprintf("providers=%d", providers), func(b *testing.B) {
			m := benchMux(b, providers, ClientDisconnected, nil)
			ev := event(b, "client-4711", 1)
			b.ReportAllocs()
			for b.Loop() {
				m.Dispatch(context.Background(), ev)
			}
		})
	}
}

func BenchmarkDispatchDecision(b *testing.B) {
	changed := messageAnswer(cont, &exhookv3.Message{Topic: "elsewhere", Payload: []byte("p")})
	for _, tt := range []struct {
		name   string
		hook   Hook
		body   []byte
		answer []byte
	}{
		{"authenticate", ClientAuthenticate, marshal(b, authenticate("c", false)), boolAnswer(cont, true)},
		{"publish ignored", MessagePublish, benchPublish(b), ignoreResponse},
		{"publish changed", MessagePublish, benchPublish(b), changed},
	} {
		for _, providers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/providers=%d", tt.name, providers), func(b *testing.B) {
				m := benchMux(b, providers, tt.hook, tt.answer)
				ev := NewEvent(tt.hook, tt.body)
				b.ReportAllocs()
				for b.Loop() {
					m.Dispatch(context.Background(), ev)
				}
			})
		}
	}
}

// replier is a Streamer that replies when told to.
type replier struct {
	fake
	handle func(id uint64, err error)
	posted []uint64
}

func (r *replier) Replies(handled func(id uint64, err error)) { r.handle = handled }

func (r *replier) Post(id uint64, _ Hook, _, _ []byte, _ string, _ time.Duration) error {
	r.posted = append(r.posted, id)
	return nil
}

func (r *replier) Cancel(uint64) {}

// A notification's whole way through the lane and the outbox, up to its reply.
func BenchmarkOutbox(b *testing.B) {
	conn := new(replier)
	p := newProvider(b, Spec{}, conn, wants(ClientDisconnected)...)
	ev := event(b, "client-4711", 1)
	b.ReportAllocs()
	for b.Loop() {
		p.lane.push(context.Background(), &ev)
		for _, id := range conn.posted {
			conn.handle(id, nil)
		}
		conn.posted = conn.posted[:0]
	}
}

// The cost of one lookup hardly grows with the number of filters.
func BenchmarkTopicMatches(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		var filters []string
		for i := range n {
			filters = append(filters, fmt.Sprintf("plant/%d/+/%d/#", i%100, i))
		}
		tree := newTopicTree(filters)
		for name, topic := range map[string]string{
			"hit":  fmt.Sprintf("plant/%d/line/%d/temperature", (n-1)%100, n-1),
			"miss": "plant/7/line/none/temperature",
		} {
			b.Run(fmt.Sprintf("%d filters/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					tree.matches([]byte(topic))
				}
			})
		}
	}
}
