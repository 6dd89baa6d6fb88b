// Package devbroker is a real MQTT broker that calls one ExHook HookProvider as EMQX
// does: the demo's broker, and what tests drive with real MQTT clients. It is
// mochi-mqtt with EMQX's habits; it is not for production.
//
//	b, err := devbroker.Start(ctx, devbroker.Config{ExHook: "http://127.0.0.1:9000"})
//	defer b.Close()
//	// connect any MQTT 3.1, 3.1.1 or 5 client to b.Addr()
//
// # Order
//
// OnProviderLoaded comes first; until it has succeeded once, clients are let in
// unhooked, and it is retried every AutoReconnect. Then, per client, in the order
// of the recordings:
//
//	connect     client.connect, client.authenticate, session.created or resumed,
//	            client.connected, client.connack; refused: straight to client.connack
//	subscribe   client.authorize per filter, client.subscribe with those that passed,
//	            session.subscribed per filter; unsubscribe alike, without authorize
//	publish     client.authorize, message.publish, message.dropped if nobody listens,
//	            the acknowledgement; per subscriber message.delivered, message.acked
//	end         the will's client.authorize and message.publish, client.disconnected,
//	            session.terminated unless the session is kept
//	replaced    the new connection's session.resumed (created), then the old one's
//	            client.disconnected if it was connected, session.takenover (discarded)
//
// # What may block
//
// Every call is a synchronous round trip of up to RequestTimeout, and the calls of
// one client go one after another, as in EMQX's process per client. A slow
// provider makes a client wait, not its neighbours; a subscriber's
// message.delivered holds up that subscriber's messages only.
//
// # Releases
//
// Config.Release picks the dialect: 4.x speaks v1, 5.0 – 5.8 v2, from 5.9 v3;
// inside v2, before 5.4 there is no peerport, filters lose their $share prefix and
// an offline session that is replaced is disconnected a second time. Before 5.9
// user properties are one Erlang term, and IGNORE on client.authenticate denies.
//
// # Limits
//
// What differs from EMQX, besides that it has one provider, one node, no TLS, no
// unix sockets, no message.ingress and no authenticators or rules of its own:
//
//   - gRPC is grpc-go's: no grpc-message-type header, its name after EMQX's in
//     user-agent, RST_STREAM on a timeout, and a call that timed out in an outage is
//     not sent late. Before 5.9 calls wait for a lost connection, up to their
//     timeout, but without EMQX's gap of 5 s after its return.
//   - A client's publish to $SYS/ goes nowhere, unacknowledged: mochi ignores it. It
//     never reaches a message hook, as with EMQX, but neither client.authorize.
//   - QoS 0 messages are not queued for an offline session.
//   - What a session has queued is sent at once when it is resumed, whatever the
//     client's Receive-Maximum; afterwards that is kept, up to 32 as in EMQX.
//   - MQTT 3.1.1 sessions with clean=0 are kept until the broker ends.
//   - A client that comes back with clean=0 while its old connection with clean=1 (3.1.1)
//     is still there discards that session instead of taking it over.
//   - What mochi refuses it disconnects in its own way: malformed packets, too many
//     messages in flight, invalid topic filters.
//
// # Testing with it
//
// Listen on "127.0.0.1:0", shorten AutoReconnect and StatusCheck, wait with
// [Broker.WaitLoaded]. recordings_test.go compares it, hook by hook and field by
// field, with three real brokers.
package devbroker
