package devbroker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// differences lists what a devbroker cannot do as EMQX does, by release ("" is
// every one) and group of calls; the whole group is then compared as edit says.
// It is empty: keep it so.
var differences = []struct {
	release, group, reason string
	edit                   func(recorded []string) []string
}{}

// TestRecordings drives the recordings' clients at a devbroker and compares the
// calls: per client the same RPCs in the same order, with the same fields filled
// and, but for ids, times and ports, the same values.
func TestRecordings(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"5.0.26", "5.8.8", "5.10.3"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			recorded := loadRecording(t, release)
			p := startProvider(t, allHooks(t, release), asRecorder)
			b := startBroker(t, Config{
				ExHook: p.addr, Release: release, AuthzCache: -1,
				Node: recorded[0].req.(*exhookv3.ProviderLoadedRequest).Meta.Node,
			})
			playRecordedClients(t, b, p, recordedPayload(t, recorded, "t/big"))
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}

			want, got := grouped(t, recorded), grouped(t, p.snapshot())
			for group := range got {
				if _, ok := want[group]; !ok {
					t.Errorf("%s: calls of a group that was not recorded:\n%s", group, strings.Join(got[group], "\n"))
				}
			}
			for group, lines := range want {
				for _, d := range differences {
					if d.group == group && (d.release == "" || d.release == release) {
						lines = d.edit(lines)
					}
				}
				compareLines(t, group, lines, got[group])
			}
			for _, c := range p.snapshot() {
				if want := "emqx.exhook." + b.dialect.version + ".HookProvider"; c.service != want {
					t.Errorf("%s went to %s, want %s", c.rpc, c.service, want)
				}
				if c.left <= 0 || c.left > 5*time.Second {
					t.Errorf("%s had a deadline %s away, want 5s", c.rpc, c.left)
				}
				if ct := c.meta.Get("content-type"); len(ct) != 1 || ct[0] != "application/grpc+proto" {
					t.Errorf("content-type %q, want EMQX's", ct)
				}
			}
		})
	}
}

func compareLines(t *testing.T, group string, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	for i := range max(len(want), len(got)) {
		w, g := "(nothing)", "(nothing)"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Errorf("%s, call %d:\nEMQX      %s\ndevbroker %s", group, i+1, w, g)
			return
		}
	}
}

// recorded line of a .jsonl file; see the README beside the original recordings.
type recordedLine struct {
	Method  string `json:"method"`
	Request []byte `json:"request"`
}

func loadRecording(t *testing.T, release string) []call {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "muxtest", "testdata", "emqx-recordings", release+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l recordedLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		c := call{rpc: l.Method[strings.LastIndexByte(l.Method, '/')+1:]}
		if c.req = decodeV3(c.rpc, l.Request); c.req == nil {
			t.Fatalf("%s does not decode", l.Method)
		}
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

func recordedPayload(t *testing.T, calls []call, topic string) string {
	t.Helper()
	for _, c := range calls {
		if r, ok := c.req.(*exhookv3.MessagePublishRequest); ok && r.Message.Topic == topic {
			return string(r.Message.Payload)
		}
	}
	t.Fatalf("no message on %q was recorded", topic)
	return ""
}

// grouped puts the calls into one order per process that makes them: each client,
// the connections that were replaced (their end runs beside the new connection's
// beginning), and the node itself.
func grouped(t *testing.T, calls []call) map[string][]string {
	t.Helper()
	groups := map[string][]string{}
	for _, c := range calls {
		if c.req == nil {
			t.Fatalf("%s does not decode", c.rpc)
		}
		group := clientOf(c.req)
		switch r := c.req.(type) {
		case *exhookv3.SessionTakenoverRequest, *exhookv3.SessionDiscardedRequest:
			group += ", replaced"
		case *exhookv3.ClientDisconnectedRequest:
			if r.Reason == "takenover" || r.Reason == "discarded" {
				group += ", replaced"
			}
		}
		groups[group] = append(groups[group], strings.TrimPrefix(c.rpc, "On")+": "+strings.Join(fields(c.req.ProtoReflect(), ""), " "))
	}
	return groups
}

func clientOf(m proto.Message) string {
	switch r := m.(type) {
	case interface{ GetClientinfo() *exhookv3.ClientInfo }:
		return r.GetClientinfo().GetClientid()
	case interface{ GetConninfo() *exhookv3.ConnInfo }:
		return r.GetConninfo().GetClientid()
	case interface{ GetMessage() *exhookv3.Message }:
		return r.GetMessage().GetFrom()
	}
	return "the node"
}

// fields lists the filled fields of a message with their values; values that
// differ from run to run are only said to be there.
func fields(m protoreflect.Message, prefix string) []string {
	var out []string
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := prefix + string(fd.Name())
		switch {
		case slices.Contains([]string{"id", "timestamp", "sockport", "peerport", "uptime", "datetime"}, string(fd.Name())):
			out = append(out, name+"=…")
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				out = append(out, fmt.Sprintf("%s[%s]=%q", name, k.String(), v.String()))
				return true
			})
		case fd.IsList():
			for i := range v.List().Len() {
				at := fmt.Sprint(i)
				if p, ok := v.List().Get(i).Message().Interface().(*exhookv3.Property); ok && fd.Name() == "props" {
					at = p.Name // EMQX lists them in no order
				}
				out = append(out, fmt.Sprintf("%s[%s]{%s}", name, at, strings.Join(fields(v.List().Get(i).Message(), ""), " ")))
			}
		case fd.Kind() == protoreflect.MessageKind:
			out = append(out, name)
			out = append(out, fields(v.Message(), name+".")...)
		case fd.Kind() == protoreflect.BytesKind && len(v.Bytes()) > 100:
			out = append(out, fmt.Sprintf("%s=(%d bytes)", name, len(v.Bytes())))
		default:
			out = append(out, fmt.Sprintf("%s=%q", name, fmt.Sprint(v.Interface())))
		}
		return true
	})
	if u := m.GetUnknown(); len(u) > 0 {
		out = append(out, fmt.Sprintf("%sunknown=%x", prefix, []byte(u)))
	}
	slices.Sort(out)
	return out
}

