"""App protocol 1: the plain service emqx.exhook.v3.HookProvider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import grpc

from .call import Call
from .hooks import Kind
from .methods import CallError, Method
from .streams import MAX_DECISIONS, Run
from .workers import Workers

SERVICE = "emqx.exhook.v3.HookProvider"
_NOTIFY_WORKERS = 64
_EVENT_ID = "hookmux-event-id"


class Unary:
    """The handlers of the service, and how many of its calls are under way."""

    def __init__(self, methods: dict[int, Method], run_async: Run) -> None:
        self._run_async = run_async
        self._decisions = Workers("hookmux-decide", MAX_DECISIONS)
        self._notifications = Workers("hookmux-notify", _NOTIFY_WORKERS)
        self._stopping = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.handlers: dict[str, Any] = {
            m.hook.rpc: grpc.unary_unary_rpc_method_handler(self._handler(m)) for m in methods.values()
        }

    def _handler(self, method: Method) -> Callable[[bytes, Any], Awaitable[bytes]]:
        decides = method.hook.kind is not Kind.NOTHING or not method.hook.name
        workers = self._decisions if decides else self._notifications

        async def handle(request: bytes, context: Any) -> bytes:
            if self._stopping:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the plugin is stopping")
            self._under_way += 1
            self._idle.clear()
            left = context.time_remaining()
            call = Call(
                request,
                timeout_us=0 if left is None else max(1, int(left * 1e6)),
                event_id=next((v for k, v in context.invocation_metadata() or () if k == _EVENT_ID), ""),
            )
            call.begin()
            try:
                return await asyncio.wrap_future(self._start(method, call, workers))
            except CallError as err:
                await context.abort(grpc.StatusCode[err.kind], str(err))
                raise
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise  # hookmux has given up the call
                await context.abort(grpc.StatusCode.CANCELLED, f"{method.hook.method}: canceled")
                raise
            finally:
                call.canceled = True
                self._under_way -= 1
                if not self._under_way:
                    self._idle.set()

        return handle

    def _start(self, method: Method, call: Call, workers: Workers) -> Future[bytes]:
        if method.is_async:
            return self._run_async(method, call)
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(method(call))
            except CallError as err:
                future.set_exception(err)

        workers.submit(run)
        return future

    async def stop(self) -> None:
        """Take no new calls, and wait for those under way."""
        self._stopping = True
        await self._idle.wait()
