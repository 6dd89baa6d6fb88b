package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"servers": []}`: "servers: none is there",
		`{"servers": ["nats://a", "http://u:canary@b"]}`:    "servers: number 2 is no URL such as",
		`{"servers": ["nats://u:can/ary@b"]}`:               "%40 and the like",
		`{"servers": ["nats://u:canary@a:4222,b:4222"]}`:    "servers: number 1 has more than one host",
		`{"stream": "s", "jetstream": false}`:               "stream: there are streams only with jetstream",
		`{"stream": "a.b"}`:                                 `stream: "a.b" must not have`,
		`{"user": "u", "password": "canary", "token": "t"}`: "more than one way to log in",
		`{"credentials": "/nowhere"}`:                       "credentials: stat /nowhere",
		`{"subject": "{topic}"}`:                            "must begin with something fixed",
		`{"subject": "a.*"}`:                                `does not allow "*"`,
		`{"subject": "a..b"}`:                               "empty level",
		`{"subject": "a.{topics}"}`:                         "no placeholder {topics}, only {topic}, {topic.N}",
		`{"subject": "a.{topic"}`:                           "a { without a }",
		`{"subject": "a.topic}"}`:                           "a } without a {",
		`{"tls": {"ca": "/nowhere"}}`:                       "tls.ca: open /nowhere",
		`{"tls": {"cert": "/nowhere"}}`:                     "one needs the other",
	} {
		p := &plugin{config: defaults()}
		plugintest.Configure(t, config, &p.config)
		err := p.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// A password may have what separates URLs elsewhere, and is not logged when nobody answers.
func TestPasswordWithAComma(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan string, 1)
	go func() {
		defer close(sent)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "INFO {}\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		sent <- line
	}()
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": ["nats://u:s3,canary@%s"]}`, l.Addr()), &p.config)
	if p.options, err = p.config.options(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nobody
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := p.connect(ctx); err == nil || strings.Contains(err.Error(), "canary") {
			t.Error(err)
		}
		cancel()
		_ = l.Close()
	}
	if line := <-sent; !strings.Contains(line, `"pass":"s3,canary"`) {
		t.Error(line)
	}
}

// An event that no stream takes yet waits for one: that is no try.
func TestMissingStream(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	h := plugintest.RunTop(t, "spool: {tries: 1}", fmt.Sprintf("observe: true\ndelivery: durable\nconfig: {servers: [%q], subject: \"late.{topic}\"}", server.URL))
	h.Publish(t, "c", "a", "0")
	plugintest.Eventually(t, "it is tried", func() bool { return strings.Contains(h.Log(), "no stream takes the subject") })
	nc, err := nats.Connect(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LATE", Subjects: []string{"late.>"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	plugintest.Eventually(t, "it is stored", func() bool { return state(t, server.URL, "LATE").Msgs == 1 })
}

// Without JetStream, who subscribes gets it.
func TestCore(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	nc, err := nats.Connect(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("core.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "jetstream": false, "subject": "core.{hook}", "hooks": ["client.connected"]}`, server.URL), &p.config)
	h := plugintest.New(t, p)
	if _, err := h.OnClientConnected(t.Context(), &sdk.ClientConnectedRequest{Clientinfo: &sdk.ClientInfo{Clientid: "c", Password: "canary"}}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsgWithContext(t.Context())
	if err != nil || m.Subject != "core.client.connected" || string(m.Data) != `{"clientinfo":{"clientid":"c"}}` {
		t.Errorf("%v %v", m, err)
	}
}

// A stream that nobody has made is an error that says so, and an outage does not keep the
// plugin from starting.
func TestWithoutAStreamOrAServer(t *testing.T) {
	t.Parallel()
	server := targets.NATS(t)
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"servers": [%q], "subject": "nostream.{topic}"}`, server.URL), &p.config)
	err := plugintest.New(t, p).Publish(t.Context(), "1", &sdk.Message{Topic: "t"})
	if err == nil || !strings.Contains(err.Error(), `no stream takes the subject "nostream.t"`) {
		t.Error(err)
	}
	p = &plugin{config: defaults()}
	plugintest.Configure(t, `{"servers": ["nats://u:canary@127.0.0.1:1"]}`, &p.config)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = plugintest.New(t, p).Publish(ctx, "1", &sdk.Message{Topic: "t"})
	if err == nil || !strings.Contains(err.Error(), "connect to NATS") || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
