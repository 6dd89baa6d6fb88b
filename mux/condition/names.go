package condition

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hookmux/hookmux/mux"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// names is all that an expression can ask, in the order of the documentation.
var names = []struct {
	name, doc string
	typ       *cel.Type
	of        func(*mux.Event) ref.Val
}{
	{"hook", "the hook's name, such as message.publish", cel.StringType,
		func(e *mux.Event) ref.Val { return types.String(e.Hook.String()) }},
	{"node", "the EMQX node that asks", cel.StringType, node},
	{"topic", "the message's topic, or the one of client.authorize, session.subscribed and session.unsubscribed", cel.StringType, topic},
	{"action", "of client.authorize: publish or subscribe", cel.StringType, action},

	{"client.id", "the client; of message.publish and message.dropped the publisher", cel.StringType,
		func(e *mux.Event) ref.Val { return types.String(e.Client()) }},
	{"client.username", "its user name", cel.StringType, clientText("username", "username", "username")},
	{"client.peerhost", "its address", cel.StringType, clientText("peerhost", "peerhost", "peerhost")},
	{"client.protocol", "its protocol: mqtt, mqtt-sn, …; not of client.connect and client.connack", cel.StringType, clientText("protocol", "", "protocol")},
	{"client.sockport", "the port of EMQX that it is connected to", cel.IntType, clientInt("sockport")},
	{"client.mountpoint", "its topic prefix", cel.StringType, clientText("mountpoint", "", "")},
	{"client.is_superuser", "whether it may do everything", cel.BoolType, clientBool("is_superuser")},
	{"client.anonymous", "whether it was let in without credentials", cel.BoolType, clientBool("anonymous")},
	{"client.cn", "common name of its certificate", cel.StringType, clientText("cn", "", "")},
	{"client.dn", "distinguished name of its certificate", cel.StringType, clientText("dn", "", "")},

	{"message.from", "client id of the publisher", cel.StringType, messageText("from")},
	{"message.qos", "0, 1 or 2", cel.IntType,
		func(e *mux.Event) ref.Val { return types.Int(number(e.Message(), messageFields["qos"])) }},
	{"message.payload", "bytes: size(message.payload)", cel.BytesType,
		func(e *mux.Event) ref.Val { return types.Bytes(content(e.Message(), messageFields["payload"])) }},
}

var byName = func() map[string]int {
	m := make(map[string]int)
	for i, n := range names {
		m[n.name] = i
	}
	return m
}()

// fields are a message's field numbers by name.
type fields map[protoreflect.Name]protowire.Number

func fieldsOf(d protoreflect.MessageDescriptor) fields {
	f := make(fields)
	for i := range d.Fields().Len() {
		f[d.Fields().Get(i).Name()] = d.Fields().Get(i).Number()
	}
	return f
}

// What lies where: the same in all versions of the contract.
var (
	clientInfoFields = fieldsOf((*exhookv3.ClientInfo)(nil).ProtoReflect().Descriptor())
	connInfoFields   = fieldsOf((*exhookv3.ConnInfo)(nil).ProtoReflect().Descriptor())
	messageFields    = fieldsOf((*exhookv3.Message)(nil).ProtoReflect().Descriptor())
	metaFields       = fieldsOf((*exhookv3.RequestMeta)(nil).ProtoReflect().Descriptor())
	requestFields    = func() (all [mux.NumHooks]fields) {
		methods := exhookv3.File_emqx_exhook_v3_exhook_proto.Services().Get(0).Methods()
		for _, h := range mux.Hooks() {
			all[h] = fieldsOf(methods.ByName(protoreflect.Name(mux.V3.Method(h))).Input())
		}
		return all
	}()
)

// last is the value of the last field num of that wire type in the message b; nil
// if there is none. Number 0 is a field that the message does not have.
func last(b []byte, num protowire.Number, want protowire.Type) (found []byte) {
	for len(b) > 0 && num != 0 {
		n, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return found
		}
		size := protowire.ConsumeFieldValue(n, typ, b[tag:])
		if size < 0 {
			return found
		}
		if n == num && typ == want {
			found = b[tag : tag+size]
		}
		b = b[tag+size:]
	}
	return found
}

func content(b []byte, num protowire.Number) []byte {
	v, _ := protowire.ConsumeBytes(last(b, num, protowire.BytesType))
	return v
}

func number(b []byte, num protowire.Number) uint64 {
	v, n := protowire.ConsumeVarint(last(b, num, protowire.VarintType))
	if n < 0 {
		return 0
	}
	return v
}

// request is field name of the event's request, a text or a message.
func request(e *mux.Event, name protoreflect.Name) []byte {
	return content(e.Body, requestFields[e.Hook][name])
}

// client is what describes the client, and its fields; nothing in message.publish
// and message.dropped, which have headers instead.
func client(e *mux.Event) ([]byte, fields) {
	if num, ok := requestFields[e.Hook]["conninfo"]; ok {
		return content(e.Body, num), connInfoFields
	}
	return request(e, "clientinfo"), clientInfoFields
}

func clientText(inClientInfo, inConnInfo protoreflect.Name, header string) func(*mux.Event) ref.Val {
	return func(e *mux.Event) ref.Val {
		of := requestFields[e.Hook]
		switch {
		case of["conninfo"] != 0:
			return types.String(content(request(e, "conninfo"), connInfoFields[inConnInfo]))
		case of["clientinfo"] != 0:
			return types.String(content(request(e, "clientinfo"), clientInfoFields[inClientInfo]))
		}
		return types.String(headerOf(e.Message(), header))
	}
}

func clientInt(name protoreflect.Name) func(*mux.Event) ref.Val {
	return func(e *mux.Event) ref.Val {
		b, f := client(e)
		return types.Int(number(b, f[name]))
	}
}

func clientBool(name protoreflect.Name) func(*mux.Event) ref.Val {
	return func(e *mux.Event) ref.Val {
		b, f := client(e)
		return types.Bool(number(b, f[name]) != 0)
	}
}

func messageText(name protoreflect.Name) func(*mux.Event) ref.Val {
	return func(e *mux.Event) ref.Val { return types.String(content(e.Message(), messageFields[name])) }
}

// headerOf is a header of a message; empty for none.
func headerOf(msg []byte, name string) (value []byte) {
	for len(msg) > 0 && name != "" {
		num, typ, n := protowire.ConsumeField(msg)
		if n < 0 {
			return value
		}
		if num == messageFields["headers"] && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(msg)
			entry, _ := protowire.ConsumeBytes(msg[tag:n])
			if string(content(entry, 1)) == name {
				value = content(entry, 2)
			}
		}
		msg = msg[n:]
	}
	return value
}

// node is the node that asks; EMQX 4.3.0 has no meta to say so.
func node(e *mux.Event) ref.Val {
	if n := content(request(e, "meta"), metaFields["node"]); len(n) > 0 {
		return types.String(n)
	}
	if b, f := client(e); b != nil {
		return types.String(content(b, f["node"]))
	}
	return types.String(content(e.Message(), messageFields["node"]))
}

func topic(e *mux.Event) ref.Val {
	if e.Hook.HasTopics() {
		return types.String(e.Topic())
	}
	return types.String(request(e, "topic"))
}

func action(e *mux.Event) ref.Val {
	if e.Hook != mux.ClientAuthorize {
		return types.String("")
	}
	if number(e.Body, requestFields[e.Hook]["type"]) == uint64(exhookv3.ClientAuthorizeRequest_SUBSCRIBE) {
		return types.String("subscribe")
	}
	return types.String("publish")
}
