package mux

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestRedactionWords(t *testing.T) {
	t.Parallel()
	for i, name := range RedactionNames() {
		if r, err := ParseRedaction(name); err != nil || r != Redaction(i) || r.String() != name {
			t.Errorf("%s is read as %s, %v", name, r, err)
		}
	}
	if _, err := ParseRedaction("clientid"); err == nil {
		t.Error("the client id can be redacted")
	}
	if len(RedactionNames()) != numRedactions {
		t.Error("a redaction without a name")
	}
}

// secret is what no provider may be shown. Nothing random contains it.
const secret = "S3CR3T"

// eachRedactable calls f for each place below m that the redaction names, found by
// the names that the .proto files give it.
func eachRedactable(m protoreflect.Message, r Redaction, f func(m protoreflect.Message, fd protoreflect.FieldDescriptor)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case r == RedactUserProperties && (fd.Name() == "user_props" || fd.Name() == "props"),
			r == RedactPassword && fd.Name() == "props" && m.Descriptor().Fields().ByName("conninfo") != nil,
			(r == RedactUsername || r == RedactPeerhost) && fd.Name() == "headers",
			r.String() == string(fd.Name()):
			f(m, fd)
		case fd.IsList() || fd.IsMap() || fd.Kind() != protoreflect.MessageKind:
		case m.Has(fd):
			eachRedactable(m.Get(fd).Message(), r, f)
		}
	}
}

// redactedProperty is which of the properties a redaction names.
var redactedProperty = map[Redaction]string{RedactUserProperties: "User-Property", RedactPassword: "Authentication-Data"}

// plant puts the secret wherever the redaction names, and reports how often.
func plant(m proto.Message, r Redaction) (n int) {
	eachRedactable(m.ProtoReflect(), r, func(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
		n++
		set := func(to protoreflect.Message, field protoreflect.Name, v string) {
			to.Set(to.Descriptor().Fields().ByName(field), protoreflect.ValueOfString(v))
		}
		switch {
		case fd.IsMap():
			m.Mutable(fd).Map().Set(protoreflect.ValueOfString(r.String()).MapKey(), protoreflect.ValueOfString(secret))
		case fd.IsList():
			l := m.Mutable(fd).List()
			p := l.NewElement()
			set(p.Message(), "name", secret)
			if fd.Name() == "props" { // as EMQX 5.0 writes them
				set(p.Message(), "name", redactedProperty[r])
			}
			set(p.Message(), "value", secret)
			l.Append(p)
		case fd.Kind() == protoreflect.BytesKind:
			m.Set(fd, protoreflect.ValueOfBytes([]byte(secret)))
		default:
			m.Set(fd, protoreflect.ValueOfString(secret))
		}
	})
	return n
}

// clearAll is m without what the redaction names.
func clearAll(m proto.Message, r Redaction) {
	eachRedactable(m.ProtoReflect(), r, func(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
		switch {
		case fd.IsMap():
			m.Mutable(fd).Map().Clear(protoreflect.ValueOfString(r.String()).MapKey())
		case fd.Name() == "props":
			l := m.Mutable(fd).List()
			kept := 0
			for i := range l.Len() {
				p := l.Get(i)
				if p.Message().Get(p.Message().Descriptor().Fields().ByName("name")).String() != redactedProperty[r] {
					l.Set(kept, p)
					kept++
				}
			}
			l.Truncate(kept)
		default:
			m.Clear(fd)
		}
	})
}

// listener is a connection that tells what it was asked.
type listener interface {
	Conn
	calls() []call
}

// asked sends the event through a Mux to a provider of that spec and returns what
// its connection got.
func asked(t testing.TB, spec Spec, conn listener, ev Event) []call {
	t.Helper()
	p := NewProvider(spec, quiet)
	if err := p.Up(conn, wants(ev.Hook)); err != nil {
		t.Fatal(err)
	}
	newMux(Options{}, p).Dispatch(context.Background(), ev)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p.Drain(ctx)
	calls := conn.calls()
	p.Down()
	return calls
}

// eager is a stream whose provider replies at once.
type eager struct{ fakeStream }

func (e *eager) Post(id uint64, h Hook, client, req []byte, eventID string, d time.Duration) error {
	err := e.fakeStream.Post(id, h, client, req, eventID, d)
	go e.handle(id, nil)
	return err
}

