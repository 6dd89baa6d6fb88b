package sdk_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/plugins/sdk"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// says answers every valued hook with what it holds.
type says struct {
	access sdk.Access
	answer sdk.Answer
}

func (s says) OnClientAuthenticate(context.Context, *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
	return s.access, nil
}

func (s says) OnClientAuthorize(context.Context, *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	return s.access, nil
}

func (s says) OnMessagePublish(context.Context, *sdk.MessagePublishRequest) (sdk.Answer, error) {
	return s.answer, nil
}

func (s says) OnMessageIngress(context.Context, *sdk.MessageIngressRequest) (sdk.Answer, error) {
	return s.answer, nil
}

func handlerOf(t *testing.T, plugin any) exhookv3.HookProviderServer {
	t.Helper()
	h, err := sdk.NewHandler(plugin)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const (
	goOn  = exhookv3.ValuedResponse_CONTINUE
	stays = exhookv3.ValuedResponse_IGNORE
	final = exhookv3.ValuedResponse_STOP_AND_RETURN
)

func TestAccessOnTheWire(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		access sdk.Access
		result bool // so far
		typ    exhookv3.ValuedResponse_ResponsedType
		want   any // the bool on the wire, nil for none
		text   string
	}{
		{sdk.Allow, false, goOn, true, "allow"},
		{sdk.Allow.Final(), false, final, true, "allow (final)"},
		{sdk.Deny, true, goOn, false, "deny"},
		{sdk.Deny.Final(), true, final, false, "deny (final)"},
		{sdk.Deny.Final().Final(), true, final, false, "deny (final)"},
		{sdk.NoOpinion, true, stays, nil, "no opinion"},
		{sdk.NoOpinion.Final(), true, final, true, "no opinion (final)"},
		{sdk.NoOpinion.Final(), false, final, false, "no opinion (final)"},
	} {
		h := handlerOf(t, says{access: tt.access})
		authn, err1 := h.OnClientAuthenticate(t.Context(), &sdk.ClientAuthenticateRequest{Result: tt.result})
		authz, err2 := h.OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Result: tt.result})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, res := range []*exhookv3.ValuedResponse{authn, authz} {
			var got any
			if v, ok := res.GetValue().(*exhookv3.ValuedResponse_BoolResult); ok {
				got = v.BoolResult
			}
			if res.GetType() != tt.typ || got != tt.want {
				t.Errorf("%s after %v: %v %v, want %v %v", tt.access, tt.result, res.GetType(), got, tt.typ, tt.want)
			}
		}
		if tt.access.String() != tt.text {
			t.Errorf("%q, want %q", tt.access, tt.text)
		}
	}
}

func TestAnswerOnTheWire(t *testing.T) {
	t.Parallel()
	message := func(change ...func(*sdk.Message)) *sdk.Message {
		m := &sdk.Message{
			Node: "n", Id: "1", Qos: 1, From: "c", Topic: "t", Payload: []byte("p"), Timestamp: 5,
			Headers: map[string]string{"username": "u", "allow_publish": "true"},
		}
		m.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // a field from the future
		for _, c := range change {
			c(m)
		}
		return m
	}
	refused := message(func(m *sdk.Message) { m.Headers["allow_publish"] = "false" })
	other := &sdk.Message{Topic: "other"}
	for _, tt := range []struct {
		answer sdk.Answer
		typ    exhookv3.ValuedResponse_ResponsedType
		want   *sdk.Message
	}{
		{sdk.Pass, stays, nil},
		{sdk.Pass.Final(), final, message()},
		{sdk.Drop, goOn, refused},
		{sdk.Drop.Final(), final, refused},
		{sdk.Rewrite(other), goOn, other},
		{sdk.Rewrite(other).Final(), final, other},
	} {
		h, in := handlerOf(t, says{answer: tt.answer}), message()
		publish, err1 := h.OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{Message: in})
		ingress, err2 := h.OnMessageIngress(t.Context(), &sdk.MessageIngressRequest{Message: in})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, res := range []*exhookv3.ValuedResponse{publish, ingress} {
			if res.GetType() != tt.typ || !proto.Equal(res.GetMessage(), tt.want) {
				t.Errorf("%s: %v, want %v %v", tt.answer, res, tt.typ, tt.want)
			}
		}
		if !proto.Equal(in, message()) {
			t.Errorf("%s has changed the request's message: %v", tt.answer, in)
		}
	}
	// Nothing in the request: nothing to fall over.
	for _, a := range []sdk.Answer{sdk.Drop, sdk.Pass.Final()} {
		res, err := handlerOf(t, says{answer: a}).OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{})
		if err != nil || res.GetMessage() == nil {
			t.Errorf("%s without a message: %v %v", a, res, err)
		}
	}
}

// What is no answer must never let anybody or anything in.
func TestInvalidAnswers(t *testing.T) {
	t.Parallel()
	for _, a := range []sdk.Access{0, sdk.Access(0).Final(), 7, 0xff} {
		res, err := handlerOf(t, says{access: a}).OnClientAuthorize(t.Context(), &sdk.ClientAuthorizeRequest{Result: true})
		if status.Code(err) != codes.Internal || res != nil || !strings.Contains(err.Error(), "OnClientAuthorize: neither an answer") {
			t.Errorf("%s: %v %v", a, res, err)
		}
	}
	for _, tt := range []struct {
		answer sdk.Answer
		want   string
	}{
		{sdk.Answer{}, "neither an answer"},
		{sdk.Answer{}.Final(), "neither an answer"},
		{sdk.Rewrite(nil), "message is nil"},
		{sdk.Rewrite(&sdk.Message{Payload: []byte("x")}), "no topic"},
		{sdk.Rewrite(&sdk.Message{Topic: "a/+"}), "wildcard"},
		{sdk.Rewrite(&sdk.Message{Topic: "a\x00"}), "NUL"},
		{sdk.Rewrite(&sdk.Message{Topic: strings.Repeat("a", 65536)}), "65536 bytes"},
		{sdk.Rewrite(&sdk.Message{Topic: "a", Qos: 3}), "QoS 3"},
		{sdk.Rewrite(&sdk.Message{Topic: "a\xff"}), "UTF-8"},
		{sdk.Rewrite(&sdk.Message{Topic: "a", Headers: map[string]string{"k": "\xff"}}), "UTF-8"},
	} {
		res, err := handlerOf(t, says{answer: tt.answer}).OnMessagePublish(t.Context(), &sdk.MessagePublishRequest{Message: &sdk.Message{Topic: "t"}})
		if status.Code(err) != codes.Internal || res != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v %v, want %q", tt.answer, res, err, tt.want)
		}
	}
}
