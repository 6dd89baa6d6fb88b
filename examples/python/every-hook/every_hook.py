"""Hooks every event and prints it: delete what you do not need."""

from typing import Any

import hookmux


class EveryHook(hookmux.Plugin):
    def on_client_authenticate(self, r: hookmux.ClientAuthenticateRequest) -> hookmux.Access:
        print(f"client.authenticate {r.clientinfo.clientid} as {r.clientinfo.username!r}")
        return hookmux.no_opinion()

    def on_client_authorize(self, r: hookmux.ClientAuthorizeRequest) -> hookmux.Access:
        what = "publish" if r.type == hookmux.PUBLISH else "subscribe"
        print(f"client.authorize {r.clientinfo.clientid} {what} {r.topic}")
        return hookmux.no_opinion()

    def on_message_publish(self, r: Any) -> hookmux.Answer:
        print(f"{type(r).__name__} {getattr(r.message, 'from')} {r.message.topic} {len(r.message.payload)} bytes")
        return hookmux.pass_()

    def connection(self, r: Any) -> None:
        print(f"{type(r).__name__} {r.conninfo.clientid} from {r.conninfo.peerhost}")

    def client(self, r: Any) -> None:
        print(f"{type(r).__name__} {r.clientinfo.clientid}")

    def message(self, r: Any) -> None:
        print(f"{type(r).__name__} {getattr(r.message, 'from')} {r.message.topic}")

    on_message_ingress = on_message_publish
    on_client_connect = on_client_connack = connection
    on_client_connected = on_client_disconnected = client
    on_client_subscribe = on_client_unsubscribe = client
    on_session_created = on_session_subscribed = on_session_unsubscribed = client
    on_session_resumed = on_session_discarded = on_session_takenover = on_session_terminated = client
    on_message_delivered = on_message_dropped = on_message_acked = message


if __name__ == "__main__":
    hookmux.serve(EveryHook())
