from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hook(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOOK_UNSPECIFIED: _ClassVar[Hook]
    HOOK_PROVIDER_LOADED: _ClassVar[Hook]
    HOOK_PROVIDER_UNLOADED: _ClassVar[Hook]
    HOOK_CLIENT_CONNECT: _ClassVar[Hook]
    HOOK_CLIENT_CONNACK: _ClassVar[Hook]
    HOOK_CLIENT_CONNECTED: _ClassVar[Hook]
    HOOK_CLIENT_DISCONNECTED: _ClassVar[Hook]
    HOOK_CLIENT_AUTHENTICATE: _ClassVar[Hook]
    HOOK_CLIENT_AUTHORIZE: _ClassVar[Hook]
    HOOK_CLIENT_SUBSCRIBE: _ClassVar[Hook]
    HOOK_CLIENT_UNSUBSCRIBE: _ClassVar[Hook]
    HOOK_SESSION_CREATED: _ClassVar[Hook]
    HOOK_SESSION_SUBSCRIBED: _ClassVar[Hook]
    HOOK_SESSION_UNSUBSCRIBED: _ClassVar[Hook]
    HOOK_SESSION_RESUMED: _ClassVar[Hook]
    HOOK_SESSION_DISCARDED: _ClassVar[Hook]
    HOOK_SESSION_TAKENOVER: _ClassVar[Hook]
    HOOK_SESSION_TERMINATED: _ClassVar[Hook]
    HOOK_MESSAGE_INGRESS: _ClassVar[Hook]
    HOOK_MESSAGE_PUBLISH: _ClassVar[Hook]
    HOOK_MESSAGE_DELIVERED: _ClassVar[Hook]
    HOOK_MESSAGE_DROPPED: _ClassVar[Hook]
    HOOK_MESSAGE_ACKED: _ClassVar[Hook]
HOOK_UNSPECIFIED: Hook
HOOK_PROVIDER_LOADED: Hook
HOOK_PROVIDER_UNLOADED: Hook
HOOK_CLIENT_CONNECT: Hook
HOOK_CLIENT_CONNACK: Hook
HOOK_CLIENT_CONNECTED: Hook
HOOK_CLIENT_DISCONNECTED: Hook
HOOK_CLIENT_AUTHENTICATE: Hook
HOOK_CLIENT_AUTHORIZE: Hook
HOOK_CLIENT_SUBSCRIBE: Hook
HOOK_CLIENT_UNSUBSCRIBE: Hook
HOOK_SESSION_CREATED: Hook
HOOK_SESSION_SUBSCRIBED: Hook
HOOK_SESSION_UNSUBSCRIBED: Hook
HOOK_SESSION_RESUMED: Hook
HOOK_SESSION_DISCARDED: Hook
HOOK_SESSION_TAKENOVER: Hook
HOOK_SESSION_TERMINATED: Hook
HOOK_MESSAGE_INGRESS: Hook
HOOK_MESSAGE_PUBLISH: Hook
HOOK_MESSAGE_DELIVERED: Hook
HOOK_MESSAGE_DROPPED: Hook
HOOK_MESSAGE_ACKED: Hook

class Events(_message.Message):
    __slots__ = ("events", "canceled")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CANCELED_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    canceled: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., canceled: _Optional[_Iterable[int]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "hook", "timeout_us", "key", "request", "event_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    hook: Hook
    timeout_us: int
    key: bytes
    request: bytes
    event_id: str
    def __init__(self, id: _Optional[int] = ..., hook: _Optional[_Union[Hook, str]] = ..., timeout_us: _Optional[int] = ..., key: _Optional[bytes] = ..., request: _Optional[bytes] = ..., event_id: _Optional[str] = ...) -> None: ...

class Replies(_message.Message):
    __slots__ = ("replies", "done")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    done: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., done: _Optional[_Iterable[int]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "answer", "error", "unavailable")
    ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    id: int
    answer: bytes
    error: str
    unavailable: bool
    def __init__(self, id: _Optional[int] = ..., answer: _Optional[bytes] = ..., error: _Optional[str] = ..., unavailable: bool = ...) -> None: ...
