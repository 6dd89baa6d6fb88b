package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// mqttClient is a connected MQTT 5 client, whose acknowledgements tell why.
type mqttClient struct {
	*paho.Client
	conn net.Conn

	mu  sync.Mutex
	got []message // what it received
}

type message struct{ topic, payload string }

// dialMQTT connects and returns the code of the CONNACK; an error means that
// there was none. The client is nil unless it was let in.
func dialMQTT(ctx context.Context, addr, id, user, password string) (*mqttClient, byte, error) {
	conn, err := (&net.Dialer{Timeout: demoPatience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	c := &mqttClient{conn: conn}
	c.Client = paho.NewClient(paho.ClientConfig{
		ClientID: id, Conn: packets.NewThreadSafeConn(conn), PacketTimeout: demoPatience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, message{p.Packet.Topic, string(p.Packet.Payload)})
			return true, nil
		}},
		OnClientError: func(error) {}, // the next operation tells
	})
	ack, err := c.Connect(ctx, &paho.Connect{
		ClientID: id, KeepAlive: 60, CleanStart: true,
		UsernameFlag: true, Username: user, PasswordFlag: true, Password: []byte(password),
	})
	switch {
	case ack == nil:
		return nil, 0, fmt.Errorf("%s got no CONNACK: %w", user, err)
	case err != nil:
		return nil, ack.ReasonCode, nil
	}
	return c, ack.ReasonCode, nil
}

// subscribe returns the code of the SUBACK.
func (c *mqttClient) subscribe(ctx context.Context, filter string) (byte, error) {
	ack, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if ack == nil || len(ack.Reasons) != 1 {
		return 0, fmt.Errorf("no SUBACK came for %s: %w", filter, err)
	}
	return ack.Reasons[0], nil
}

// publish sends with QoS 1 and returns the code of the PUBACK.
func (c *mqttClient) publish(ctx context.Context, topic, payload string) (byte, error) {
	res, err := c.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic, Payload: []byte(payload)})
	if res == nil {
		return 0, fmt.Errorf("no PUBACK came for %s: %w", topic, err)
	}
	return res.ReasonCode, nil
}

func (c *mqttClient) received() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[:len(c.got):len(c.got)]
}

// leave disconnects and waits for the client's goroutines.
func (c *mqttClient) leave() {
	_ = c.Disconnect(&paho.Disconnect{})
	_ = c.conn.Close()
	<-c.Done()
}
