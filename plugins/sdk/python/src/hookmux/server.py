"""Serving hookmux: handshake, one of the app protocols, and the end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import grpc
import grpc.aio

from .hooks import HOOKS, Hook, Plugin, declared
from .methods import Method, methods_of
from .streams import MAX_DECISIONS, Decisions, Notifications, Stream
from .unary import SERVICE, Unary
from .workers import Workers

COOKIE = ("HOOKMUX_PLUGIN", "9f6cf0b2-exhook")

# How long stopping may take: hookmux kills what is still there two seconds after it
# has asked for the end and got its answer.
_DRAIN = 1.0
_LAST_ANSWERS = 0.25
_ON_STOP = 1.5

_PARENT = os.getppid()  # after the parent's end it is another one
_PARENT_POLL = 0.5

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # an MQTT message may be large
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.so_reuseport", 0),
]


class StopError(Exception):
    """on_stop has raised, or was not done in time."""


class AsyncMethods:
    """The event loop of the plugin's async methods, in a thread of its own: one of
    them that blocks does not hold up the serving."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, awaitable: Any) -> Future[Any]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="hookmux-async", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop)

    def run(self, method: Method, call: Any) -> Future[bytes]:
        return self.submit(method.run(call))

    def close(self) -> None:
        """End the loop; for tests. A process takes it along when it ends."""
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None

    def call(self, function: Callable[[], Awaitable[None] | None]) -> Future[None]:
        """Run on_start or on_stop, of either kind, beside the serving."""
        if asyncio.iscoroutinefunction(function):
            return self.submit(function())
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                function()
            except BaseException as err:
                future.set_exception(err)
            else:
                future.set_result(None)

        threading.Thread(target=run, name="hookmux-lifecycle", daemon=True).start()
        return future


class Server:
    """One run of a plugin under hookmux."""

    def __init__(self, plugin: Plugin, hooks: list[Hook], handshake: int) -> None:
        self._plugin = plugin
        self._hooks = hooks
        self._handshake = handshake  # file descriptor
        self._async = AsyncMethods()
        self._stop = asyncio.Event()
        self._serving: set[Stream] = set()
        self._unary: Unary | None = None
        self._drained: asyncio.Task[None] | None = None
        self._methods: dict[int, Method] = {}
        self._workers = Workers("hookmux-decide", MAX_DECISIONS)

    async def run(self) -> None:
        """Serve until hookmux says Shutdown, SIGTERM, or the end of the parent process."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop.set)
        stop = asyncio.create_task(self._stop.wait())
        starting = asyncio.ensure_future(asyncio.wrap_future(self._async.call(self._plugin.on_start)))
        await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        if self._stop.is_set():
            return  # told to stop before it had begun
        starting.result()
        server = await self._listen()
        parent = asyncio.create_task(self._watch_parent())
        try:
            await stop
            await self._drain()
            await server.stop(_LAST_ANSWERS)
        finally:
            parent.cancel()
            await self._on_stop()

    async def _listen(self) -> grpc.aio.Server:
        loaded = declared(self._plugin, self._hooks).SerializeToString()
        self._methods = methods_of(self._plugin, self._hooks, loaded, HOOKS)
        version = 2 if "2" in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "1").split(",") else 1
        services: dict[str, dict[str, Any]] = {
            "grpc.health.v1.Health": {"Check": grpc.unary_unary_rpc_method_handler(self._check)},
            "plugin.GRPCController": {"Shutdown": grpc.unary_unary_rpc_method_handler(self._shutdown)},
        }
        if version == 1:
            self._unary = Unary(self._methods, self._async.run)
            services[SERVICE] = self._unary.handlers
        else:
            services["hookmux.plugin.v1.Plugin"] = {
                "Decide": grpc.stream_stream_rpc_method_handler(self._decide),
                "Notify": grpc.stream_stream_rpc_method_handler(self._notify),
            }
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(n, h) for n, h in services.items()])
        path = _socket_path()
        server.add_insecure_port("unix:" + path)
        await server.start()
        gc.collect()
        gc.freeze()  # what is there now stays: no need to look through it again
        os.write(self._handshake, f"1|{version}|unix|{path}|grpc\n".encode())
        return server

    # The handlers. Requests and answers are bytes.

    async def _decide(self, _: Any, context: Any) -> None:
        await self._serve(Decisions(self._methods, self._async.run, self._workers), context)

    async def _notify(self, _: Any, context: Any) -> None:
        await self._serve(Notifications(self._methods, self._async.run), context)

    async def _serve(self, stream: Stream, context: Any) -> None:
        self._serving.add(stream)
        try:
            await stream.serve(context)
        finally:
            self._serving.discard(stream)
            stream.ended.set()

    async def _check(self, request: bytes, context: Any) -> bytes:
        """grpc.health.v1: {service = 1} to {status = 1}, SERVING."""
        if request not in (b"", b"\x0a\x06plugin"):
            await context.abort(grpc.StatusCode.NOT_FOUND, "the service is called plugin")
        return b"\x08\x01"

    async def _shutdown(self, _: bytes, context: Any) -> bytes:
        """plugin.GRPCController: answered when what was under way is."""
        await self._drain()
        self._stop.set()
        return b""

    # The end.

    def _drain(self) -> Awaitable[None]:
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain_once())
        return asyncio.shield(self._drained)

    async def _drain_once(self) -> None:
        for stream in self._serving:
            stream.stop()
        under_way: set[asyncio.Task[Any]] = {asyncio.create_task(stream.ended.wait()) for stream in self._serving}
        if self._unary:
            under_way.add(asyncio.create_task(self._unary.stop()))
        if under_way:
            await asyncio.wait(under_way, timeout=_DRAIN)
        for stream in self._serving:
            stream.abandon()

    async def _on_stop(self) -> None:
        try:
            async with asyncio.timeout(_ON_STOP):
                await asyncio.wrap_future(self._async.call(self._plugin.on_stop))
        except TimeoutError as err:
            raise StopError(f"on_stop: not done after {_ON_STOP} s") from err
        except Exception as err:
            raise StopError(f"on_stop: {type(err).__name__}: {err}") from err

    async def _watch_parent(self) -> None:
        """Nobody is left to ask for anything, or to stop us, when the parent is gone."""
        while os.getppid() == _PARENT:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_PARENT_POLL)
        self._stop.set()


def _socket_path() -> str:
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(prefix="hookmux-")
    path = os.path.join(folder, f"plugin-{os.getpid()}")
    if len(os.fsencode(path)) > 103:
        raise OSError(f"the socket's path is longer than the system allows: {path} (a shorter TMPDIR of hookmux helps)")
    return path
