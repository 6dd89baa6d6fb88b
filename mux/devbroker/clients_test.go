package devbroker

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqttv3 "github.com/eclipse/paho.mqtt.golang"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
	"google.golang.org/grpc/peer"
)

func peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// client5 is a connected MQTT 5 client.
type client5 struct {
	*paho.Client
	t       testing.TB
	ctx     context.Context
	conn    net.Conn
	connack *paho.Connack
	in      chan *paho.Publish // what it receives
	gone    chan struct{}
}

func ptr[T any](v T) *T { return &v }

// dial5 connects; err is the refusal, if any. manualAck leaves acknowledging to Ack.
func dial5(t testing.TB, addr string, c *paho.Connect, manualAck bool) (*client5, error) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	x := &client5{t: t, ctx: ctx, conn: conn, in: make(chan *paho.Publish, 100), gone: make(chan struct{})}
	x.Client = paho.NewClient(paho.ClientConfig{
		ClientID: c.ClientID, Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience,
		EnableManualAcknowledgment: manualAck, SendAcksInterval: time.Millisecond,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			x.in <- p.Packet
			return true, nil
		}},
		OnClientError: func(error) {},
	})
	t.Cleanup(func() { _ = conn.Close(); <-x.Done() })
	x.connack, err = x.Connect(ctx, c)
	return x, err
}

// mqtt5 connects and must be let in.
func mqtt5(t testing.TB, addr, id, user string) *client5 {
	t.Helper()
	return mustDial5(t, addr, connect5(id, user), false)
}

func mustDial5(t testing.TB, addr string, c *paho.Connect, manualAck bool) *client5 {
	t.Helper()
	x, err := dial5(t, addr, c, manualAck)
	if err != nil {
		t.Fatalf("connecting %q: %v", c.ClientID, err)
	}
	return x
}

// connect5 is the CONNECT that mosquitto 2.0 sends.
func connect5(id, user string) *paho.Connect {
	c := &paho.Connect{
		ClientID: id, KeepAlive: 60, CleanStart: true,
		Properties: &paho.ConnectProperties{ReceiveMaximum: ptr(uint16(20)), RequestProblemInfo: true},
	}
	if user != "" {
		c.Username, c.UsernameFlag = user, true
		c.Password, c.PasswordFlag = []byte("pw"), true
	}
	return c
}

func (x *client5) subscribe(qos byte, filters ...string) *paho.Suback {
	x.t.Helper()
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: qos})
	}
	ack, err := x.Subscribe(x.ctx, s)
	if ack == nil {
		x.t.Fatalf("subscribe %q: %v", filters, err)
	}
	return ack
}

func (x *client5) publish(qos byte, topic, payload string) (*paho.PublishResponse, error) {
	x.t.Helper()
	return x.Publish(x.ctx, &paho.Publish{QoS: qos, Topic: topic, Payload: []byte(payload)})
}

func (x *client5) receive() *paho.Publish {
	x.t.Helper()
	select {
	case p := <-x.in:
		return p
	case <-time.After(patience):
		x.t.Fatalf("%s: no message came", x.ClientID())
		return nil
	}
}

func (x *client5) leave(code byte) {
	x.t.Helper()
	if err := x.Disconnect(&paho.Disconnect{ReasonCode: code}); err != nil {
		x.t.Fatal(err)
	}
}

// client3 is a connected MQTT 3.1.1 client.
type client3 struct {
	mqttv3.Client
	t  testing.TB
	in chan mqttv3.Message
}

func options3(addr, id, user, password string) *mqttv3.ClientOptions {
	return mqttv3.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetUsername(user).SetPassword(password).
		SetProtocolVersion(4).SetKeepAlive(time.Minute).SetAutoReconnect(false).SetConnectTimeout(patience).SetOrderMatters(true)
}

func dial3(t testing.TB, o *mqttv3.ClientOptions) (*client3, error) {
	t.Helper()
	x := &client3{t: t, in: make(chan mqttv3.Message, 100)}
	x.Client = mqttv3.NewClient(o)
	token := x.Connect()
	token.Wait()
	t.Cleanup(func() { x.Client.Disconnect(0) })
	return x, token.Error()
}

func mustDial3(t testing.TB, addr, id, user, password string) *client3 {
	t.Helper()
	x, err := dial3(t, options3(addr, id, user, password))
	if err != nil {
		t.Fatalf("connecting %q: %v", id, err)
	}
	return x
}

func (x *client3) wait(token mqttv3.Token) error {
	x.t.Helper()
	if !token.WaitTimeout(patience) {
		x.t.Fatal("no acknowledgement came")
	}
	return token.Error()
}

// raw3 is a subscriber that writes its 3.1.1 packets itself, for what paho's client
// does not let one choose, such as the order of the filters in a SUBSCRIBE. It
// acknowledges what it receives.
type raw3 struct {
	t    testing.TB
	conn net.Conn
	in   chan packets3.ControlPacket // all but PUBLISH
}

// dialRaw3 sends CONNECT and returns with the CONNACK.
func dialRaw3(t testing.TB, addr string, edit func(*packets3.ConnectPacket)) (*raw3, *packets3.ConnackPacket) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	x := &raw3{t: t, conn: conn, in: make(chan packets3.ControlPacket, 100)}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		defer close(x.in)
		for {
			p, err := packets3.ReadPacket(conn)
			if err != nil {
				return
			}
			if m, ok := p.(*packets3.PublishPacket); !ok {
				x.in <- p
			} else if m.Qos == 1 {
				ack := packets3.NewControlPacket(packets3.Puback).(*packets3.PubackPacket)
				ack.MessageID = m.MessageID
				_ = ack.Write(conn)
			}
		}
	}()
	c := packets3.NewControlPacket(packets3.Connect).(*packets3.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.Keepalive, c.CleanSession = "MQTT", 4, 60, true
	edit(c)
	x.send(c)
	ack, _ := x.next().(*packets3.ConnackPacket)
	return x, ack
}

func (x *raw3) send(p packets3.ControlPacket) {
	x.t.Helper()
	if err := p.Write(x.conn); err != nil {
		x.t.Fatal(err)
	}
}

func (x *raw3) next() packets3.ControlPacket {
	x.t.Helper()
	select {
	case p := <-x.in:
		return p
	case <-time.After(patience):
		x.t.Fatal("no packet came")
		return nil
	}
}

func (x *raw3) subscribe(qos byte, filters ...string) {
	x.t.Helper()
	s := packets3.NewControlPacket(packets3.Subscribe).(*packets3.SubscribePacket)
	s.MessageID, s.Topics = 1, filters
	for range filters {
		s.Qoss = append(s.Qoss, qos)
	}
	x.send(s)
	if _, ok := x.next().(*packets3.SubackPacket); !ok {
		x.t.Fatal("no SUBACK came")
	}
}

func (x *raw3) leave() {
	x.t.Helper()
	x.send(packets3.NewControlPacket(packets3.Disconnect))
}

func connectRaw(id, user string) func(*packets3.ConnectPacket) {
	return func(c *packets3.ConnectPacket) {
		c.ClientIdentifier, c.Username, c.UsernameFlag = id, user, user != ""
	}
}
