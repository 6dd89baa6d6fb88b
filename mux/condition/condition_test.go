package condition

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hookmux/hookmux/mux"
	exhookv1 "github.com/hookmux/hookmux/proto/emqx/exhook/v1"
	exhookv2 "github.com/hookmux/hookmux/proto/emqx/exhook/v2"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t testing.TB, h mux.Hook, req proto.Message) *mux.Event {
	t.Helper()
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ev := mux.NewEvent(h, b)
	return &ev
}

func parse(t testing.TB, source string) *Condition {
	t.Helper()
	c, err := Parse(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return c
}

var (
	info = &exhookv3.ClientInfo{
		Node: "emqx@a", Clientid: "dev-1", Username: "alice", Password: "secret", Peerhost: "10.1.2.3", Sockport: 1883, Protocol: "mqtt",
		Mountpoint: "m/", IsSuperuser: true, Cn: "device", Dn: "CN=device,O=acme",
	}
	meta    = &exhookv3.RequestMeta{Node: "emqx@b", Version: "5.10.3"}
	message = &exhookv3.Message{
		Node: "emqx@c", Id: "1", Qos: 1, From: "pub-1", Topic: "plant/7/temp", Payload: []byte("21.5"),
		Headers: map[string]string{"username": "bob", "peerhost": "10.9.9.9", "protocol": "mqtt-sn", "allow_publish": "true"},
	}
)

func TestMatches(t *testing.T) {
	t.Parallel()
	authenticate := event(t, mux.ClientAuthenticate, &exhookv3.ClientAuthenticateRequest{Clientinfo: info, Meta: meta})
	authorize := event(t, mux.ClientAuthorize, &exhookv3.ClientAuthorizeRequest{Clientinfo: info, Topic: "a/b", Type: exhookv3.ClientAuthorizeRequest_SUBSCRIBE})
	publishing := event(t, mux.ClientAuthorize, &exhookv3.ClientAuthorizeRequest{Clientinfo: info, Topic: "a/b"})
	connect := event(t, mux.ClientConnect, &exhookv3.ClientConnectRequest{Conninfo: &exhookv3.ConnInfo{Node: "emqx@a", Clientid: "c", Username: "u", Peerhost: "::1", Sockport: 8883, ProtoName: "MQTT"}})
	subscribed := event(t, mux.SessionSubscribed, &exhookv3.SessionSubscribedRequest{Clientinfo: info, Topic: "s/1"})
	publish := event(t, mux.MessagePublish, &exhookv3.MessagePublishRequest{Message: message})
	delivered := event(t, mux.MessageDelivered, &exhookv3.MessageDeliveredRequest{Clientinfo: info, Message: message})
	empty := event(t, mux.MessagePublish, &exhookv3.MessagePublishRequest{})

	for _, tt := range []struct {
		ev     *mux.Event
		source string
	}{
		{authenticate, `hook == "client.authenticate" && node == "emqx@b" && topic == "" && action == ""`},
		{authenticate, `client.id == "dev-1" && client.username == "alice" && client.peerhost.startsWith("10.")`},
		{authenticate, `client.sockport == 1883 && client.protocol == "mqtt" && client.mountpoint == "m/"`},
		{authenticate, `client.is_superuser && !client.anonymous && client.cn == "device" && client.dn.endsWith("O=acme")`},
		{authenticate, `message.from == "" && message.qos == 0 && size(message.payload) == 0`},
		{authorize, `topic == "a/b" && action == "subscribe" && node == "emqx@a"`},
		{publishing, `action == "publish"`},
		{connect, `client.id == "c" && client.username == "u" && client.peerhost == "::1" && client.sockport == 8883 && client.protocol == "" && node == "emqx@a"`},
		{connect, `client.cn == "" && client.dn == "" && client.mountpoint == "" && !client.is_superuser`},
		{subscribed, `topic == "s/1"`},
		{publish, `client.id == "pub-1" && client.username == "bob" && client.peerhost == "10.9.9.9" && client.protocol == "mqtt-sn" && node == "emqx@c"`},
		{publish, `client.cn == "" && client.mountpoint == "" && client.sockport == 0`},
		{publish, `topic.matches("^plant/[0-9]+/") && message.qos > 0 && message.payload == b"21.5" && message.from == "pub-1"`},
		{publish, `topic.split("/")[1] == "7"`},
		{delivered, `client.id == "dev-1" && message.from == "pub-1" && client.username == "alice" && topic == "plant/7/temp"`},
		{empty, `client.id == "" && client.username == "" && topic == "" && node == "" && message.from == ""`},
	} {
		for source, want := range map[string]bool{tt.source: true, "!(" + tt.source + ")": false} {
			if got, err := parse(t, source).Matches(tt.ev); err != nil || got != want {
				t.Errorf("%s of %s: %t, %v", source, tt.ev.Hook, got, err)
			}
		}
	}
}

// Every name has a value of its type in every hook.
func TestNamesInEveryHook(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		c := parse(t, name+" == "+name)
		for _, h := range mux.Hooks() {
			for _, body := range [][]byte{nil, {0x0a, 0x02, 0x12, 0x00}, {0x08, 0x01}, {0xff}} {
				ev := mux.NewEvent(h, body)
				if ok, err := c.Matches(&ev); err != nil || !ok {
					t.Errorf("%s of %s: %t, %v", name, h, ok, err)
				}
			}
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		``:                                 "column 1: Syntax error",
		`true &&`:                          "column 8: Syntax error",
		"true &&\n  clientid == \"a\"":     "line 2, column 3: undeclared reference to 'clientid'",
		`client.user == "a"`:               "column 7: undeclared reference to 'client.user'",
		`client.password == "a"`:           "column 1: undeclared reference to 'client'. There are hook, node, ",
		`client == "a"`:                    "undeclared reference to 'client'",
		`topic`:                            "column 1: the expression is of type string; it must be true or false",
		`dyn(true)`:                        "of type dyn",
		`message.qos == "1"`:               "column 13: found no matching overload",
		`topic.matches("(")`:               "column 15: this is no regular expression of RE2",
		`now() > 1`:                        "undeclared reference to 'now'",
		strings.Repeat(" ", 4096) + "true": "column 1: the expression has 4100 bytes; at most 4096 are possible",
		strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000): "recursion",
	} {
		_, err := Parse(source)
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", source, err, want)
		}
	}
}