// Whatever the request of whatever hook in whatever version: a provider does not
// get what is redacted, and gets all else, what we know nothing of included.
func TestRedactedNeverReachesTheProvider(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		hide := rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(0, numRedactions-1), func(i int) Redaction { return Redaction(i) }), 1, 3, func(r Redaction) Redaction { return r }).Draw(rt, "redact")
		conn := listener(&fake{})
		if rapid.Bool().Draw(rt, "stream") {
			conn = &eager{}
		}
		delivery := Delivery(rapid.IntRange(0, 1).Draw(rt, "delivery"))
		api := API(rapid.IntRange(int(V1), int(V3)).Draw(rt, "version"))
		for _, h := range Hooks() {
			if !api.Has(h) {
				continue
			}
			req := randomRequest(rnd, api, h)
			planted := 0
			for _, r := range hide {
				planted += plant(req, r)
			}
			body := marshal(t, req)
			before := len(conn.calls())
			calls := asked(t, Spec{Name: "p", Redact: hide, Delivery: By(delivery)}, conn, NewEvent(h, body))
			if len(calls) != before+1 || calls[before].hook != h {
				rt.Fatalf("%s %s: got %d calls", api.Service(), h, len(calls)-before)
			}
			got := calls[before].req
			if bytes.Contains(got, []byte(secret)) {
				rt.Fatalf("%s %s: %v is shown: %q", api.Service(), h, hide, got)
			}
			want := proto.Clone(req)
			for _, r := range hide {
				clearAll(want, r)
			}
			if h != ClientAuthenticate { // whom that is asked may see it, if the config does not say otherwise
				clearAll(want, RedactPassword)
			}
			shown := newRequest(api, h)
			if err := proto.Unmarshal(got, shown); err != nil || !proto.Equal(shown, want) {
				rt.Fatalf("%s %s: redact %v: the provider sees\n%v, want\n%v", api.Service(), h, hide, shown, want)
			}
			if api == V3 && planted == 0 && redactable[h].hides(hide) {
				rt.Errorf("%s %s: the hook table says that %v is in it, the proto does not", api.Service(), h, hide)
			}
		}
	})
}

func (r redactions) hides(any []Redaction) bool { return slices.ContainsFunc(any, r.has) }

// wrapped is field num of wire type group, which no reader of the contract expects.
func wrapped(num protowire.Number, content []byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.StartGroupType)
	return protowire.AppendTag(append(b, content...), num, protowire.EndGroupType)
}

// fixed is field num of wire type fixed64 with these eight bytes.
func fixed(num protowire.Number, eight []byte) []byte {
	return append(protowire.AppendTag(nil, num, protowire.Fixed64Type), eight...)
}

