package mux

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

type connKey struct{}

// over is a call's context that has come over a connection.
func over(conn string) context.Context {
	return context.WithValue(context.Background(), connKey{}, conn)
}

func peerOf(ctx context.Context) string {
	conn, _ := ctx.Value(connKey{}).(string)
	return conn
}

const doubleNode = "emqx@one"

// twice is a Mux with one provider, that doubleNode has loaded a second time.
func twice(t *testing.T, conn *fake, spec Spec) *Mux {
	t.Helper()
	m := newMux(Options{Peer: peerOf}, newProvider(t, spec, conn, wants(Hooks()...)...))
	m.Load(t.Context(), V3, loadRequest(t, doubleNode, "5.10.3"))
	m.ExpectDoubles(time.Minute)
	t.Cleanup(func() { m.ExpectDoubles(0) })
	m.Load(t.Context(), V3, loadRequest(t, doubleNode, "5.10.3"))
	// What is told while the broker waits goes behind what waits already.
	eventually(t, "the provider has heard of the broker", func() bool { events, _ := m.Providers()[0].Waiting(); return events == 0 })
	return m
}

var doubleMeta = &exhookv3.RequestMeta{Node: doubleNode}

func authorizeRequest(client string, result bool) *exhookv3.ClientAuthorizeRequest {
	return &exhookv3.ClientAuthorizeRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: client}, Topic: "t", Result: result, Meta: doubleMeta}
}

// timesAsked is how often providers were asked about a hook.
func (f *fake) timesAsked(h Hook) (n int) {
	for _, c := range f.calls() {
		if c.hook == h {
			n++
		}
	}
	return n
}

func TestDoublesOfAccess(t *testing.T) {
	t.Parallel()
	allow, deny, stop := boolResponse(typeContinue, true), boolResponse(typeContinue, false), boolResponse(typeStop, false)
	for _, c := range []struct {
		name   string
		answer []byte
		// The second call: what it carries, and how it comes.
		result bool
		conn   string
		asked  int
		want   []byte // the second answer
	}{
		{name: "no opinion", answer: ignoreResponse, conn: "new", asked: 1, want: ignoreResponse},
		{name: "allowed", answer: allow, result: true, conn: "new", asked: 1, want: allow},
		{name: "denied", answer: deny, conn: "new", asked: 1, want: deny},
		{name: "denied for good, so that nobody is asked behind", answer: stop, conn: "new", asked: 2, want: stop},
		{name: "over the same connection", answer: allow, result: true, conn: "old", asked: 2, want: allow},
		{name: "another value came between", answer: allow, result: false, conn: "new", asked: 2, want: allow},
		{name: "over no connection", answer: allow, result: true, asked: 2, want: allow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := says(c.answer)
			m := twice(t, p, Spec{})
			ask := func(conn string, result bool) []byte {
				return m.Dispatch(over(conn), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("c", result))))
			}
			if got := ask("old", false); !bytes.Equal(got, c.answer) {
				t.Errorf("first % x", got)
			}
			if got := ask(c.conn, c.result); !bytes.Equal(got, c.want) || p.timesAsked(ClientAuthorize) != c.asked {
				t.Errorf("second % x, asked %d times; want % x, %d", got, p.timesAsked(ClientAuthorize), c.want, c.asked)
			}
		})
	}
}

