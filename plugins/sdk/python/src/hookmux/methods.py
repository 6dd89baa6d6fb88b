"""A plugin's methods as functions of encoded requests."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from .answers import AnswerError, access_wire, answer_wire
from .call import Call, Unavailable, current
from .hooks import Hook, Kind, Plugin

log = logging.getLogger("hookmux")

Encode = Callable[[object, Any], bytes]


class CallError(Exception):
    """A call that has no answer. The text is short; kind is a gRPC status's name."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def short(text: str, limit: int = 300) -> str:
    """One line of bounded length: it travels in a header."""
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= limit else text[:limit] + "…"


def _away(err: Unavailable) -> str:
    """With the cause, which stands in no stack that is logged."""
    text, why = str(err), str(err.__cause__ or "")
    return text if why in text else ": ".join(filter(None, (text, why)))


def _nothing(got: object, _: Any) -> bytes:
    if got is not None:
        if inspect.iscoroutine(got):
            got.close()
            raise AnswerError("returned a coroutine; make it an async def")
        raise AnswerError(f"returned {got!r:.80}; it has nothing to answer")
    return b""


_ENCODE: dict[Kind, Encode] = {Kind.ACCESS: access_wire, Kind.ANSWER: answer_wire, Kind.NOTHING: _nothing}


class Method:
    """One hook's method."""

    __slots__ = ("_decode", "_encode", "_logged", "function", "hook", "is_async")

    def __init__(self, plugin: Plugin, hook: Hook, encode: Encode | None = None) -> None:
        self.hook = hook
        self.function: Callable[[Any], Any] = getattr(plugin, hook.method)
        self.is_async = inspect.iscoroutinefunction(self.function)
        self._decode: Callable[[bytes], Any] = hook.request.FromString
        self._encode = encode or _ENCODE[hook.kind]
        self._logged = 0.0

    def __call__(self, call: Call) -> bytes:
        """Run a plain method. Raises CallError and nothing else."""
        current.set(call)
        try:
            if call.canceled:
                raise asyncio.CancelledError("nobody waits for it any more")
            request = self._decode(call.request)
            return self._encode(self.function(request), request)
        except BaseException as err:
            raise self._failed(err) from None
        finally:
            current.set(None)

    async def run(self, call: Call) -> bytes:
        """Run an async method until its time is over. Raises CallError, or CancelledError."""
        current.set(call)
        try:
            async with asyncio.timeout(call.remaining()):
                request = self._decode(call.request)
                return self._encode(await self.function(request), request)
        except asyncio.CancelledError:
            raise  # or asyncio would log that nobody has looked at it
        except BaseException as err:
            raise self._failed(err) from None

    def answer(self, call: Call) -> Any:
        """As __call__, for tests: what the method has returned, or raised."""
        request = self._decode(call.request)
        got = self.function(request)
        self._encode(got, request)
        return got

    async def answer_async(self, call: Call) -> Any:
        """As run, for tests: what the method has returned, or raised."""
        current.set(call)
        async with asyncio.timeout(call.remaining()):
            request = self._decode(call.request)
            got = await self.function(request)
            self._encode(got, request)
            return got

    def _failed(self, err: BaseException) -> CallError:
        name = self.hook.method
        match err:
            case TimeoutError():
                return CallError("DEADLINE_EXCEEDED", short(f"{name}: {err}" if str(err) else f"{name}: out of time"))
            case asyncio.CancelledError():
                return CallError("CANCELLED", short(f"{name}: {err}" if str(err) else f"{name}: canceled"))
            case DecodeError():
                return CallError("INVALID_ARGUMENT", short(f"{name}: the request does not decode: {err}"))
            case Unavailable():
                return CallError("UNAVAILABLE", short(f"{name}: {_away(err)}"))
            case AnswerError():
                text = f"{name} {err}"
            case _:
                text = f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
                if isinstance(err, SystemExit | KeyboardInterrupt | GeneratorExit):
                    text = f"{name} raised {text}, which ends no process here"
        now = time.monotonic()
        if now - self._logged > 1:  # the same again and again is of no use
            self._logged = now
            log.error("exception in the plugin", exc_info=err, extra={"method": name})
        return CallError("INTERNAL" if isinstance(err, AnswerError) else "UNKNOWN", short(text))


def methods_of(plugin: Plugin, hooks: list[Hook], loaded: bytes, table: list[Hook]) -> dict[int, Method]:
    """By hook number. OnProviderLoaded and OnProviderUnloaded are always among them."""
    have = {h.number for h in hooks}
    methods = {}
    for h in table:
        if h.method == "on_provider_loaded":
            methods[h.number] = Method(plugin, h, lambda got, r: _nothing(got, r) or loaded)
        elif h.number in have or not h.name:
            methods[h.number] = Method(plugin, h)
    return methods