// Odd encodings hide nothing: what some reader might take for a redacted field is
// gone, or the event is refused.
func TestRedactedInOddRequests(t *testing.T) {
	t.Parallel()
	text := func(num protowire.Number, s string) []byte { return appendBytesField(nil, num, []byte(s)) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	info := func(parts ...[]byte) []byte { return appendBytesField(nil, 1, join(parts...)) }
	header := func(parts ...[]byte) []byte { return appendBytesField(nil, msgHeaders, join(parts...)) }

	for _, tt := range []struct {
		name string
		r    Redaction
		hook Hook
		body []byte
		want []byte // nil: the event is refused
	}{
		{"password twice", RedactPassword, ClientConnected, info(text(4, secret), text(2, "c"), text(4, secret)), info(text(2, "c"))},
		{"authentication data", RedactPassword, ClientConnack, join(info(text(2, "c")), appendBytesField(nil, 3, join(text(2, secret), text(1, "Authentication-Data"))), appendBytesField(nil, 3, text(1, "Other"))), join(info(text(2, "c")), appendBytesField(nil, 3, text(1, "Other")))},
		{"client info twice", RedactPassword, ClientConnected, join(info(text(2, "c")), text(9, "x"), info(text(4, secret))), join(info(text(2, "c")), text(9, "x"), info())},
		{"password of another wire type", RedactPassword, ClientConnected, info(wrapped(4, text(1, secret)), text(2, "c")), info(text(2, "c"))},
		{"client info of another wire type", RedactPassword, ClientConnected, join(wrapped(1, text(4, secret)), info(text(2, "c"))), info(text(2, "c"))},
		{"unknown group stays", RedactPassword, ClientConnected, join(wrapped(900, text(4, "x")), info(wrapped(901, text(4, "y")), text(4, secret))), join(wrapped(900, text(4, "x")), info(wrapped(901, text(4, "y"))))},
		{"tags and lengths in more bytes than needed stay", RedactPassword, ClientConnected,
			join([]byte{0x8a, 0x80, 0x00, 0x8f, 0x00}, []byte{0x92, 0x00, 0x85, 0x00}, []byte("cli-1"), text(4, "1234"), []byte{0x92, 0x80, 0x80, 0x00, 0x81, 0x00, 'm'}),
			join([]byte{0x8a, 0x80, 0x00, 0x09}, []byte{0x92, 0x00, 0x85, 0x00}, []byte("cli-1"), []byte{0x92, 0x80, 0x80, 0x00, 0x81, 0x00, 'm'})},
		{"message of another wire type", RedactPayload, MessageDropped, join(wrapped(1, text(6, secret)), text(2, "no_subscribers")), text(2, "no_subscribers")},
		{"payload twice", RedactPayload, MessageDelivered, join(info(text(2, "c")), appendBytesField(nil, 2, join(text(6, secret), text(5, "t"), text(6, secret)))), join(info(text(2, "c")), appendBytesField(nil, 2, text(5, "t")))},
		{"header twice", RedactUsername, MessageDropped, info(header(text(1, "username"), text(2, secret)), header(text(1, "peerhost"), text(2, "h")), header(text(1, "username"), text(2, secret))), info(header(text(1, "peerhost"), text(2, "h")))},
		{"header whose value comes first", RedactPeerhost, MessageDropped, info(header(text(2, secret), text(1, "peerhost"))), info()},
		{"header with two names", RedactUsername, MessageDropped, info(header(text(1, "username"), text(2, secret), text(1, "protocol"))), info()},
		{"header that cannot be read", RedactUsername, MessageDropped, info(header(text(2, secret), []byte{0x0a, 9, 'u'})), info()},
		{"header of another wire type", RedactUsername, MessageDropped, info(wrapped(8, text(2, secret))), info()},
		{"header of eight bytes that read as one", RedactUsername, MessageDropped, info(fixed(8, text(2, secret))), info()},
		{"property that cannot be read", RedactUserProperties, ClientSubscribe, join(info(), appendBytesField(nil, 2, join(text(2, secret), []byte{0x0a, 0x7f}))), info()},
		{"property of another wire type", RedactUserProperties, ClientSubscribe, join(info(), wrapped(2, text(2, secret))), info()},
		{"property of eight bytes that read as one", RedactUserProperties, ClientSubscribe, join(info(), fixed(2, text(2, secret))), info()},
		{"user property of another wire type", RedactUserProperties, ClientSubscribe, join(info(), wrapped(5, text(2, secret))), info()},
		{"client info cut off", RedactPassword, ClientConnected, join(info(text(4, secret)), []byte{0x0a}), nil},
		{"broken client info", RedactPassword, ClientConnected, info(text(4, secret), []byte{0x0a, 9}), nil},
		{"broken message", RedactPayload, MessageDropped, info(text(6, secret), []byte{0x0a, 9}), nil},
		{"broken header of a message that is decided", RedactUsername, MessagePublish, info(header(text(2, secret), []byte{0x0a, 9})), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			calls := asked(t, Spec{Name: "p", Redact: []Redaction{tt.r}}, &fake{}, NewEvent(tt.hook, tt.body))
			switch {
			case tt.want == nil && len(calls) > 0:
				t.Errorf("the provider got %q", calls[0].req)
			case tt.want == nil:
			case len(calls) != 1:
				t.Errorf("the provider got %d calls", len(calls))
			case !bytes.Equal(calls[0].req, tt.want):
				t.Errorf("the provider got\n%q, want\n%q", calls[0].req, tt.want)
			}
		})
	}
}