// Events of one client that are the same are as many as there were.
func TestDoublesOfEqualEvents(t *testing.T) {
	t.Parallel()
	p := new(fake)
	m := twice(t, p, Spec{Delivery: By(Sync)})
	body := marshal(t, &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c"}, Meta: doubleMeta})
	for range 3 {
		for _, conn := range []string{"old", "new"} {
			if got := m.Dispatch(over(conn), NewEvent(ClientConnected, body)); len(got) != 0 {
				t.Errorf("answer % x", got)
			}
		}
	}
	if n := p.timesAsked(ClientConnected); n != 3 {
		t.Errorf("told %d times, want 3", n)
	}
	// Two processes of the broker at the same time.
	for _, conn := range []string{"old", "old", "new", "new"} {
		m.Dispatch(over(conn), NewEvent(ClientConnected, body))
	}
	if n := p.timesAsked(ClientConnected); n != 5 {
		t.Errorf("told %d times, want 5", n)
	}
	if d := m.Doubles(); d.Recognised != 5 || !slices.Equal(d.Nodes, []string{doubleNode}) || d.Until.IsZero() {
		t.Errorf("%+v", d)
	}
	if left := len(m.doubles.Load().first); left != 0 {
		t.Errorf("%d are left", left)
	}
}

func TestDoublesOfMessages(t *testing.T) {
	t.Parallel()
	p := &fake{decide: func(_ context.Context, h Hook, req []byte) ([]byte, error) {
		msg := unmarshal[exhookv3.MessagePublishRequest](t, req).Message
		msg.Topic, msg.Payload = "moved", []byte("other")
		b, err := proto.Marshal(msg)
		return messageResponse(typeContinue, b), err
	}}
	m := twice(t, p, Spec{})
	publish := func(conn, id, topic, payload string) []byte {
		return m.Dispatch(over(conn), NewEvent(MessagePublish, marshal(t, &exhookv3.MessagePublishRequest{
			Message: &exhookv3.Message{Id: id, Node: doubleNode, From: "c", Topic: topic, Payload: []byte(payload), Headers: map[string]string{"username": "u", "allow_publish": "true"}}, Meta: doubleMeta,
		})))
	}
	if got := publish("old", "1", "t", "x"); bytes.Equal(got, ignoreResponse) {
		t.Error("not rewritten")
	}
	if got := publish("new", "1", "moved", "other"); !bytes.Equal(got, ignoreResponse) || p.timesAsked(MessagePublish) != 1 {
		t.Errorf("answer % x, asked %d times", got, p.timesAsked(MessagePublish))
	}
	publish("old", "2", "t", "x")
	for _, not := range [][3]string{{"3", "moved", "other"}, {"2", "t", "x"}, {"2", "moved", "changed by another server"}} {
		before := p.timesAsked(MessagePublish)
		if publish("new", not[0], not[1], not[2]); p.timesAsked(MessagePublish) != before+1 {
			t.Errorf("%v is taken for a second call", not)
		}
	}
}

// A drop is final for EMQX only with STOP; else the second call carries it.
func TestDoublesOfDroppedMessages(t *testing.T) {
	t.Parallel()
	p := &fake{decide: func(_ context.Context, h Hook, req []byte) ([]byte, error) {
		ev := NewEvent(h, req)
		return messageResponse(typeContinue, refuse(ev.msg)), nil
	}}
	m := twice(t, p, Spec{})
	for conn, headers := range map[string]map[string]string{"new": {"allow_publish": "false"}, "other": nil} {
		before := p.timesAsked(MessagePublish)
		msg := &exhookv3.Message{Id: conn, Topic: "t"}
		req := &exhookv3.MessagePublishRequest{Message: msg, Meta: doubleMeta}
		m.Dispatch(over("old"), NewEvent(MessagePublish, marshal(t, req)))
		msg.Headers = headers
		m.Dispatch(over(conn), NewEvent(MessagePublish, marshal(t, req)))
		if n, want := p.timesAsked(MessagePublish)-before, 1+map[string]int{"new": 0, "other": 1}[conn]; n != want {
			t.Errorf("%s: asked %d times, want %d", conn, n, want)
		}
	}
}

// Where it is not known that events come twice, none is taken for a second.
func TestNoDoubles(t *testing.T) {
	t.Parallel()
	pair := func(m *Mux, p *fake) int {
		before := p.timesAsked(ClientAuthorize)
		for _, conn := range []string{"old", "new"} {
			m.Dispatch(over(conn), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("c", false))))
		}
		return p.timesAsked(ClientAuthorize) - before
	}
	p := new(fake)
	m := newMux(Options{Peer: peerOf}, newProvider(t, Spec{}, p, wants(Hooks()...)...))
	load(t, m, V3, doubleNode, "5.10.3")
	load(t, m, V3, doubleNode, "5.10.3") // as after a reconnect
	if n := pair(m, p); n != 2 {
		t.Errorf("without an announcement: asked %d times", n)
	}
	m.ExpectDoubles(time.Hour)
	if n := pair(m, p); n != 2 {
		t.Errorf("before the broker has loaded again: asked %d times", n)
	}
	load(t, m, V3, "emqx@other", "5.10.3")
	if n := pair(m, p); n != 2 {
		t.Errorf("another broker has: asked %d times", n)
	}
	load(t, m, V3, doubleNode, "5.10.3")
	if n := pair(m, p); n != 1 {
		t.Errorf("it has: asked %d times", n)
	}
	// A first call that is left over when the first name goes.
	m.Dispatch(over("old"), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("left", false))))
	m.Unload(t.Context(), unloadRequest(t, doubleNode))
	before := p.timesAsked(ClientAuthorize)
	m.Dispatch(over("new"), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("left", false))))
	if p.timesAsked(ClientAuthorize) != before+1 {
		t.Error("what was left over is taken for a first call")
	}
	if n := pair(m, p); n != 2 {
		t.Errorf("after the first name has gone: asked %d times", n)
	}
	if n := len(m.Registrations()); n != 2 {
		t.Errorf("%d brokers are loaded, want 2", n)
	}
	if d := m.ExpectDoubles(0); d.Recognised != 1 || !d.Until.IsZero() {
		t.Errorf("%+v", d)
	}
	if m.doubles.Load() != nil {
		t.Error("it is not over")
	}
	m.Unload(t.Context(), unloadRequest(t, doubleNode))
	if n := len(m.Registrations()); n != 1 {
		t.Errorf("%d brokers are loaded, want 1", n)
	}
	if m := newMux(Options{}); !m.ExpectDoubles(time.Hour).Until.IsZero() {
		t.Error("a Mux that cannot tell connections apart recognises second calls")
	}
}

