package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/hookmux/hookmux/mux"
	_ "github.com/hookmux/hookmux/proto/emqx/exhook/v3" // the messages
)

// eventText is an event's request for people: as JSON, where bytes are base64.
func eventText(hook string, request []byte) (string, error) {
	h, ok := mux.HookByName(hook)
	if !ok {
		return "", fmt.Errorf("%q is no hook that this hookmux knows", hook)
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(mux.V3.Service()))
	if err != nil {
		return "", err
	}
	method := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(mux.V3.Method(h)))
	typ, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return "", err
	}
	m := typ.New().Interface()
	if err := proto.Unmarshal(request, m); err != nil {
		return "", fmt.Errorf("the event cannot be read: %w", err)
	}
	return protojson.Format(m), nil
}
