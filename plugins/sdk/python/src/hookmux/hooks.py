"""The hooks, the base class of plugins, and what is checked about a plugin before it runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ._proto import exhook_pb2 as exhook
from ._proto import plugin_pb2
from .answers import Access, Answer, no_opinion, pass_
from .nearest import closest, did_you_mean
from .topics import check_filter


class PluginError(Exception):
    """The plugin cannot run; the text says why, for its author."""


class Plugin:
    """The base of a plugin: override the hooks you need.

    Each hook may be a plain method or an ``async def``. Hooks are called from many
    threads at once, so guard what they share; ``async`` ones all run on one event loop
    of their own. An exception is that call's error: hookmux then follows the plugin's
    failure policy, which is deny unless configured otherwise.

    Annotate ``config`` with a dataclass to have what stands under ``config`` in
    hookmux.yaml; it is there from ``on_start`` on. ``topics`` limits message hooks::

        class Convert(hookmux.Plugin):
            config: Config
            topics = {"message.publish": ["sensors/+/raw"]}
    """

    topics: Mapping[str, Sequence[str]] = {}
    """Hook name to topic filters. A message hook that is not a key gets every topic.
    It is read after ``on_start``, which may set it."""

    pure: Sequence[str] = ()
    """Names of decisions that are pure: the same request always gets the same answer, and
    asking has no side effect. hookmux may then ask ahead of the plugin's turn, also for
    nothing, so that a chain of pure plugins costs the time of one."""

    def on_start(self) -> Awaitable[None] | None:
        """Before the first event. An exception ends the process: check the config here."""
        return None

    def on_stop(self) -> Awaitable[None] | None:
        """After the last event; there are 1.5 s for it."""
        return None

    # Decisions. Each returns an answer.

    def on_client_authenticate(self, request: exhook.ClientAuthenticateRequest, /) -> Access | Awaitable[Access]:
        """May this client log in?"""
        return no_opinion()

    def on_client_authorize(self, request: exhook.ClientAuthorizeRequest, /) -> Access | Awaitable[Access]:
        """May this client publish to a topic, or subscribe to a filter (``request.type``)?"""
        return no_opinion()

    def on_message_ingress(self, request: exhook.MessageIngressRequest, /) -> Answer | Awaitable[Answer]:
        """A message as its client sent it. Needs EMQX 6.3."""
        return pass_()

    def on_message_publish(self, request: exhook.MessagePublishRequest, /) -> Answer | Awaitable[Answer]:
        """A message before it is routed."""
        return pass_()

    # Notifications: those of one client come one after another, in order.

    def on_client_connect(self, request: exhook.ClientConnectRequest, /) -> Awaitable[None] | None:
        """A CONNECT packet came; nothing is decided yet."""
        return None

    def on_client_connack(self, request: exhook.ClientConnackRequest, /) -> Awaitable[None] | None:
        """A CONNACK is about to be sent."""
        return None

    def on_client_connected(self, request: exhook.ClientConnectedRequest, /) -> Awaitable[None] | None:
        """A client was let in."""
        return None

    def on_client_disconnected(self, request: exhook.ClientDisconnectedRequest, /) -> Awaitable[None] | None:
        """A client is gone."""
        return None

    def on_client_subscribe(self, request: exhook.ClientSubscribeRequest, /) -> Awaitable[None] | None:
        """A SUBSCRIBE packet came; the filters that were refused are not in it."""
        return None

    def on_client_unsubscribe(self, request: exhook.ClientUnsubscribeRequest, /) -> Awaitable[None] | None:
        """An UNSUBSCRIBE packet came."""
        return None

    def on_session_created(self, request: exhook.SessionCreatedRequest, /) -> Awaitable[None] | None:
        """There is a new session."""
        return None

    def on_session_subscribed(self, request: exhook.SessionSubscribedRequest, /) -> Awaitable[None] | None:
        """A subscription was taken up."""
        return None

    def on_session_unsubscribed(self, request: exhook.SessionUnsubscribedRequest, /) -> Awaitable[None] | None:
        """A subscription was given up."""
        return None

    def on_session_resumed(self, request: exhook.SessionResumedRequest, /) -> Awaitable[None] | None:
        """A client is back in its old session."""
        return None

    def on_session_discarded(self, request: exhook.SessionDiscardedRequest, /) -> Awaitable[None] | None:
        """A session was thrown away for a clean start."""
        return None

    def on_session_takenover(self, request: exhook.SessionTakenoverRequest, /) -> Awaitable[None] | None:
        """A session was moved to another connection."""
        return None

    def on_session_terminated(self, request: exhook.SessionTerminatedRequest, /) -> Awaitable[None] | None:
        """A session has ended."""
        return None

    def on_message_delivered(self, request: exhook.MessageDeliveredRequest, /) -> Awaitable[None] | None:
        """A message was sent to one subscriber."""
        return None

    def on_message_dropped(self, request: exhook.MessageDroppedRequest, /) -> Awaitable[None] | None:
        """A message reached nobody."""
        return None

    def on_message_acked(self, request: exhook.MessageAckedRequest, /) -> Awaitable[None] | None:
        """A subscriber acknowledged a message."""
        return None

    # Not hooks of a client: overriding them alone makes no plugin.

    def on_provider_loaded(self, request: exhook.ProviderLoadedRequest, /) -> Awaitable[None] | None:
        """A broker node has loaded the plugin; its events come after this."""
        return None

    def on_provider_unloaded(self, request: exhook.ProviderUnloadedRequest, /) -> Awaitable[None] | None:
        """A broker node has let go of the plugin."""
        return None


class Kind(Enum):
    """What a hook's method returns."""

    ACCESS = "hookmux.Access"
    ANSWER = "hookmux.Answer"
    NOTHING = "None"