// What an expression does with an event that it does not fit is an error, not a no.
func TestMatchesFails(t *testing.T) {
	t.Parallel()
	ev := event(t, mux.MessagePublish, &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{Topic: "a"}})
	digits := "[0,1,2,3,4,5,6,7,8,9]"
	for source, want := range map[string]string{
		`1 / message.qos == 1`:      "division by zero",
		`topic.split("/")[1] == ""`: "index",
		`int(topic) == 1`:           "type conversion",
		digits + ".all(a, " + digits + ".all(b, " + digits + ".all(c, " + digits + ".all(d, " + digits + ".all(e, a + b + c + d + e >= 0)))))": "cost",
	} {
		if ok, err := parse(t, source).Matches(ev); err == nil || ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %t, %v, want %q", source, ok, err, want)
		}
	}
}

// Who compares configs by reflect.DeepEqual sees that nothing has changed.
func TestTheSameExpressionIsEqual(t *testing.T) {
	t.Parallel()
	a, b := mux.Spec{When: parse(t, `topic == "same"`)}, mux.Spec{When: parse(t, `topic == "same"`)}
	if !reflect.DeepEqual(a, b) {
		t.Error("the same expression is not equal to itself")
	}
	if c := (mux.Spec{When: parse(t, `topic == "other"`)}); reflect.DeepEqual(a, c) {
		t.Error("another expression is equal")
	}
}

// The field numbers are those of every version.
func TestVersionsAgree(t *testing.T) {
	t.Parallel()
	for _, file := range []protoreflect.FileDescriptor{exhookv1.File_emqx_exhook_v1_exhook_proto, exhookv2.File_emqx_exhook_v2_exhook_proto} {
		for name, want := range map[protoreflect.Name]fields{"ClientInfo": clientInfoFields, "ConnInfo": connInfoFields, "Message": messageFields, "RequestMeta": metaFields} {
			d := file.Messages().ByName(name)
			if d == nil {
				continue // 4.3.0 had no RequestMeta
			}
			for field, num := range fieldsOf(d) {
				if want[field] != num {
					t.Errorf("%s: %s.%s is %d, not %d", file.Path(), name, field, num, want[field])
				}
			}
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	ev := event(b, mux.MessagePublish, &exhookv3.MessagePublishRequest{Message: message, Meta: meta})
	for _, source := range []string{`message.qos > 0`, `client.username.startsWith("dev-") && topic != ""`, `topic.matches("^plant/[0-9]+/")`} {
		b.Run(source, func(b *testing.B) {
			c := parse(b, source)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Matches(ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
