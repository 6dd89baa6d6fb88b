package mux

import (
	"cmp"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// What Subject reads from the wire is what a decoder finds by the fields' names, in
// every version.
func TestSubjectIsWhatTheRequestSays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	// at is a field by its path; "" if it is not there.
	var at func(m protoreflect.Message, path string) string
	at = func(m protoreflect.Message, path string) string {
		for name, rest, more := strings.Cut(path, "."); ; name, rest, more = strings.Cut(rest, ".") {
			f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
			switch {
			case f == nil || !m.Has(f):
				return ""
			case f.IsMap():
				v := m.Get(f).Map().Get(protoreflect.ValueOfString(rest).MapKey())
				if !v.IsValid() {
					return ""
				}
				return v.String()
			case f.IsList():
				for i, l := 0, m.Get(f).List(); ; i++ {
					if found := at(l.Get(i).Message(), rest); found != "" || i == l.Len()-1 {
						return found
					}
				}
			case !more && f.Kind() == protoreflect.BytesKind:
				return string(m.Get(f).Bytes())
			case !more:
				return m.Get(f).String()
			default:
				m = m.Get(f).Message()
			}
		}
	}
	for _, h := range Hooks() {
		for _, api := range []API{V1, V2, V3} {
			if !api.Has(h) {
				continue
			}
			for range 20 {
				req := randomRequest(r, api, h)
				if p, ok := req.(*exhookv3.MessagePublishRequest); ok {
					p.Message.Headers = map[string]string{"peerhost": "x", "username": "headers"}
				}
				ev := NewEvent(h, marshal(t, req))
				s, m := ev.Subject(), req.ProtoReflect()
				name := func(paths ...string) (found string) {
					for _, p := range paths {
						found = cmp.Or(found, at(m, p))
					}
					return found
				}
				want := []string{
					name("clientinfo.node", "conninfo.node", "message.node", "meta.node"),
					name("clientinfo.clientid", "conninfo.clientid", "message.from"),
					name("clientinfo.username", "conninfo.username"),
					name("topic", "message.topic", "topic_filters.name"), name("message.payload"),
				}
				if h == MessagePublish || h == MessageDropped {
					want[2] = name("message.headers.username")
				} else {
					want[1] = name("clientinfo.clientid", "conninfo.clientid")
				}
				got := []string{string(s.Node), string(s.Client), string(s.Username), string(s.Topic), string(s.Payload)}
				for i, what := range []string{"node", "client", "username", "topic", "payload"} {
					if got[i] != want[i] {
						t.Errorf("%s %s: %s %q, want %q of %v", api.Service(), h, what, got[i], want[i], req)
					}
				}
				if (s.Action != "") != (h == ClientAuthorize) {
					t.Errorf("%s: action %q", h, s.Action)
				}
			}
		}
	}
	for typ, want := range map[exhookv3.ClientAuthorizeRequest_AuthorizeReqType]string{0: "publish", 1: "subscribe"} {
		ev := NewEvent(ClientAuthorize, marshal(t, &exhookv3.ClientAuthorizeRequest{Type: typ}))
		if s := ev.Subject(); s.Action != want {
			t.Errorf("action %q, want %q", s.Action, want)
		}
	}
}
