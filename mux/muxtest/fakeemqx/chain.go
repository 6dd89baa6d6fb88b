package fakeemqx

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// Authorize asks all servers on a node, as EMQX does for one client, who may do it in the
// end; ok is false when nobody had an opinion.
func (e *EMQX) Authorize(node, client, topic string) (allowed, ok bool) {
	req := &exhookv3.ClientAuthorizeRequest{
		Clientinfo: &exhookv3.ClientInfo{Node: node, Clientid: client, Username: "u-" + client}, Topic: topic, Meta: &exhookv3.RequestMeta{Node: node},
	}
	for _, l := range e.chain(node) {
		if _, hooked := l.hooks["client.authorize"]; !hooked {
			return false, true // failed_action = deny
		}
		var answer exhookv3.ValuedResponse
		if err := proto.Unmarshal(l.broker.Event(e.t, mux.ClientAuthorize, client, req), &answer); err != nil {
			e.t.Error(err)
		}
		switch answer.Type {
		case exhookv3.ValuedResponse_IGNORE:
		case exhookv3.ValuedResponse_STOP_AND_RETURN:
			return answer.GetBoolResult(), true
		default:
			req.Result, ok = answer.GetBoolResult(), true
		}
	}
	return req.Result, ok
}

// Publish sends a message through all servers on a node, and says what becomes of it.
func (e *EMQX) Publish(node, client, id, topic, payload string) (msg *exhookv3.Message, published bool) {
	msg = &exhookv3.Message{Node: node, Id: id, From: client, Topic: topic, Payload: []byte(payload), Qos: 1, Headers: map[string]string{"username": "u-" + client, "allow_publish": "true"}}
	for _, l := range e.chain(node) {
		if _, hooked := l.hooks["message.publish"]; !hooked {
			break // a failure, which protects nothing
		}
		var answer exhookv3.ValuedResponse
		if err := proto.Unmarshal(l.broker.Event(e.t, mux.MessagePublish, client, &exhookv3.MessagePublishRequest{Message: msg, Meta: &exhookv3.RequestMeta{Node: node}}), &answer); err != nil {
			e.t.Error(err)
		}
		if m := answer.GetMessage(); answer.Type != exhookv3.ValuedResponse_IGNORE && m != nil {
			msg.Topic, msg.Payload, msg.Qos, msg.Headers["allow_publish"] = m.Topic, m.Payload, m.Qos, m.Headers["allow_publish"]
		}
		if answer.Type == exhookv3.ValuedResponse_STOP_AND_RETURN {
			break
		}
	}
	return msg, msg.Headers["allow_publish"] != "false"
}

// Connected tells all servers on a node that a client connected.
func (e *EMQX) Connected(node, client string) {
	for _, l := range e.chain(node) {
		if _, hooked := l.hooks["client.connected"]; hooked {
			l.broker.Event(e.t, mux.ClientConnected, client, &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Node: node, Clientid: client}, Meta: &exhookv3.RequestMeta{Node: node}})
		}
	}
}

// chain is who is called on a node now. Who has begun calls all of them.
func (e *EMQX) chain(node string) (chain []*loaded) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.servers {
		if l := s.nodes[node]; l != nil {
			chain = append(chain, l)
		}
	}
	return chain
}

// Hooks are what a node sends a server; nil: it is not loaded there.
func (e *EMQX) Hooks(name, node string) (hooks []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if s := e.find(name); s != nil && s.nodes[node] != nil {
		for h := range s.nodes[node].hooks {
			hooks = append(hooks, h)
		}
		slices.Sort(hooks)
	}
	return hooks
}
