"""The call that a hook's method is in: its time, and whether anybody still waits."""

from __future__ import annotations

import time
from contextvars import ContextVar

DAY_US = 24 * 3600 * 1_000_000


class Unavailable(Exception):  # noqa: N818 - it is no fault
    """What a hook's method needs for the event, such as its database, is away.

    That is no fault of the event. Delivered durably, it is tried again as long as it takes, and
    not made a dead letter; everywhere else this is an error like any other.
    """


class Call:
    """One event under way."""

    __slots__ = ("canceled", "deadline", "event_id", "id", "request", "timeout_us")

    def __init__(self, request: bytes, id: int = 0, timeout_us: int = 0, event_id: str = "") -> None:
        self.request = request
        self.id = id
        self.event_id = event_id  # of a durable notification
        self.timeout_us = timeout_us  # until begin has been called
        self.deadline: float | None = None  # of time.monotonic
        self.canceled = False

    def begin(self) -> None:
        """The time runs from now on."""
        if self.timeout_us:
            # More than a day is as good as no limit.
            self.deadline = time.monotonic() + min(self.timeout_us, DAY_US) / 1e6

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


current: ContextVar[Call | None] = ContextVar("hookmux.call", default=None)


def remaining() -> float | None:
    """Seconds that are left for the hook's method that asks; None: there is no limit.

    Later answers count for nothing, so hand it on as the ``timeout`` of what the method
    calls. It is never below 0. In a thread of the plugin's own, it is None.
    """
    call = current.get()
    return None if call is None else call.remaining()


def event_id() -> str:
    """The id of the notification that the asking method is called for, if it is delivered durably.

    It is the same in every attempt to deliver it (``delivery: durable``), also after restarts, so
    that a method can tell a repetition. It is empty for all other events.
    """
    call = current.get()
    return "" if call is None else call.event_id


def canceled() -> bool:
    """Whether nobody waits for the hook's method that asks any more.

    That is so when its time is over, when hookmux gave it up, or when hookmux is gone.
    A plain method that takes long should look now and then and return; an ``async``
    one is canceled by itself.
    """
    call = current.get()
    return call is not None and (call.canceled or call.remaining() == 0)