@dataclass(frozen=True)
class Hook:
    """A row of the hook table, made from the ExHook service."""

    rpc: str  # OnClientConnect
    method: str  # on_client_connect
    name: str  # client.connect; empty for what is no hook of the broker
    number: int  # in hookmux.plugin.v1
    request: Any  # the message class
    kind: Kind

    @property
    def signature(self) -> str:
        return f"def {self.method}(self, request: hookmux.{self.request.DESCRIPTOR.name}) -> {self.kind.value}"


def _table() -> list[Hook]:
    table = []
    for m in exhook.DESCRIPTOR.services_by_name["HookProvider"].methods:
        words = re.findall("[A-Z][a-z]+", m.name)[1:]
        name = words[0].lower() + "." + "".join(words[1:]).lower()
        kind = Kind.NOTHING
        if m.output_type.name == "ValuedResponse":
            kind = Kind.ACCESS if "result" in m.input_type.fields_by_name else Kind.ANSWER
        table.append(
            Hook(
                rpc=m.name,
                method="on_" + name.replace(".", "_"),
                name="" if name.startswith("provider.") else name,
                number=plugin_pb2.Hook.Value("HOOK_" + name.replace(".", "_").upper()),
                request=getattr(exhook, m.input_type.name),
                kind=kind,
            )
        )
    return table


HOOKS: list[Hook] = _table()
BY_METHOD: Mapping[str, Hook] = {h.method: h for h in HOOKS}
MESSAGE_HOOKS = [h.name for h in HOOKS if h.name.startswith("message.")]
_LIFECYCLE = ("on_start", "on_stop")

# What methods are called elsewhere: too far from the right name for the edit distance.
_OTHER_NAMES: Mapping[str, str] = {
    "on_client_check_acl": "on_client_authorize",
    "on_client_auth": "on_client_authenticate",
    "on_client_authn": "on_client_authenticate",
    "on_client_authz": "on_client_authorize",
    "on_authenticate": "on_client_authenticate",
    "on_authorize": "on_client_authorize",
    "on_connect": "on_client_connect",
    "on_connected": "on_client_connected",
    "on_disconnected": "on_client_disconnected",
    "on_subscribe": "on_client_subscribe",
    "on_unsubscribe": "on_client_unsubscribe",
    "on_publish": "on_message_publish",
    "on_message": "on_message_publish",
    "on_session_takeovered": "on_session_takenover",
    "on_loaded": "on_provider_loaded",
    "on_unloaded": "on_provider_unloaded",
}