// A second call before the first is answered is asked about: EMQX gave the first up.
func TestDoubleBeforeTheFirstIsAnswered(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 2), make(chan struct{})
	p := &fake{decide: func(context.Context, Hook, []byte) ([]byte, error) {
		asked <- struct{}{}
		<-release
		return ignoreResponse, nil
	}}
	m := twice(t, p, Spec{Timeout: time.Minute})
	var calls sync.WaitGroup
	for _, conn := range []string{"old", "new"} {
		calls.Go(func() {
			m.Dispatch(over(conn), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("c", false))))
		})
		<-asked
	}
	close(release)
	calls.Wait()
}

// Time passes: what was first is forgotten, and the whole is over by itself.
func TestDoublesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := new(fake)
		m := twice(t, p, Spec{})
		ask := func(conn, client string) {
			m.Dispatch(over(conn), NewEvent(ClientAuthorize, marshal(t, authorizeRequest(client, false))))
		}
		ask("old", "late")
		time.Sleep(doubleWithin)
		ask("new", "late")
		if n := p.timesAsked(ClientAuthorize); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
		time.Sleep(doubleWithin)
		ask("old", "other")
		if d := m.doubles.Load(); d.calls != 1 || len(d.first) != 1 {
			t.Errorf("%d first calls are kept", d.calls)
		}
		m.ExpectDoubles(30 * time.Second)
		time.Sleep(29 * time.Second)
		if m.Doubles().Until.IsZero() {
			t.Error("over too early")
		}
		time.Sleep(2 * time.Second)
		if m.doubles.Load() != nil || !m.Doubles().Until.IsZero() {
			t.Error("it is not over")
		}
		// The broker still has both names: the first that goes is not forgotten.
		m.Unload(t.Context(), unloadRequest(t, doubleNode))
		if len(m.Registrations()) != 1 {
			t.Error("its registration is forgotten")
		}
	})
}

// A hookmux that was not there when the first name was loaded learns of the second alone.
func TestDoublesOfABrokerThatWasNotSeen(t *testing.T) {
	t.Parallel()
	p := new(fake)
	m := newMux(Options{Peer: peerOf}, newProvider(t, Spec{}, p, wants(Hooks()...)...))
	m.ExpectDoubles(time.Hour)
	load(t, m, V3, doubleNode, "5.8.8")
	for _, conn := range []string{"old", "new"} {
		m.Dispatch(over(conn), NewEvent(ClientAuthorize, marshal(t, authorizeRequest("c", false))))
	}
	if n := p.timesAsked(ClientAuthorize); n != 1 {
		t.Errorf("asked %d times", n)
	}
	m.Unload(t.Context(), unloadRequest(t, doubleNode))
	if len(m.Registrations()) != 1 {
		t.Error("its registration is forgotten")
	}
}
