package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// refused is the MQTT reason for what is not allowed.
const refused = 0x87

// device is one of the fleet.
type device struct {
	i    int
	mqtt string
	done *tally
}

// life is what a device goes through: two sessions, half of its messages in each.
func (d *device) life(ctx context.Context, messages int) error {
	if d.i%50 == 1 {
		if c, code, err := d.connect(ctx, "a guess"); err != nil || c != nil {
			return fmt.Errorf("a wrong password was answered with code %#x: %w", code, err)
		}
		d.done.wrongPasswords.Add(1)
	}
	first, err := d.login(ctx)
	if err != nil {
		return err
	}
	if err := d.publish(ctx, first, 0, messages/2); err != nil {
		return err
	}
	if d.i%25 == 2 {
		if err := d.trespass(ctx, first); err != nil {
			return err
		}
	}
	switch d.i % 10 {
	case 3: // it comes back while the broker thinks that it is there: a takeover
	case 4: // it falls off the network
		_ = first.conn.Close()
		<-first.Done()
	default:
		first.leave()
	}
	second, err := d.login(ctx)
	if err != nil {
		return err
	}
	first.leave()
	defer second.leave()
	return d.publish(ctx, second, messages/2, messages)
}

// connection is one of a device's connections.
type connection struct {
	*paho.Client
	conn net.Conn
}

// connect gives no connection when the broker refuses it with the code.
func (d *device) connect(ctx context.Context, password string) (c *connection, code byte, err error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", d.mqtt)
	if err != nil {
		return nil, 0, err
	}
	id := deviceID(d.i)
	c = &connection{conn: conn}
	c.Client = paho.NewClient(paho.ClientConfig{
		ClientID: id, Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience,
		OnClientError: func(error) {}, // the next operation tells
	})
	ack, err := c.Connect(ctx, &paho.Connect{
		ClientID: id, KeepAlive: 300, CleanStart: true,
		UsernameFlag: true, Username: id, PasswordFlag: true, Password: []byte(password),
	})
	switch {
	case ack == nil:
		_ = conn.Close()
		return nil, 0, fmt.Errorf("no CONNACK: %w", err)
	case err != nil:
		_ = conn.Close()
		return nil, ack.ReasonCode, nil
	}
	return c, 0, nil
}

// login connects and subscribes to the device's commands.
func (d *device) login(ctx context.Context) (*connection, error) {
	c, code, err := d.connect(ctx, password(d.i))
	if err == nil && c == nil {
		err = fmt.Errorf("the right password was refused with code %#x", code)
	}
	if err != nil {
		return nil, err
	}
	d.done.sessions.Add(1)
	ack, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic(d.i, "commands"), QoS: 1}}})
	if ack == nil || len(ack.Reasons) != 1 || ack.Reasons[0] > 2 {
		return nil, fmt.Errorf("its own topic was refused: %w", err)
	}
	return c, nil
}

func topic(device int, what string) string { return "fleet/" + deviceID(device) + "/" + what }

// publish sends messages number from to to. One whose acknowledgement came was stored.
func (d *device) publish(ctx context.Context, c *connection, from, to int) error {
	for n := from; n < to; n++ {
		res, err := c.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic(d.i, "data"), Payload: fmt.Appendf(nil, `{"n":%d,"at":%d}`, n, time.Now().UnixMilli())})
		if res == nil || res.ReasonCode >= 0x80 {
			return fmt.Errorf("message %d was not acknowledged: %w", n, errors.Join(err, ctx.Err()))
		}
		d.done.message()
	}
	return nil
}

// trespass tries what the device may not.
func (d *device) trespass(ctx context.Context, c *connection) error {
	res, err := c.Publish(ctx, &paho.Publish{QoS: 1, Topic: topic(d.i+1, "data"), Payload: []byte(`{"n":-1}`)})
	if res == nil || res.ReasonCode != refused {
		return fmt.Errorf("it could publish for another one: %v, %w", res, err)
	}
	ack, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "fleet/#", QoS: 1}}})
	if ack == nil || len(ack.Reasons) != 1 || ack.Reasons[0] != refused {
		return fmt.Errorf("it could listen to all others: %v, %w", ack, err)
	}
	d.done.trespasses.Add(2)
	return nil
}

// leave disconnects, if it is connected, and waits for the connection's goroutines.
func (c *connection) leave() {
	_ = c.Disconnect(&paho.Disconnect{})
	_ = c.conn.Close()
	<-c.Done()
}
