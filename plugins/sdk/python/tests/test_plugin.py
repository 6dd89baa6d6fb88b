"""What is checked about a plugin, and its answers, in this process."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import hookmux
from hookmux import log
from hookmux._proto import exhook_pb2 as exhook
from hookmux.answers import access_wire, answer_wire
from hookmux.hooks import HOOKS, Kind, declared, overridden
from hookmux.testing import Harness


class Connected:
    def on_client_connected(self, request: hookmux.ClientConnectedRequest) -> None:
        pass


class Allows(hookmux.Plugin):
    def on_client_authorize(self, request: hookmux.ClientAuthorizeRequest) -> hookmux.Access:
        return hookmux.allow()


def test_the_table() -> None:
    assert len(HOOKS) == 22
    assert [h.name for h in HOOKS if h.kind is Kind.ACCESS] == ["client.authenticate", "client.authorize"]
    assert [h.name for h in HOOKS if h.kind is Kind.ANSWER] == ["message.ingress", "message.publish"]
    assert [h.number for h in HOOKS] == list(range(1, 23))


def test_inherited_hooks_count() -> None:
    class Both(Connected, Allows):
        pass

    class Third(Both):
        def on_client_connected(self, request: hookmux.ClientConnectedRequest) -> None:
            super().on_client_connected(request)

    for plugin in (Both(), Third()):
        assert [h.name for h in overridden(plugin)] == ["client.connected", "client.authorize"]


class Hidden(hookmux.Plugin, Connected):  # type: ignore[misc]
    pass


class NoHook(hookmux.Plugin):
    pass


class OldName(hookmux.Plugin):
    def on_client_check_acl(self, request: object) -> None:
        pass


class TooFew(hookmux.Plugin):
    def on_client_connect(self) -> None:  # type: ignore[override]
        pass


class Yields(hookmux.Plugin):
    def on_client_connect(self, request: object) -> Any:
        yield 1


class NoMethod(hookmux.Plugin):
    on_client_connect = None  # type: ignore[assignment]


class OnObject(Allows):
    def __init__(self) -> None:
        self.on_client_connect = print  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (Hidden, "put Connected before Plugin in the bases of Hidden"),
        (NoHook, "NoHook has no hook"),
        (OldName, "did you mean 'on_client_authorize'"),
        (TooFew, "have def on_client_connect(self) -> 'None'\n\twant def on_client_connect(self, request:"),
        (Yields, "has a yield in it"),
        (NoMethod, "on_client_connect must be a method"),
        (OnObject, "must be a method of the class"),
        (lambda: Allows, "hookmux.serve(Allows())"),
        (object, "extends hookmux.Plugin"),
    ],
)
def test_wrong_plugins(plugin: Callable[[], Any], says: str) -> None:
    with pytest.raises(hookmux.PluginError) as got:
        overridden(plugin())
    assert says in str(got.value)


@pytest.mark.parametrize(
    ("topics", "says"),
    [
        ({"message.publsh": ["a"]}, "no hook 'message.publsh' (did you mean 'message.publish'?)"),
        ({"client.authorize": ["a"]}, "client.authorize cannot be limited to topics"),
        ({"message.acked": ["a"]}, "no method on_message_acked"),
        ({"message.publish": []}, "would mean every topic"),
        ({"message.publish": "a/b"}, "a list of filters, not the string 'a/b'"),
        ({"message.publish": ["a/#/b"]}, "# must be the last level"),
    ],
)
def test_wrong_topics(topics: Any, says: str) -> None:
    class Publishes(Allows):
        def on_message_publish(self, request: hookmux.MessagePublishRequest) -> hookmux.Answer:
            return hookmux.pass_()

    plugin = Publishes()
    plugin.topics = topics
    with pytest.raises(hookmux.PluginError) as got:
        Harness(plugin).__enter__()
    assert says in str(got.value)


def test_pure() -> None:
    for pure, says in (
        (["client.authorise"], "no decision 'client.authorise' (did you mean 'client.authorize'?)"),
        (["client.connect"], "no decision 'client.connect'"),
        (["message.publish"], "no method on_message_publish"),
        ("client.authorize", "a list of hooks"),
    ):
        plugin = Allows()
        plugin.pure = pure
        with pytest.raises(hookmux.PluginError) as got:
            declared(plugin, overridden(plugin))
        assert says in str(got.value)
    plugin.pure = ["client.authorize"]
    assert [(h.name, h.pure) for h in declared(plugin, overridden(plugin)).hooks] == [("client.authorize", True)]


V = exhook.ValuedResponse


def test_access_on_the_wire() -> None:
    yes, no = exhook.ClientAuthorizeRequest(result=True), exhook.ClientAuthorizeRequest()
    for got, request, want in (
        (hookmux.allow(), no, V(type=V.CONTINUE, bool_result=True)),
        (hookmux.deny(), yes, V(type=V.CONTINUE, bool_result=False)),
        (hookmux.deny(final=True), yes, V(type=V.STOP_AND_RETURN, bool_result=False)),
        (hookmux.no_opinion(), yes, V(type=V.IGNORE)),
        (hookmux.no_opinion(final=True), yes, V(type=V.STOP_AND_RETURN, bool_result=True)),
        (hookmux.no_opinion(final=True), no, V(type=V.STOP_AND_RETURN, bool_result=False)),
    ):
        assert V.FromString(access_wire(got, request)) == want
    assert str(hookmux.deny(final=True)) == "deny (final)"


def test_answers_on_the_wire() -> None:
    request = exhook.MessagePublishRequest(message=exhook.Message(topic="t", headers={"a": "b"}))
    m = request.message
    other = exhook.Message(topic="u")
    refused = exhook.Message(topic="t", headers={"a": "b", "allow_publish": "false"})
    for got, want in (
        (hookmux.pass_(), V(type=V.IGNORE)),
        (hookmux.pass_(final=True), V(type=V.STOP_AND_RETURN, message=m)),
        (hookmux.rewrite(other), V(type=V.CONTINUE, message=other)),
        (hookmux.rewrite(other, final=True), V(type=V.STOP_AND_RETURN, message=other)),
        (hookmux.drop(), V(type=V.CONTINUE, message=refused)),
        (hookmux.drop(final=True), V(type=V.STOP_AND_RETURN, message=refused)),
    ):
        assert V.FromString(answer_wire(got, request)) == want
    assert m.headers == {"a": "b"}  # the request is the plugin's


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (None, "wants the request's message"),
        (exhook.Message(), "no topic"),
        (exhook.Message(topic="a/+"), "wildcard"),
        (exhook.Message(topic="é" * 40_000), "80000 bytes"),
        (exhook.Message(topic="a", qos=3), "QoS 3"),
    ],
)
def test_messages_that_no_broker_could_publish(message: Any, says: str) -> None:
    with pytest.raises(hookmux.AnswerError, match=says):
        answer_wire(hookmux.rewrite(message), exhook.MessagePublishRequest())


def test_what_is_no_answer() -> None:
    for got, says in ((None, "None"), (True, "True"), (hookmux.deny, "the function deny"), (hookmux.drop(), "drop")):
        with pytest.raises(hookmux.AnswerError, match=says):
            access_wire(got, exhook.ClientAuthorizeRequest())
    with pytest.raises(hookmux.AnswerError, match="allow"):
        answer_wire(hookmux.allow(), exhook.MessagePublishRequest())


def test_covers() -> None:
    for topic_filter, asked, want in (
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a/#", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/b", "a", False),
        ("+", "", True),
    ):
        assert hookmux.covers(topic_filter, asked) is want, (topic_filter, asked)


@dataclass
class Settings:
    limit: int


class Life(Allows):
    config: Settings

    async def on_start(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def on_client_authenticate(self, request: hookmux.ClientAuthenticateRequest) -> hookmux.Access:
        assert asyncio.get_running_loop() is self.loop
        if request.clientinfo.username == "slow":
            await asyncio.sleep(30)
        left = hookmux.remaining()
        assert left is not None
        return hookmux.allow() if left < self.config.limit else hookmux.deny()

    def on_client_connect(self, request: hookmux.ClientConnectRequest) -> None:
        assert not hookmux.canceled()

    async def on_stop(self) -> None:
        self.stopped = True


def test_the_harness() -> None:
    life = Life()
    authenticate = hookmux.ClientAuthenticateRequest
    with Harness(life, config={"limit": 10}) as h:
        assert set(h.hooks) == {"client.connect", "client.authenticate", "client.authorize"}
        assert h.call(authenticate()) == hookmux.allow()
        assert h.call(authenticate(), timeout=100) == hookmux.deny()
        assert h.call(hookmux.ClientAuthorizeRequest()) == hookmux.allow()
        h.call(hookmux.ClientConnectRequest())
        with pytest.raises(TimeoutError):
            h.call(authenticate(clientinfo=hookmux.ClientInfo(username="slow")), timeout=0.01)
        with pytest.raises(LookupError):
            h.call(hookmux.MessageAckedRequest())
    assert life.stopped
    assert hookmux.remaining() is None
    with pytest.raises(hookmux.ConfigError, match='key "limit" is missing; it must be an integer'):
        Harness(Life())


def test_log_lines_are_whole() -> None:
    f = log.JSONFormatter()

    def line(msg: str, **more: Any) -> dict[str, Any]:
        record = logging.makeLogRecord({"name": "a", "levelname": "WARNING", "levelno": 30, "msg": msg, **more})
        text = f.format(record)
        assert len(text.encode()) < 8192
        assert "\n" not in text
        return json.loads(text)  # type: ignore[no-any-return]

    assert line("hello", user="u", level="x") | {"time": ""} == {
        "time": "",
        "level": "WARNING",
        "msg": "hello",
        "logger": "a",
        "user": "u",
        "level_": "x",
    }
    assert line("é" * 10_000)["msg"].startswith("éé")
    assert "big" not in line("m", big="x" * 10_000)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        got = line("m", exc_info=sys.exc_info())
    assert got["error"] == "first second"
    assert "test_plugin.py" in got["stack"]
