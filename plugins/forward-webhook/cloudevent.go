package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hookmux/hookmux/plugins/internal/event"
)

// The media types of one CloudEvent and of many, in JSON.
const (
	oneEvent   = "application/cloudevents+json; charset=utf-8"
	manyEvents = "application/cloudevents-batch+json; charset=utf-8"
)

// typePrefix is before the hook in an event's type.
const typePrefix = "io.github.hookmux."

// encode makes a CloudEvent 1.0 in JSON of an event. What there is beside its payload is in
// extension attributes: mqttclient, mqtttopic, …
func encode(e *event.Event) ([]byte, error) {
	id := e.ID
	if id == "" {
		id = rand.Text()
	}
	ce := map[string]any{
		"specversion": "1.0",
		"id":          id,
		"source":      "/emqx/" + url.PathEscape(e.Node()),
		"type":        typePrefix + string(e.Hook),
		"time":        e.At.Format(time.RFC3339Nano),
	}
	if subject := clean(e.Topic()); subject != "" {
		ce["subject"] = subject
	} else if e.Client != "" {
		ce["subject"] = clean(e.Client)
	}
	e.Headers(func(name, value string) {
		switch name {
		case "event-id", "hook", "time": // id, type and time
			return
		}
		ce["mqtt"+strings.ReplaceAll(name, "-", "")] = clean(value)
	})
	value, err := e.Value()
	if err != nil {
		return nil, err
	}
	switch {
	case len(value) == 0: // no data
	case json.Valid(value) && utf8.Valid(value):
		ce["datacontenttype"], ce["data"] = "application/json", json.RawMessage(value)
	case utf8.Valid(value):
		ce["datacontenttype"], ce["data"] = "text/plain", string(value)
	default:
		ce["datacontenttype"], ce["data_base64"] = "application/octet-stream", value
	}
	return marshal(ce)
}

// marshal leaves <, > and & alone.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// clean takes out what attributes of CloudEvents must not have.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, s)
}
