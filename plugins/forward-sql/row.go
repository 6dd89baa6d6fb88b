package main

import (
	"time"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

// columns of the table, in the order of row.values.
//
//nolint:gochecknoglobals // a constant
var columns = []string{
	"event_id", "time", "hook", "node", "client", "username", "peerhost", "topic", "qos", "payload", "message_id", "reason", "request",
}

// atTime is a place in columns.
const atTime = 1

// row is an event as it is stored.
type row struct {
	event  *sdk.BatchEvent
	values [13]any // strings, a time.Time, an int32, a []byte; nil is NULL: the event has none
	bytes  int     // about what it takes in a statement
}

func newRow(e *event.Event) (row, error) {
	const fixed = 200
	var request, topic, payload, qos any
	bytes := fixed + len(e.Client) + len(e.Username)
	if e.Msg != nil {
		topic, qos = e.Topic(), int32(e.Msg.GetQos())
		payload = append([]byte{}, e.Msg.GetPayload()...) // not nil, which is NULL
		bytes += len(e.Topic()) + len(e.Msg.GetPayload())
	} else {
		b, err := e.JSON()
		if err != nil {
			return row{}, err
		}
		topic, request = text(e.Topic()), string(b)
		bytes += len(e.Topic()) + len(b)
	}
	return row{e.BatchEvent, [13]any{
		text(e.ID), e.At.Truncate(time.Microsecond), string(e.Hook), text(e.Node()), text(e.Client), text(e.Username), text(e.Peerhost),
		topic, qos, payload, text(e.Msg.GetId()), text(e.Reason()), request,
	}, bytes}, nil
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}