def overridden(plugin: Plugin) -> list[Hook]:
    """The rows whose methods the plugin has, in the table's order.

    Raises PluginError for all that its author will want to know before the first
    event does: a hook that is never called would be a hole nobody sees.
    """
    if isinstance(plugin, type):
        raise PluginError(f"hookmux.serve wants an object: hookmux.serve({plugin.__name__}())")
    if not isinstance(plugin, Plugin):
        raise PluginError(f"hookmux.serve wants an object of a class that extends hookmux.Plugin, not {plugin!r:.80}")
    cls = type(plugin)
    problems: list[str] = []
    for name in sorted(set(dir(plugin))):
        if not name.startswith("on_"):
            continue
        if name in vars(plugin):
            problems.append(f"{name} is set on the object; a hook must be a method of the class")
        elif name not in BY_METHOD and name not in _LIFECYCLE:
            problems.append(_unknown(name))
        else:
            problems += _wrong(cls, name)
    hooks = [h for h in HOOKS if getattr(cls, h.method, None) is not getattr(Plugin, h.method)]
    if not problems and not any(h.name for h in hooks):
        problems.append(f"{cls.__name__} has no hook: give it at least one method such as\n\t{HOOKS[4].signature}")
    if problems:
        raise PluginError("\n".join(problems))
    return hooks


def _wrong(cls: type, name: str) -> list[str]:
    method = inspect.getattr_static(cls, name)
    if method is vars(Plugin)[name]:
        for base in cls.__mro__:
            if base is not Plugin and name in vars(base):
                return [
                    f"{name} of {base.__name__} is hidden by hookmux.Plugin, so it would never be called: "
                    f"put {base.__name__} before Plugin in the bases of {cls.__name__}"
                ]
        return []
    want = f"\n\twant def {name}(self)" if name in _LIFECYCLE else f"\n\twant {BY_METHOD[name].signature}"
    bound = getattr(cls, name) if not isinstance(method, staticmethod | classmethod) else None
    if not callable(bound):
        return [f"{name} must be a method{want}"]
    if inspect.isgeneratorfunction(bound) or inspect.isasyncgenfunction(bound):
        return [f"{name} has a yield in it, so it would never run{want}"]
    arguments = 1 if name in _LIFECYCLE else 2
    try:
        inspect.signature(bound).bind(*range(arguments))
    except TypeError:
        return [f"method {name} has the wrong signature\n\thave def {name}{inspect.signature(bound)}{want}"]
    return []


def _unknown(name: str) -> str:
    nearest = closest(name, [*BY_METHOD, *_LIFECYCLE, *_OTHER_NAMES])
    nearest = _OTHER_NAMES.get(nearest, nearest)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    return f"method {name} is no hook{hint}\n\t(a method that is meant to be something else must not begin with on_)"


def declared(plugin: Plugin, hooks: Sequence[Hook]) -> exhook.LoadedResponse:
    """What the plugin wants to be called for. Raises PluginError for wrong topics or pure hooks."""
    names = {h.name for h in hooks if h.name}
    for name, filters in plugin.topics.items():
        if name not in {h.name for h in HOOKS if h.name}:
            raise PluginError(f"topics: there is no hook {name!r}{did_you_mean(name, MESSAGE_HOOKS)}")
        if not name.startswith("message."):
            raise PluginError(f"topics: {name} cannot be limited to topics, only {', '.join(MESSAGE_HOOKS)} can")
        if name not in names:
            raise PluginError(f"topics: filters for {name}, but the plugin has no method on_{name.replace('.', '_')}")
        if isinstance(filters, str):
            raise PluginError(f"topics: {name} wants a list of filters, not the string {filters!r}")
        if not filters:
            raise PluginError(f"topics: an empty list for {name} would mean every topic; leave it out if that is meant")
        for f in filters:
            try:
                check_filter(f)
            except ValueError as err:
                raise PluginError(f"topics: {name}: {err}") from None
    decisions = [h.name for h in HOOKS if h.kind is not Kind.NOTHING]
    if isinstance(plugin.pure, str):
        raise PluginError(f"pure: wants a list of hooks, not the string {plugin.pure!r}")
    for name in plugin.pure:
        if name not in decisions:
            raise PluginError(
                f"pure: there is no decision {name!r}{did_you_mean(name, decisions)}, only {', '.join(decisions)}"
            )
        if name not in names:
            raise PluginError(f"pure: the plugin has no method on_{name.replace('.', '_')}")
    specs = [
        exhook.HookSpec(name=h.name, topics=plugin.topics.get(h.name, ()), pure=h.name in plugin.pure)
        for h in hooks
        if h.name
    ]
    return exhook.LoadedResponse(hooks=specs)
