"""Plugins of hookmux, the sidecar for the MQTT broker EMQX, in Python.

::

    import hookmux

    class Guests(hookmux.Plugin):
        def on_client_authenticate(self, request):
            if request.clientinfo.username == "guest":
                return hookmux.deny(final=True)
            return hookmux.no_opinion()

    hookmux.serve(Guests())

README.md beside this package's sources has the rest; hookmux.testing is for unit tests.
"""

from ._proto.exhook_pb2 import (
    BrokerInfo,
    ClientAuthenticateRequest,
    ClientAuthorizeRequest,
    ClientConnackRequest,
    ClientConnectedRequest,
    ClientConnectRequest,
    ClientDisconnectedRequest,
    ClientInfo,
    ClientSubscribeRequest,
    ClientUnsubscribeRequest,
    ConnInfo,
    Message,
    MessageAckedRequest,
    MessageDeliveredRequest,
    MessageDroppedRequest,
    MessageIngressRequest,
    MessagePublishRequest,
    Property,
    ProviderLoadedRequest,
    ProviderUnloadedRequest,
    RequestMeta,
    SessionCreatedRequest,
    SessionDiscardedRequest,
    SessionResumedRequest,
    SessionSubscribedRequest,
    SessionTakenoverRequest,
    SessionTerminatedRequest,
    SessionUnsubscribedRequest,
    SubOpts,
    TopicFilter,
)
from .answers import Access, Answer, AnswerError, allow, deny, drop, no_opinion, pass_, rewrite
from .call import Unavailable, canceled, event_id, remaining
from .config import ConfigError
from .hooks import Plugin, PluginError
from .run import serve
from .topics import check_filter, covers

PUBLISH = ClientAuthorizeRequest.PUBLISH
SUBSCRIBE = ClientAuthorizeRequest.SUBSCRIBE

__all__ = [
    "PUBLISH",
    "SUBSCRIBE",
    "Access",
    "Answer",
    "AnswerError",
    "BrokerInfo",
    "ClientAuthenticateRequest",
    "ClientAuthorizeRequest",
    "ClientConnackRequest",
    "ClientConnectRequest",
    "ClientConnectedRequest",
    "ClientDisconnectedRequest",
    "ClientInfo",
    "ClientSubscribeRequest",
    "ClientUnsubscribeRequest",
    "ConfigError",
    "ConnInfo",
    "Message",
    "MessageAckedRequest",
    "MessageDeliveredRequest",
    "MessageDroppedRequest",
    "MessageIngressRequest",
    "MessagePublishRequest",
    "Plugin",
    "PluginError",
    "Property",
    "ProviderLoadedRequest",
    "ProviderUnloadedRequest",
    "RequestMeta",
    "SessionCreatedRequest",
    "SessionDiscardedRequest",
    "SessionResumedRequest",
    "SessionSubscribedRequest",
    "SessionTakenoverRequest",
    "SessionTerminatedRequest",
    "SessionUnsubscribedRequest",
    "SubOpts",
    "TopicFilter",
    "Unavailable",
    "allow",
    "canceled",
    "check_filter",
    "covers",
    "deny",
    "drop",
    "event_id",
    "no_opinion",
    "pass_",
    "remaining",
    "rewrite",
    "serve",
]