// publishing is one client of the recordings that connects, publishes once, and goes.
type publishing struct {
	id, user, password string
	v3                 bool
	qos                byte
	topic, payload     string
	retain             bool
	props              *paho.PublishProperties
	delivered, acked   int // how many calls follow
}

// playRecordedClients does what the recordings' clients did.
func playRecordedClients(t *testing.T, b *Broker, p *testProvider, big string) {
	t.Helper()
	c := connect5("sub-v5", "alice")
	c.Password = []byte("pw-alice")
	c.Properties.SessionExpiryInterval = ptr(uint32(300))
	c.Properties.User.Add("tenant", "acme").Add("site", "Zürich 工厂")
	sub5 := mustDial5(t, b.Addr(), c, false)
	ack, err := sub5.Subscribe(sub5.ctx, &paho.Subscribe{
		Properties: &paho.SubscribeProperties{User: paho.UserProperties{{Key: "reason", Value: "test"}}},
		Subscriptions: []paho.SubscribeOptions{
			{Topic: "t/#", QoS: 2}, {Topic: "$share/g1/s/+", QoS: 2}, {Topic: "rewrite/+", QoS: 2},
		},
	})
	if err != nil {
		t.Fatal(ack, err)
	}
	sub3, _ := dialRaw3(t, b.Addr(), func(c *packets3.ConnectPacket) {
		c.ClientIdentifier, c.Username, c.UsernameFlag = "sub-v311", "bob", true
		c.Password, c.PasswordFlag = []byte("pw-bob"), true
	})
	sub3.subscribe(1, "t/+/temp", "rewrite/#")

	delivered, acked := 0, 0
	for _, x := range []publishing{
		{id: "pub-v5", user: "carol", qos: 1, topic: "t/1/temp", payload: `{"temp":21.5}`, delivered: 2, acked: 2,
			props: &paho.PublishProperties{
				MessageExpiry: ptr(uint32(60)), ResponseTopic: "r/1", CorrelationData: []byte("xyz"),
				ContentType: "application/json", User: paho.UserProperties{{Key: "trace", Value: "abc123"}},
			}},
		{id: "pub-v311", user: "dave", v3: true, topic: "t/2/temp", payload: "hello", delivered: 2},
		{id: "pub-q2", user: "carol", qos: 2, topic: "t/3", payload: "exactly-once", delivered: 1, acked: 1},
		{id: "pub-ret", user: "carol", qos: 1, topic: "t/ret", payload: "retained", retain: true, delivered: 1, acked: 1},
		{id: "pub-share", qos: 1, topic: "s/1", payload: "shared", delivered: 1, acked: 1},
		{id: "pub-rw", user: "carol", qos: 1, topic: "rewrite/1", payload: "original", delivered: 2, acked: 2},
		{id: "pub-drop", user: "carol", qos: 1, topic: "drop/1", payload: "secret"},
		{id: "pub-none", user: "carol", qos: 1, topic: "nobody/listens", payload: "lost"},
		{id: "pub-forbidden", user: "carol", qos: 1, topic: "forbidden/1", payload: "x"},
		{id: "client with spaces/é", user: "ünïcode", password: "pä$$", qos: 1, topic: "t/ünï/温度", payload: "päyload", delivered: 1, acked: 1},
		{id: "pub-empty", qos: 1, topic: "t/empty", delivered: 1, acked: 1},
		{id: "pub-big", user: "carol", qos: 1, topic: "t/big", payload: big, delivered: 1, acked: 1},
		{id: "pub-binary", v3: true, topic: "t/binary", payload: "\x00\x01\xff\xfe\x80", delivered: 1},
	} {
		x.play(t, b)
		delivered, acked = delivered+x.delivered, acked+x.acked
		p.await(t, "OnMessageDelivered", delivered)
		p.await(t, "OnMessageAcked", acked)
	}
	if _, err := dial3(t, options3(b.Addr(), "pub-bad", "bad", "wrong")); err == nil {
		t.Error("a refused login was let in")
	}

	x := mqtt5(t, b.Addr(), "sub-forbidden", "")
	if ack := x.subscribe(1, "forbidden/#", "ok/#"); !slices.Equal(ack.Reasons, []byte{0x87, 1}) {
		t.Errorf("SUBACK %x, want 87 01", ack.Reasons)
	}
	x.leave(4)
	x = mqtt5(t, b.Addr(), "sub-unsub", "")
	x.subscribe(1, "u/1")
	if _, err := x.Unsubscribe(x.ctx, &paho.Unsubscribe{Topics: []string{"u/1"}}); err != nil {
		t.Error(err)
	}
	x.leave(4)

	c = connect5("will-client", "eve")
	c.WillMessage = &paho.WillMessage{Topic: "t/will", Payload: []byte("gone"), QoS: 1}
	x = mustDial5(t, b.Addr(), c, false)
	x.subscribe(0, "w/#")
	_ = x.conn.Close()
	p.await(t, "OnMessageAcked", acked+1)

	playSame(t, b, p, acked+1, func() {
		sub5.leave(4)
		sub3.leave()
		awaitEnd(t, p, "sub-v311")
	})
	if err := b.Publish("t/rest", []byte("from-api"), 1, false); err != nil {
		t.Fatal(err)
	}
}