// A request that ends anywhere, or has a message in it that does, shows no part
// of a secret: what cannot be read is left out.
func TestRedactedInCutRequests(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 1))
	for _, h := range Hooks() {
		for r := range Redaction(numRedactions) {
			hide := redactions(1<<r) & redactable[h]
			if hide == 0 {
				continue
			}
			req := randomRequest(rnd, V3, h)
			plant(req, r)
			body := marshal(t, req)
			check := func(what string, body []byte) {
				// Also what Dispatch refuses before anyone is asked.
				if got := redact(h, body, hide); bytes.Contains(got, []byte(secret[:4])) {
					t.Fatalf("%s, %s %s: %q", h, r, what, got)
				}
			}
			for n := range body {
				check(fmt.Sprintf("cut at %d", n), body[:n])
			}
			// The same in each message of the request, which keeps its own length right.
			_ = eachField(body, func(num protowire.Number, typ protowire.Type, val []byte) bool {
				if typ == protowire.BytesType {
					rest := withoutField(nil, body, num)
					for n := range val {
						check(fmt.Sprintf("field %d cut at %d", num, n), appendBytesField(slices.Clip(rest), num, val[:n]))
					}
				}
				return true
			})
		}
	}
}

// Where there is nothing to redact, nothing is copied; where there is, those who
// may not see the same share one copy.
func TestRedactionCopiesOnce(t *testing.T) {
	t.Parallel()
	with := func(m *exhookv3.MessageDeliveredRequest) []byte { return marshal(t, m) }
	plain := with(&exhookv3.MessageDeliveredRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c", Username: "u"}, Message: &exhookv3.Message{Topic: "t"}})
	full := with(&exhookv3.MessageDeliveredRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c", Username: "u"}, Message: &exhookv3.Message{Topic: "t", Payload: []byte(secret)}})
	for _, body := range [][]byte{plain, full} {
		var providers []*Provider
		var conns []*fake
		for i := range 4 {
			spec := Spec{Name: fmt.Sprint(i), Redact: []Redaction{RedactPayload, RedactCN}}
			if i == 3 {
				spec.Redact = nil
			}
			conns = append(conns, &fake{})
			providers = append(providers, newProvider(t, spec, conns[i], wants(MessageDelivered)...))
		}
		newMux(Options{}, providers...).Dispatch(t.Context(), NewEvent(MessageDelivered, body))
		got := make([]*byte, len(conns))
		for i, p := range providers {
			p.Drain(t.Context())
			got[i] = &conns[i].calls()[0].req[0]
		}
		if got[0] != got[1] || got[0] != got[2] {
			t.Error("three providers with the same redactions got three copies")
		}
		if own := got[0] == &body[0]; own != (len(body) == len(plain)) || got[3] != &body[0] {
			t.Errorf("the broker's own bytes: %t", own)
		}
	}
}

// Not parallel: it counts allocations.
func TestFindingNothingToRedactAllocatesNothing(t *testing.T) {
	body := marshal(t, &exhookv3.MessageDeliveredRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c"}, Message: &exhookv3.Message{Topic: "t", Headers: map[string]string{"protocol": "mqtt"}}})
	ev := NewEvent(MessageDelivered, body)
	if n := testing.AllocsPerRun(100, func() { ev.redacted(body, redactable[MessageDelivered]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who decides client.authenticate sees passwords, unless the config says
// otherwise; nobody else does, unless it says that nothing is redacted.
func TestWhoSeesThePassword(t *testing.T) {
	t.Parallel()
	body := marshal(t, &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c", Password: secret, Username: "u"}})
	for name, tt := range map[string]struct {
		spec     Spec
		declared []HookSpec
		sees     bool
	}{
		"by default":                                      {Spec{}, wants(ClientConnected), false},
		"who authenticates":                               {Spec{}, wants(ClientConnected, ClientAuthenticate), true},
		"who observes logins":                             {Spec{Observe: true}, wants(ClientConnected, ClientAuthenticate), false},
		"who would, but is not asked":                     {Spec{Hooks: wants(ClientConnected)}, wants(ClientConnected, ClientAuthenticate), false},
		"who authenticates, with another redaction":       {Spec{Redact: []Redaction{RedactCN}}, wants(ClientConnected, ClientAuthenticate), true},
		"who authenticates, but not by password":          {Spec{Redact: []Redaction{RedactPassword}}, wants(ClientConnected, ClientAuthenticate), false},
		"another redaction does not replace the password": {Spec{Redact: []Redaction{RedactCN}}, wants(ClientConnected), false},
		"an empty list redacts nothing":                   {Spec{Redact: []Redaction{}}, wants(ClientConnected), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := &fake{}
			p := newProvider(t, tt.spec, conn, tt.declared...)
			newMux(Options{}, p).Dispatch(t.Context(), NewEvent(ClientConnected, body))
			p.Drain(t.Context())
			got := unmarshal[exhookv3.ClientConnectedRequest](t, conn.calls()[0].req).Clientinfo
			if (got.Password == secret) != tt.sees || got.Username != "u" {
				t.Errorf("it sees %v", got)
			}
		})
	}
}

// Observers of the same event share one copy, too, with what was decided in it.
func TestObserversSeeNoPassword(t *testing.T) {
	t.Parallel()
	login := &fake{decide: func(_ context.Context, _ Hook, req []byte) ([]byte, error) {
		return boolAnswer(stop, bytes.Contains(req, []byte(secret))), nil
	}}
	first, second := &fake{}, &eager{}
	providers := []*Provider{
		newProvider(t, Spec{}, login, wants(ClientAuthenticate)...),
		newProvider(t, Spec{Observe: true}, first, wants(ClientAuthenticate)...),
		newProvider(t, Spec{Observe: true}, second, wants(ClientAuthenticate)...),
	}
	req := authenticate("c", false)
	req.Clientinfo.Password = secret
	newMux(Options{}, providers...).Dispatch(t.Context(), NewEvent(ClientAuthenticate, marshal(t, req)))
	for _, p := range providers {
		p.Drain(t.Context())
	}
	if want := authenticate("c", true); !proto.Equal(unmarshal[exhookv3.ClientAuthenticateRequest](t, first.calls()[0].req), want) {
		t.Errorf("an observer sees %q, want %v", first.calls()[0].req, want)
	}
	if &first.calls()[0].req[0] != &second.calls()[0].req[0] {
		t.Error("two observers got two copies")
	}
}

// A notification that waited for a process is redacted for the one that comes, also
// if that has less to do than the one before.
func TestWhatWaitedIsRedactedForWhoComes(t *testing.T) {
	t.Parallel()
	var spec Spec
	spec.OnFailure[ClientAuthenticate] = Always(Ignore)
	for name, conn := range map[string]listener{"conn": &fake{}, "stream": &eager{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, spec, &fake{}, wants(ClientConnected, ClientAuthenticate)...)
			m := newMux(Options{}, p)
			p.Down()
			m.Dispatch(t.Context(), NewEvent(ClientConnected, marshal(t, &exhookv3.ClientConnectedRequest{Clientinfo: &exhookv3.ClientInfo{Clientid: "c", Password: secret}})))
			up(t, p, conn, wants(ClientConnected)...)
			p.Drain(t.Context())
			if got := conn.calls(); len(got) != 1 || strings.Contains(string(got[0].req), secret) {
				t.Errorf("it got %v", got)
			}
		})
	}
}

// A provider that is not shown the payload keeps it by repeating what it was
// shown, and cannot replace it.
func TestNotShownIsNotChanged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		payload string
		putBack int64
	}{"what it was shown": {"", 0}, "something else": {"mine", 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := proto.CloneOf(theMessage)
			answer.Topic, answer.Payload = "elsewhere", []byte(tt.payload)
			conn, next := says(messageAnswer(cont, answer)), says(ignoreResponse)
			p := newProvider(t, Spec{Redact: []Redaction{RedactPayload, RedactUsername}}, conn, wants(MessagePublish)...)
			m := newMux(Options{}, p, newProvider(t, Spec{}, next, wants(MessagePublish)...))
			got := unmarshal[exhookv3.ValuedResponse](t, m.Dispatch(t.Context(), question(t, MessagePublish))).GetMessage()
			want := proto.CloneOf(theMessage)
			want.Topic = "elsewhere"
			if !proto.Equal(got, want) {
				t.Errorf("the broker gets %v, want %v", got, want)
			}
			if seen := unmarshal[exhookv3.MessagePublishRequest](t, next.calls()[0].req).Message; !proto.Equal(seen, want) {
				t.Errorf("the next sees %v, want %v", seen, want)
			}
			if seen := unmarshal[exhookv3.MessagePublishRequest](t, conn.calls()[0].req).Message; len(seen.Payload) > 0 || seen.Headers["username"] != "" {
				t.Errorf("it sees %v", seen)
			}
			if n := p.Stats().PutBack[ChangePayload].Load(); n != tt.putBack {
				t.Errorf("put back %d times, want %d", n, tt.putBack)
			}
		})
	}
}
