"""A plugin for the tests; what a request says decides what it does."""

import asyncio
import ctypes
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import hookmux

log = logging.getLogger("kitchen")


@dataclass
class Config:
    note: str = ""
    topics: dict[str, list[str]] = field(default_factory=dict)


class Notes:
    """A mixin: its hooks count."""

    def on_session_created(self, request: hookmux.SessionCreatedRequest) -> None:
        log.info("session", extra={"client": request.clientinfo.clientid, "number": 7})


class Kitchen(Notes, hookmux.Plugin):
    config: Config

    def on_start(self) -> None:
        self.topics = self.config.topics
        self.seen: list[str] = []
        self.together = threading.Barrier(8)
        print("printed in on_start", flush=True)

    def on_stop(self) -> None:
        print("printed in on_stop", self.config.note)

    def on_client_authenticate(self, request: hookmux.ClientAuthenticateRequest) -> hookmux.Access:
        match request.clientinfo.username:
            case "allow":
                return hookmux.allow()
            case "final":
                return hookmux.deny(final=True)
            case "raise":
                raise ValueError("no such\ndatabase")
            case "exit":
                sys.exit(3)
            case "none":
                return None  # type: ignore[return-value]
            case "unavailable":
                raise hookmux.Unavailable("no database") from OSError("refused")
            case "backend":
                raise ConnectionError("down")
            case "event id":
                raise ValueError(f"{hookmux.event_id()!r}")
            case "remaining":
                raise ValueError(f"{hookmux.remaining()}")
            case "barrier":
                self.together.wait(20)
                return hookmux.allow()
            case "until canceled":
                while not hookmux.canceled():
                    time.sleep(0.002)
                log.info("was canceled")
                return hookmux.deny()
            case "hang":
                threading.Event().wait()
            case "noise":
                print("x" * 200_000)
                os.write(1, b"from the descriptor\n")
                ctypes.CDLL(None).puts(b"from C")
                ctypes.CDLL(None).fflush(None)
                subprocess.run(["/bin/echo", "from a child"], check=True)
        return hookmux.no_opinion()

    async def on_client_authorize(self, request: hookmux.ClientAuthorizeRequest) -> hookmux.Access:
        if request.topic == "cancels itself":
            raise asyncio.CancelledError
        if request.topic == "unavailable":
            raise hookmux.Unavailable("no database")
        try:
            await asyncio.sleep(float(request.topic))
        except asyncio.CancelledError:
            log.info("sleep was canceled")
            raise
        return hookmux.allow()

    def on_message_publish(self, request: hookmux.MessagePublishRequest) -> hookmux.Answer:
        if request.message.topic == "drop":
            return hookmux.drop()
        request.message.payload += b"!"
        return hookmux.rewrite(request.message)

    def on_message_delivered(self, request: hookmux.MessageDeliveredRequest) -> None:
        if request.message.topic.startswith("slow"):
            time.sleep(0.002)
        if request.message.topic == "unavailable":
            raise hookmux.Unavailable("no database")
        if request.message.topic == "hang":
            threading.Event().wait()
        self.seen.append(request.clientinfo.clientid + "/" + request.message.id)

    async def on_message_acked(self, request: hookmux.MessageAckedRequest) -> None:
        await asyncio.sleep(0)
        self.seen.append(request.clientinfo.clientid + "/" + request.message.id)

    def on_client_disconnected(self, request: hookmux.ClientDisconnectedRequest) -> None:
        print("seen", *self.seen)


if __name__ == "__main__":
    hookmux.serve(Kitchen())
