"""The answers of decisions, and what a broker reads of them."""

from __future__ import annotations

from dataclasses import dataclass

from ._proto import exhook_pb2 as exhook
from .topics import MAX_TOPIC


class AnswerError(Exception):
    """A hook's method returned something that is no answer."""


@dataclass(frozen=True, slots=True)
class Access:
    """Answers client.authenticate and client.authorize: allow(), deny() or no_opinion()."""

    word: str
    final: bool = False

    def __str__(self) -> str:
        return self.word + (" (final)" if self.final else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers message.publish and message.ingress: pass_(), drop() or rewrite(message)."""

    word: str
    final: bool = False
    message: exhook.Message | None = None

    def __str__(self) -> str:
        return self.word + (" (final)" if self.final else "")


_ACCESS = {(w, f): Access(w, f) for w in ("allow", "deny", "no opinion") for f in (False, True)}
_ANSWER = {(w, f): Answer(w, f) for w in ("pass", "drop") for f in (False, True)}


def allow(*, final: bool = False) -> Access:
    """Yes; a later plugin may still say no. final: nobody else is asked."""
    return _ACCESS["allow", final]


def deny(*, final: bool = False) -> Access:
    """No; a later plugin may still say yes. final: nobody else is asked."""
    return _ACCESS["deny", final]


def no_opinion(*, final: bool = False) -> Access:
    """The decision stays as it is. final: it is settled, nobody else is asked."""
    return _ACCESS["no opinion", final]


def pass_(*, final: bool = False) -> Answer:
    """The message stays as it is. final: it is settled, nobody else is asked."""
    return _ANSWER["pass", final]


def drop(*, final: bool = False) -> Answer:
    """The message is not to be published; later plugins still see it. final: nobody else is asked."""
    return _ANSWER["drop", final]


def rewrite(message: exhook.Message, *, final: bool = False) -> Answer:
    """The message is replaced, and later plugins see the new one. final: nobody else is asked.

    Change the request's message and hand it back. The broker takes QoS, topic, payload
    and the header allow_publish, nothing else. A message that no broker could publish
    counts as an error.
    """
    return Answer("rewrite", final, message)


_Valued = exhook.ValuedResponse
_IGNORE = _Valued(type=_Valued.IGNORE).SerializeToString()
_BOOLS = {
    (result, final): _Valued(
        type=_Valued.STOP_AND_RETURN if final else _Valued.CONTINUE, bool_result=result
    ).SerializeToString()
    for result in (False, True)
    for final in (False, True)
}


def access_wire(got: object, request: exhook.ClientAuthenticateRequest | exhook.ClientAuthorizeRequest) -> bytes:
    """The encoded response; request.result is the decision so far."""
    if not isinstance(got, Access):
        raise AnswerError(f"returned {_what(got)}: return hookmux.allow(), hookmux.deny() or hookmux.no_opinion()")
    if got.word == "no opinion":
        return _BOOLS[request.result, True] if got.final else _IGNORE
    return _BOOLS[got.word == "allow", got.final]


def answer_wire(got: object, request: exhook.MessagePublishRequest | exhook.MessageIngressRequest) -> bytes:
    """The encoded response."""
    if not isinstance(got, Answer):
        raise AnswerError(f"returned {_what(got)}: return hookmux.pass_(), hookmux.drop() or hookmux.rewrite(message)")
    if got.word == "pass" and not got.final:
        return _IGNORE
    message = request.message
    if got.word == "drop":
        message = exhook.Message()
        message.CopyFrom(request.message)  # the plugin may have kept it
        message.headers["allow_publish"] = "false"
    elif got.word == "rewrite":
        message = _publishable(got.message)
    return _Valued(type=_Valued.STOP_AND_RETURN if got.final else _Valued.CONTINUE, message=message).SerializeToString()


def _what(got: object) -> str:
    if callable(got) and hasattr(got, "__name__"):
        return f"the function {got.__name__} and not what it returns"
    return f"{got!r:.80}"


def _publishable(m: object) -> exhook.Message:
    def bad(why: str) -> AnswerError:
        return AnswerError(f"hookmux.rewrite: {why}")

    if not isinstance(m, exhook.Message):
        raise bad(f"wants the request's message, not {m!r:.80}")
    if not m.topic:
        raise bad("the message has no topic; change the request's message instead of making a new one")
    if any(c in m.topic for c in "+#\0"):
        raise bad(f"topic {m.topic!r:.80} has a wildcard or a NUL")
    if len(m.topic.encode()) > MAX_TOPIC:
        raise bad(f"the topic has {len(m.topic.encode())} bytes, MQTT allows {MAX_TOPIC}")
    if m.qos > 2:
        raise bad(f"QoS {m.qos}; MQTT has 0, 1 and 2")
    return m