// playSame is the client id that is taken over, comes back, and starts clean.
// meanwhile runs before the clean start.
func playSame(t *testing.T, b *Broker, p *testProvider, acked int, meanwhile func()) {
	t.Helper()
	c := connect5("same", "")
	c.CleanStart = false
	c.Properties.SessionExpiryInterval = ptr(uint32(300))
	first := mustDial5(t, b.Addr(), c, false)
	first.subscribe(1, "k/#")
	second := mustDial5(t, b.Addr(), c, true)
	p.await(t, "OnSessionTakenover", 1)
	second.subscribe(1, "k/#")
	second.leave(4)
	left := func() bool { return lastReason(p, "same") == "disconnect_with_will_message" }
	eventually(t, "the second connection's end", left)
	publishing{id: "pub-k", qos: 1, topic: "k/1", payload: "queued"}.play(t, b)

	third := mustDial5(t, b.Addr(), c, true)
	if !third.connack.SessionPresent {
		t.Error("the session was not resumed")
	}
	m := third.receive()
	third.subscribe(1, "k/#")
	if err := third.Ack(m); err != nil {
		t.Fatal(err)
	}
	p.await(t, "OnMessageAcked", acked+1)
	meanwhile()
	third.leave(4)
	eventually(t, "the third connection's end", left)
	p.await(t, "OnSessionTakenover", 2)

	c = connect5("same", "")
	fourth := mustDial5(t, b.Addr(), c, false)
	fourth.subscribe(1, "k/#")
	p.await(t, "OnSessionDiscarded", 1)
	fourth.leave(4)
	awaitEnd(t, p, "same")
}

// lastReason is why the client's latest connection ended, if it has.
func lastReason(p *testProvider, id string) string {
	reason := ""
	for _, c := range p.snapshot("OnClientConnect", "OnClientDisconnected") {
		if clientOf(c.req) != id {
			continue
		}
		reason = ""
		if r, ok := c.req.(*exhookv3.ClientDisconnectedRequest); ok {
			reason = r.Reason
		}
	}
	return reason
}

// awaitEnd waits for a client's session.terminated.
func awaitEnd(t *testing.T, p *testProvider, id string) {
	t.Helper()
	eventually(t, "the end of "+id, func() bool {
		return slices.ContainsFunc(p.snapshot("OnSessionTerminated"), func(c call) bool { return clientOf(c.req) == id })
	})
}

// play connects, publishes and disconnects.
func (x publishing) play(t *testing.T, b *Broker) {
	t.Helper()
	password := x.password
	if password == "" && x.user != "" {
		password = "pw"
	}
	if x.v3 {
		c := mustDial3(t, b.Addr(), x.id, x.user, password)
		if err := c.wait(c.Publish(x.topic, x.qos, x.retain, []byte(x.payload))); err != nil {
			t.Fatal(err)
		}
		c.Disconnect(250)
		return
	}
	cp := connect5(x.id, x.user)
	cp.Password = []byte(password)
	c := mustDial5(t, b.Addr(), cp, false)
	_, err := c.Publish(c.ctx, &paho.Publish{
		QoS: x.qos, Topic: x.topic, Payload: []byte(x.payload), Retain: x.retain, Properties: x.props,
	})
	if refused := strings.HasPrefix(x.topic, "forbidden/"); refused != (err != nil) {
		t.Errorf("publishing to %q: %v", x.topic, err)
	}
	c.leave(0)
}
