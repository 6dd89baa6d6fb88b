package mux

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func service(t *testing.T, a API) protoreflect.ServiceDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(a.Service()))
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.ServiceDescriptor)
}

func TestEveryRPCHasARowAndEveryRowAnRPC(t *testing.T) {
	t.Parallel()
	for api, rpcs := range map[API]int{V1: 21, V2: 21, V3: 22} {
		methods := service(t, api).Methods()
		if methods.Len() != rpcs {
			t.Errorf("%s has %d RPCs, want %d", api.Service(), methods.Len(), rpcs)
		}
		rows := map[protoreflect.Name]Hook{}
		for h := range Hook(NumHooks) {
			if api.Has(h) {
				rows[protoreflect.Name(api.Method(h))] = h
			}
		}
		if len(rows) != methods.Len() {
			t.Errorf("%s: %d rows for %d RPCs", api.Service(), len(rows), methods.Len())
		}
		for i := range methods.Len() {
			m := methods.Get(i)
			h, ok := rows[m.Name()]
			if !ok {
				t.Errorf("%s.%s has no row in the hook table", api.Service(), m.Name())
				continue
			}
			want := "EmptySuccess"
			switch {
			case h.Valued():
				want = "ValuedResponse"
			case h == ProviderLoaded:
				want = "LoadedResponse"
			}
			if got := string(m.Output().Name()); got != want {
				t.Errorf("%s.%s answers %s, the table says %s", api.Service(), m.Name(), got, want)
			}
			if full := "/" + api.Service() + "/" + string(m.Name()); api.FullMethod(h) != full {
				t.Errorf("FullMethod = %q, want %q", api.FullMethod(h), full)
			}
		}
	}
}

// The contract's names, by hand: nothing generated holds them.
func TestHooksHaveTheContractsNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"client.connect", "client.connack", "client.connected", "client.disconnected", "client.authenticate",
		"client.authorize", "client.subscribe", "client.unsubscribe", "session.created", "session.subscribed",
		"session.unsubscribed", "session.resumed", "session.discarded", "session.takenover", "session.terminated",
		"message.ingress", "message.publish", "message.delivered", "message.dropped", "message.acked",
	}
	all := Hooks()
	if len(all) != len(names) {
		t.Fatalf("%d hooks, want %d", len(all), len(names))
	}
	v1 := map[string]string{"client.authorize": "client.check_acl", "session.takenover": "session.takeovered"}
	for i, h := range all {
		if h.String() != names[i] || V2.HookName(h) != names[i] || V3.HookName(h) != names[i] {
			t.Errorf("hook %d is called %q, want %q", i, h, names[i])
		}
		if got, ok := HookByName(names[i]); !ok || got != h {
			t.Errorf("HookByName(%q) = %v, %t", names[i], got, ok)
		}
		want := names[i]
		if old := v1[want]; old != "" {
			want = old
		}
		if V1.HookName(h) != want {
			t.Errorf("in v1 %q is called %q, want %q", names[i], V1.HookName(h), want)
		}
		if got, ok := HookByName(want); !ok || got != h {
			t.Errorf("HookByName(%q) = %v, %t", want, got, ok)
		}
	}
	for _, no := range []string{"", "provider.loaded", "message.publish ", "OnMessagePublish"} {
		if h, ok := HookByName(no); ok {
			t.Errorf("HookByName(%q) = %v, want none", no, h)
		}
	}
}

// fieldNumber is the number of m's field of that name, or 0.
func fieldNumber(m protoreflect.MessageDescriptor, name protoreflect.Name) protoreflect.FieldNumber {
	if f := m.Fields().ByName(name); f != nil {
		return f.Number()
	}
	return 0
}

func TestFieldNumbersAreTheDescriptors(t *testing.T) {
	t.Parallel()
	for _, api := range []API{V1, V2, V3} {
		methods := service(t, api).Methods()
		for h := range Hook(NumHooks) {
			if !api.Has(h) {
				continue
			}
			in := methods.ByName(protoreflect.Name(api.Method(h))).Input()
			row := hooks[h]
			if got := fieldNumber(in, "message"); got != row.message {
				t.Errorf("%s: message is field %d, the table says %d", in.FullName(), got, row.message)
			}
			if got := fieldNumber(in, "result"); got != row.result {
				t.Errorf("%s: result is field %d, the table says %d", in.FullName(), got, row.result)
			}
			var client path
			for _, way := range [][2]protoreflect.Name{{"message", "from"}, {"conninfo", "clientid"}, {"clientinfo", "clientid"}} {
				if f := in.Fields().ByName(way[0]); f != nil {
					client = path{f.Number(), fieldNumber(f.Message(), way[1])}
				}
			}
			if client != row.client {
				t.Errorf("%s: the client id is at %v, the table says %v", in.FullName(), client, row.client)
			}
		}
	}
	msg := (&exhookv3.Message{}).ProtoReflect().Descriptor()
	for name, num := range map[protoreflect.Name]protoreflect.FieldNumber{
		"qos": msgQoS, "from": msgFrom, "topic": msgTopic, "payload": msgPayload, "headers": msgHeaders,
	} {
		if got := fieldNumber(msg, name); got != num {
			t.Errorf("Message.%s is field %d, the code says %d", name, got, num)
		}
	}
	resp := (&exhookv3.ValuedResponse{}).ProtoReflect().Descriptor()
	for name, num := range map[protoreflect.Name]protoreflect.FieldNumber{"type": respType, "bool_result": respBool, "message": respMessage} {
		if got := fieldNumber(resp, name); got != num {
			t.Errorf("ValuedResponse.%s is field %d, the code says %d", name, got, num)
		}
	}
	for typ, num := range map[exhookv3.ValuedResponse_ResponsedType]int{
		exhookv3.ValuedResponse_CONTINUE: typeContinue, exhookv3.ValuedResponse_IGNORE: typeIgnore, exhookv3.ValuedResponse_STOP_AND_RETURN: typeStop,
	} {
		if int(typ) != num {
			t.Errorf("%s is %d, the code says %d", typ, typ, num)
		}
	}
}

func TestKindsOfHooks(t *testing.T) {
	t.Parallel()
	for _, h := range Hooks() {
		access := h == ClientAuthenticate || h == ClientAuthorize
		msg := h == MessagePublish || h == MessageIngress
		if h.Access() != access || h.Valued() != (access || msg) {
			t.Errorf("%s: Access %t, Valued %t", h, h.Access(), h.Valued())
		}
		if h.HasTopics() != (h >= MessageIngress) {
			t.Errorf("%s: HasTopics %t", h, h.HasTopics())
		}
	}
}
