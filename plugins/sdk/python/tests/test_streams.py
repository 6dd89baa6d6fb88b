"""What a stream has under way is bounded; with a fake of gRPC's context."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest

from hookmux import streams
from hookmux._proto import plugin_pb2 as wire
from hookmux.call import Call
from hookmux.workers import Workers


class Held:
    """A method whose calls wait until they are let go."""

    is_async = False

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, call: Call) -> bytes:
        assert self.go.wait(20)
        return b""


class Context:
    """A stream of as many batches of one event each."""

    def __init__(self, batches: int, size: int) -> None:
        self.left = batches
        self.size = size
        self.replied = 0

    async def read(self) -> Any:
        if not self.left:
            return grpc.aio.EOF
        self.left -= 1
        return wire.Events(
            events=[wire.Event(id=self.left, hook=wire.HOOK_CLIENT_CONNECT, key=b"k", request=b"x" * self.size)]
        ).SerializeToString()

    async def write(self, data: bytes) -> None:
        batch = wire.Replies.FromString(data)
        self.replied += len(batch.replies) + len(batch.done)


def test_a_durable_event_has_its_id() -> None:
    seen = []

    class Sees(Held):
        def __call__(self, call: Call) -> bytes:
            seen.append(call.event_id)
            return b""

    class One(Context):
        async def read(self) -> Any:
            if not self.left:
                return grpc.aio.EOF
            self.left -= 1
            event = wire.Event(id=1, hook=wire.HOOK_CLIENT_CONNECT, request=b"x", event_id="e-1")
            return wire.Events(events=[event]).SerializeToString()

    async def run() -> None:
        methods: Any = {wire.HOOK_CLIENT_CONNECT: Sees()}
        await streams.Notifications(methods, lambda method, call: None).serve(One(1, 1))  # type: ignore[arg-type,return-value]

    asyncio.run(run())
    assert seen == ["e-1"]


@pytest.mark.parametrize(
    ("kind", "size", "under_way"),
    [
        ("Notifications", 1 << 20, streams.MAX_STREAM_BYTES >> 20),
        ("Notifications", 10, streams.MAX_NOTIFICATIONS),
        ("Decisions", 1 << 20, streams.MAX_STREAM_BYTES >> 20),
        ("Decisions", 10, 100),
        ("Notifications", 33 << 20, 1),  # the first one always may
    ],
)
def test_what_is_under_way_is_bounded(kind: str, size: int, under_way: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_DECISIONS", 100)  # as many threads
    batches = under_way + 5

    async def run() -> None:
        held = Held()
        context = Context(batches, size)
        if kind == "Decisions":
            stream: streams.Stream = streams.Decisions({3: held}, Any, Workers("held", 1000))  # type: ignore[dict-item, arg-type]
        else:
            stream = streams.Notifications({3: held}, Any)  # type: ignore[dict-item, arg-type]
        serving = asyncio.create_task(stream.serve(context))
        for _ in range(3 * batches):  # more than enough for all, if there were no bound
            await asyncio.sleep(0)
        taken = batches - context.left
        held.go.set()
        await serving
        # One more is read, and waits to be taken in, where there is room for each to be had.
        assert under_way <= taken <= under_way + 1
        assert context.replied == batches

    asyncio.run(asyncio.wait_for(run(), 60))
