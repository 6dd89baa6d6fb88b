"""What hookmux does to a plugin, as far as the tests need it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from hookmux._proto import exhook_pb2 as exhook
from hookmux._proto import plugin_pb2 as wire
from hookmux.hooks import HOOKS

SRC = str(Path(__file__).parent.parent / "src")
NUMBER = {h.request: h.number for h in HOOKS}
RPC = {h.request: h.rpc for h in HOOKS}
KITCHEN = Path(__file__).parent / "kitchen.py"


def environment(socket_dir: object, versions: str, config: object) -> dict[str, str]:
    return {
        "HOOKMUX_PLUGIN": "9f6cf0b2-exhook",
        "HOOKMUX_NAME": "kitchen",
        "HOOKMUX_CONFIG": json.dumps(config or {}),
        "PLUGIN_PROTOCOL_VERSIONS": versions,
        "PLUGIN_UNIX_SOCKET_DIR": str(socket_dir),
        "PYTHONPATH": SRC,
    }


class Host:
    """A plugin's process and a connection to it."""

    def __init__(self, socket_dir: object, versions: str = "1,2", config: object = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, KITCHEN],
            env=environment(socket_dir, versions, config),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stderr
        self.log: list[str] = []
        self._stderr = threading.Thread(target=lambda: self.log.extend(iter(self.process.stderr.readline, "")))  # type: ignore[union-attr]
        self._stderr.start()
        self.handshake = self.process.stdout.readline().strip()
        assert self.handshake, self.stop()
        self.channel = grpc.insecure_channel(
            "unix:" + self.handshake.split("|")[3],
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self.streams: list[Stream] = []

    def stream(self, rpc: str) -> Stream:
        s = Stream(self.channel, rpc)
        self.streams.append(s)
        return s

    def call(self, request: Any, timeout: float = 20) -> Any:
        """One call of app protocol 1."""
        rpc = RPC[type(request)]
        answer = exhook.DESCRIPTOR.services_by_name["HookProvider"].methods_by_name[rpc].output_type.name
        return getattr(exhook, answer).FromString(
            self.raw(f"emqx.exhook.v3.HookProvider/{rpc}", request.SerializeToString(), timeout)
        )

    def raw(self, method: str, request: bytes, timeout: float = 20) -> bytes:
        call: Any = self.channel.unary_unary("/" + method)
        return call(request, timeout=timeout, wait_for_ready=True)  # type: ignore[no-any-return]

    def shutdown(self) -> None:
        self.raw("plugin.GRPCController/Shutdown", b"")

    def until(self, text: str) -> str:
        """The line of the plugin's log that contains text."""
        for _ in range(4000):
            for line in list(self.log):
                if text in line:
                    return line
            time.sleep(0.005)  # the pause of a poll
        raise AssertionError(f"{text!r} is not in the log: {self.log}")

    def stop(self) -> tuple[int, str]:
        """How the process has ended, and its log."""
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._stderr.join()
        return code, "".join(self.log)

    def close(self) -> None:
        self.channel.close() if hasattr(self, "channel") else None
        self.process.kill()
        self.process.wait()
        self._stderr.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def terminate(self) -> None:
        os.kill(self.process.pid, signal.SIGTERM)


class Stream:
    """One stream of app protocol 2."""

    def __init__(self, channel: grpc.Channel, rpc: str) -> None:
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        open_stream: Any = channel.stream_stream("/hookmux.plugin.v1.Plugin/" + rpc)
        self._in = open_stream(iter(self._out.get, None))
        self._ready: dict[int, wire.Reply] = {}
        self._id = 0

    def send(self, *requests: Any, key: str = "", timeout: float = 20, canceled: tuple[int, ...] = ()) -> list[int]:
        """Send a batch; the ids of its events."""
        batch = wire.Events(canceled=canceled)
        for r in requests:
            self._id += 1
            batch.events.add(
                id=self._id,
                hook=NUMBER[type(r)],
                timeout_us=int(timeout * 1e6),
                key=key.encode(),
                request=r.SerializeToString(),
            )
        self.raw(batch.SerializeToString())
        return [e.id for e in batch.events]

    def raw(self, batch: bytes) -> None:
        self._out.put(batch)

    def replies(self) -> Iterator[wire.Reply]:
        """As they come."""
        for data in self._in:
            batch = wire.Replies.FromString(data)
            yield from batch.replies
            yield from (wire.Reply(id=i) for i in batch.done)

    def reply(self, id: int) -> wire.Reply:
        while id not in self._ready:
            batch = wire.Replies.FromString(next(self._in))
            self._ready.update((r.id, r) for r in batch.replies)
            self._ready.update((i, wire.Reply(id=i)) for i in batch.done)
        return self._ready.pop(id)

    def ask(self, request: Any, **how: Any) -> wire.Reply:
        return self.reply(self.send(request, **how)[0])

    def half_close(self) -> None:
        self._out.put(None)

    def status(self) -> grpc.StatusCode:
        return self._in.code()  # type: ignore[no-any-return]
