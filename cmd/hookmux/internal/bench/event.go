package bench

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// template is an encoded request in which only the client id is still to be
// filled in, so that making one costs the load generator next to nothing.
type template struct {
	hook   mux.Hook
	method string
	body   []byte
	at     int // where the client id is
}

// noClient stands in a template where the client id goes; ids have its length.
const noClient = "c-------"

func newTemplate(h mux.Hook, payload int) (*template, error) {
	req := request(h, payload)
	if req == nil {
		return nil, fmt.Errorf("no request is known for %s", h)
	}
	body, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	if bytes.Count(body, []byte(noClient)) != 1 {
		return nil, fmt.Errorf("the request of %s does not name its client once", h)
	}
	return &template{hook: h, method: mux.V3.FullMethod(h), body: body, at: bytes.Index(body, []byte(noClient))}, nil
}

// setClient writes client n into body, a copy of the template's.
func (t *template) setClient(body []byte, n uint64) {
	id := body[t.at : t.at+len(noClient)]
	for i := len(id) - 1; i > 0; i-- {
		id[i] = '0' + byte(n%10)
		n /= 10
	}
}

// connection is which of a pool's connections the client's events take; as in
// EMQX it is a hash of the client id.
func (t *template) connection(body []byte, pool int) int {
	h := uint32(2166136261) // FNV-1a
	for _, b := range body[t.at : t.at+len(noClient)] {
		h = (h ^ uint32(b)) * 16777619
	}
	return int(h % uint32(pool))
}

// The hooks that are measured, the built-in plugin's first. Of a user's plugin
// it is the first that it answers.
var (
	notifications = []mux.Hook{mux.MessageDelivered, mux.ClientConnected, mux.ClientDisconnected, mux.SessionCreated, mux.MessageAcked, mux.MessageDropped}
	decisions     = []mux.Hook{mux.MessagePublish, mux.ClientAuthorize, mux.ClientAuthenticate}
)

// request is what EMQX sends, with a message of so many bytes where there is one.
func request(h mux.Hook, payload int) proto.Message {
	meta := &exhookv3.RequestMeta{Node: "emqx@127.0.0.1", Version: "5.10.3", Sysdescr: "EMQX", ClusterName: "emqxcl"}
	client := &exhookv3.ClientInfo{
		Node: meta.Node, Clientid: noClient, Username: "bench", Peerhost: "127.0.0.1", Sockport: 1883, Protocol: "mqtt", Peerport: 40000,
	}
	message := func(from string) *exhookv3.Message {
		return &exhookv3.Message{
			Node: meta.Node, Id: "00061F0E0B6C1A2BF444000004D20000", Qos: 1, From: from, Topic: "plant/7/line/3/temperature",
			Payload: payloadOf(payload), Timestamp: 1_750_000_000_000,
			Headers: map[string]string{"username": "bench", "protocol": "mqtt", "peerhost": "127.0.0.1", "allow_publish": "true"},
		}
	}
	switch h {
	case mux.MessagePublish:
		return &exhookv3.MessagePublishRequest{Message: message(noClient), Meta: meta}
	case mux.MessageDelivered:
		return &exhookv3.MessageDeliveredRequest{Clientinfo: client, Message: message("publisher"), Meta: meta}
	case mux.MessageAcked:
		return &exhookv3.MessageAckedRequest{Clientinfo: client, Message: message("publisher"), Meta: meta}
	case mux.MessageDropped:
		return &exhookv3.MessageDroppedRequest{Message: message(noClient), Reason: "no_subscribers", Meta: meta}
	case mux.ClientConnected:
		return &exhookv3.ClientConnectedRequest{Clientinfo: client, Meta: meta}
	case mux.ClientDisconnected:
		return &exhookv3.ClientDisconnectedRequest{Clientinfo: client, Reason: "normal", Meta: meta}
	case mux.SessionCreated:
		return &exhookv3.SessionCreatedRequest{Clientinfo: client, Meta: meta}
	case mux.ClientAuthenticate:
		client.Password = "secret"
		return &exhookv3.ClientAuthenticateRequest{Clientinfo: client, Result: true, Meta: meta}
	case mux.ClientAuthorize:
		return &exhookv3.ClientAuthorizeRequest{Clientinfo: client, Topic: "plant/7/line/3/temperature", Result: true, Meta: meta}
	}
	return nil
}

func payloadOf(n int) []byte {
	p := marker + "0" + strings.Repeat("x", max(0, n-len(marker)-1))
	return []byte(p[:n])
}

// rewrites is how many plugins have rewritten the message in an answer to
// message.publish, -1 when it holds none of ours.
func rewrites(answer []byte) int {
	i := bytes.Index(answer, []byte(marker))
	if i < 0 || i+len(marker) >= len(answer) {
		return -1
	}
	return int(answer[i+len(marker)]) - '0'
}
