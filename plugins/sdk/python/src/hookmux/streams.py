"""App protocol 2: hookmux.plugin.v1, a stream for decisions and one for notifications."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from ._proto import plugin_pb2 as wire
from .call import Call
from .methods import CallError, Method
from .workers import Workers

# How much of each stream may be under way. Reading pauses at either limit, so they
# bound the memory, whatever hookmux sends.
MAX_DECISIONS = 1024
MAX_NOTIFICATIONS = 4096
MAX_STREAM_BYTES = 32 << 20
# A batch of replies is sent when it is larger than this.
MAX_REPLIES_BYTES = 1 << 20

# How many notifications are handled beside each other, and in how many groups their
# keys fall.
NOTIFY_WORKERS = 16
NOTIFY_SHARDS = 64

# While notifications are handled it is looked again and again, from this often to this
# seldom, whether replies wait, and whether one more worker is needed.
_WATCH_FIRST, _WATCH_LAST = 0.001, 0.05

Run = Callable[[Method, Call], "Future[bytes]"]

# An answer, or an error, and whether that is that something is away.
Outcome = tuple[bytes, str, bool]


class Stream:
    """One of the two streams. All but reply runs on the serving event loop."""

    def __init__(self, methods: dict[int, Method], run_async: Run, max_events: int) -> None:
        self.methods = methods
        self.run_async = run_async
        self.loop = asyncio.get_running_loop()
        self.calls: dict[int, Call] = {}  # read, and their reply not sent
        self.tasks: dict[int, Future[bytes]] = {}  # of async methods that run
        self._max_events = max_events
        self._bytes = 0
        self._room = asyncio.Event()
        self._replies: list[tuple[Call, Outcome]] = []
        self._waking = False
        self._wake = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._abandoned = False
        self.ended = asyncio.Event()

    # What a kind of stream does with its events.

    async def handle(self, events: Iterable[wire.Event]) -> None:
        raise NotImplementedError

    # Reading.

    async def room(self) -> None:
        """Wait until an event more may be under way; the first one always may."""
        while len(self.calls) >= self._max_events or self._bytes >= MAX_STREAM_BYTES:
            self._room.clear()
            await self._room.wait()

    def enter(self, e: wire.Event) -> tuple[Method, Call] | None:
        """Take an event in; None: it is answered already."""
        call = Call(e.request, e.id, e.timeout_us, e.event_id)
        self.calls[call.id] = call
        self._bytes += len(call.request)
        method = self.methods.get(e.hook)
        if method is None:
            self.reply(call, (b"", f"hook {e.hook} is not known to this plugin", False))
            return None
        return method, call

    async def _read(self, context: Any) -> None:
        try:
            while True:
                await self.room()
                data = await context.read()
                if data is grpc.aio.EOF:
                    return
                batch = wire.Events.FromString(data)
                await self.handle(batch.events)
                for i in batch.canceled:
                    self.cancel(i)
        finally:
            self._wake.set()

    def cancel(self, id: int) -> None:
        if call := self.calls.get(id):
            call.canceled = True
        if task := self.tasks.get(id):
            task.cancel()

    # Writing.

    def reply(self, call: Call, outcome: Outcome) -> None:
        """Put a reply into the next batch, from any thread; flush_soon sends it."""
        self._replies.append((call, outcome))
        self.flush_soon()

    def flush_soon(self) -> None:
        if not self._waking:
            self._waking = True
            self.loop.call_soon_threadsafe(self.flush)

    def flush(self) -> None:
        self._waking = False  # before the replies are taken
        self._wake.set()

    def _take(self) -> bytes:
        """The replies so far as a batch; of large ones not all."""
        batch = wire.Replies()
        done = []
        size = taken = 0
        # Other threads append meanwhile; what is there does not move.
        for call, (answer, error, unavailable) in itertools.islice(self._replies, len(self._replies)):
            if error or answer:
                batch.replies.add(id=call.id, answer=answer, error=error, unavailable=unavailable)
                size += len(answer)
            else:
                done.append(call.id)
            self._bytes -= len(call.request)
            self.calls.pop(call.id, None)
            taken += 1
            if size > MAX_REPLIES_BYTES:
                break
        del self._replies[:taken]
        batch.done.extend(done)
        self._room.set()
        return batch.SerializeToString()

    async def serve(self, context: Any) -> None:
        """Answer events until hookmux ends the stream, or the plugin stops."""
        self._reading = asyncio.create_task(self._read(context))
        try:
            while not self._is_over():
                await self._wake.wait()
                self._wake.clear()
                while self._replies:
                    await context.write(self._take())
            if not self._reading.done() or self._reading.cancelled():
                return
            err = self._reading.exception()
            if isinstance(err, DecodeError):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the batch is malformed")
            elif err:
                raise err
        finally:
            self._reading.cancel()
            for call in self.calls.values():
                call.canceled = True
            for task in list(self.tasks.values()):
                task.cancel()
            self.close()

    def _is_over(self) -> bool:
        reading = self._reading
        if reading is None or self._abandoned:
            return True
        if not reading.done():
            return False
        if not reading.cancelled() and reading.exception():
            return True
        return not self.calls

    def close(self) -> None:
        """The stream has ended."""

    def stop(self) -> None:
        """Take no new events; the stream ends when those under way are answered."""
        if self._reading:
            self._reading.cancel()

    def abandon(self) -> None:
        """End the stream with what is answered so far."""
        self._abandoned = True
        self._wake.set()


class Decisions(Stream):
    """Somebody waits for every event: each is handled beside the others."""

    def __init__(self, methods: dict[int, Method], run_async: Run, workers: Workers) -> None:
        super().__init__(methods, run_async, MAX_DECISIONS)
        self._workers = workers

    async def handle(self, events: Iterable[wire.Event]) -> None:
        for e in events:
            await self.room()
            if (taken := self.enter(e)) is None:
                continue
            method, call = taken
            call.begin()
            if method.is_async:
                future = self.tasks[call.id] = self.run_async(method, call)
                future.add_done_callback(lambda f, call=call: self._answered(call, f))  # type: ignore[misc]
            else:
                self._workers.submit(lambda method=method, call=call: self._run(method, call))  # type: ignore[misc]

    def _run(self, method: Method, call: Call) -> None:
        self.reply(call, _outcome(method, call))

    def _answered(self, call: Call, future: Future[bytes]) -> None:
        self.tasks.pop(call.id, None)
        self.reply(call, _outcome(future.result))


def _outcome(run: Callable[..., bytes], *args: Call) -> Outcome:
    try:
        return run(*args), "", False
    except CallError as err:
        return b"", str(err), err.kind == "UNAVAILABLE"
    except BaseException as err:  # canceled before it began
        return b"", str(err) or "canceled", False


class Shard:
    """The queue of a group of keys: one worker at a time handles it."""

    __slots__ = ("events", "scheduled")

    def __init__(self) -> None:
        self.events: list[tuple[Method, Call]] = []
        self.scheduled = False  # is ready, or has a worker


class Notifications(Stream):
    """Events with the same key are handled one after another, in their order.

    Quick methods are all run by one worker, which costs one wake a batch; slow ones
    get all workers within some milliseconds.
    """

    def __init__(self, methods: dict[int, Method], run_async: Run) -> None:
        super().__init__(methods, run_async, MAX_NOTIFICATIONS)
        self._shards = [Shard() for _ in range(NOTIFY_SHARDS)]
        self._next = 0  # the shard for an event without a key
        self._workers = Workers("hookmux-notify", NOTIFY_WORKERS)
        self._watch: asyncio.TimerHandle | None = None
        self._pause = _WATCH_FIRST
        # With the lock held:
        self._lock = threading.Lock()
        self._ready: deque[Shard] = deque()
        self._busy = 0

    async def handle(self, events: Iterable[wire.Event]) -> None:
        touched = []
        with self._lock:
            for e in events:
                if (taken := self.enter(e)) is None:
                    continue
                if key := e.key:
                    shard = self._shards[hash(key) % NOTIFY_SHARDS]
                else:
                    self._next += 1
                    shard = self._shards[self._next % NOTIFY_SHARDS]
                shard.events.append(taken)
                if not shard.scheduled:
                    shard.scheduled = True
                    touched.append(shard)
            self._ready.extend(touched)
            start = bool(touched) and self._busy == 0
            self._busy += start
        if start:
            self._workers.submit(self._work)
        self._pause = _WATCH_FIRST
        if self._watch is None:
            self._watch = self.loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        """Send what slow methods hold up, and set one more worker to work if shards wait."""
        self._watch = None
        if self._replies:
            self.flush()
        with self._lock:
            more = bool(self._ready) and self._busy < NOTIFY_WORKERS
            self._busy += more
            busy = self._busy
        if more:
            self._workers.submit(self._work)
        if busy:
            self._pause = min(2 * self._pause, _WATCH_LAST)
            self._watch = self.loop.call_later(self._pause, self._look)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._ready:
                    self._busy -= 1
                    break
                shard = self._ready.popleft()
                run, shard.events = shard.events, []
            while run:
                for method, call in run:
                    self._run(method, call)
                with self._lock:
                    run, shard.events = shard.events, []
                    shard.scheduled = bool(run)
        self.flush_soon()

    def _run(self, method: Method, call: Call) -> None:
        call.begin()  # what it waited behind others is not its time
        if method.is_async:
            future = self.tasks[call.id] = self.run_async(method, call)
            outcome = _outcome(future.result)
            del self.tasks[call.id]
        else:
            outcome = _outcome(method, call)
        self._replies.append((call, outcome))

    def close(self) -> None:
        if self._watch:
            self._watch.cancel()
