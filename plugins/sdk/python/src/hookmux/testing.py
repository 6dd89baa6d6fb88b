"""Unit tests of a plugin, in the test's own process and without hookmux::

    with hookmux.testing.Harness(Guests()) as guests:
        request = hookmux.ClientAuthenticateRequest(clientinfo=hookmux.ClientInfo(username="guest"))
        assert guests.call(request) == hookmux.deny(final=True)

A hook is a method, so a test may also just call it. The harness is nearer to what
happens under hookmux: it checks the plugin and its config as serve does, runs on_start
and on_stop, awaits async methods, hands each method an encoded and decoded copy of the request,
gives it a deadline, and raises for an answer that no broker could use.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from typing import Any, overload

from ._proto import exhook_pb2 as exhook
from .answers import Access, Answer
from .call import Call, current
from .hooks import HOOKS, Plugin, declared, overridden
from .methods import Method, methods_of
from .run import read_config
from .server import AsyncMethods

Notification = (
    exhook.ClientConnectRequest
    | exhook.ClientConnackRequest
    | exhook.ClientConnectedRequest
    | exhook.ClientDisconnectedRequest
    | exhook.ClientSubscribeRequest
    | exhook.ClientUnsubscribeRequest
    | exhook.SessionCreatedRequest
    | exhook.SessionSubscribedRequest
    | exhook.SessionUnsubscribedRequest
    | exhook.SessionResumedRequest
    | exhook.SessionDiscardedRequest
    | exhook.SessionTakenoverRequest
    | exhook.SessionTerminatedRequest
    | exhook.MessageDeliveredRequest
    | exhook.MessageDroppedRequest
    | exhook.MessageAckedRequest
    | exhook.ProviderLoadedRequest
    | exhook.ProviderUnloadedRequest
)


class Harness:
    """Runs a plugin between ``with`` and its end. config is what would stand in hookmux.yaml."""

    def __init__(self, plugin: Plugin, config: Mapping[str, Any] | None = None) -> None:
        self._plugin = plugin
        self._async = AsyncMethods()
        hooks = overridden(plugin)
        read_config(plugin, json.dumps(dict(config or {})))
        self._overridden = hooks
        self._methods: dict[str, Method] = {}
        self.hooks: dict[str, list[str]] = {}
        """The hooks that the plugin answers, and the topics of each."""

    def __enter__(self) -> Harness:
        self._wait(self._plugin.on_start())
        loaded = declared(self._plugin, self._overridden)
        self.hooks = {h.name: list(h.topics) for h in loaded.hooks}
        table = methods_of(self._plugin, self._overridden, b"", HOOKS)
        self._methods = {m.hook.request.DESCRIPTOR.full_name: m for m in table.values()}
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait(self._plugin.on_stop())
        finally:
            self._async.close()

    def _wait(self, got: Awaitable[None] | None) -> None:
        if got is not None:
            self._async.submit(got).result()

    @overload
    def call(
        self, request: exhook.ClientAuthenticateRequest | exhook.ClientAuthorizeRequest, timeout: float = 5
    ) -> Access: ...

    @overload
    def call(
        self, request: exhook.MessagePublishRequest | exhook.MessageIngressRequest, timeout: float = 5
    ) -> Answer: ...

    @overload
    def call(self, request: Notification, timeout: float = 5) -> None: ...

    def call(self, request: Any, timeout: float = 5) -> Access | Answer | None:
        """Hand a request to the hook that it belongs to, with so many seconds of time.

        Raises what the method raises; TimeoutError when an async method is not done in
        time; hookmux.AnswerError for what is no answer; LookupError when the plugin
        does not answer that hook, which hookmux would not ask then.
        """
        method = self._methods.get(request.DESCRIPTOR.full_name)
        if method is None:
            raise LookupError(f"the plugin has no method for {request.DESCRIPTOR.name}, or the harness does not run")
        call = Call(request.SerializeToString(), timeout_us=int(timeout * 1e6))
        call.begin()
        if method.is_async:
            return self._async.submit(method.answer_async(call)).result()  # type: ignore[no-any-return]
        token = current.set(call)
        try:
            return method.answer(call)  # type: ignore[no-any-return]
        finally:
            current.reset(token)
