"""Topics and topic filters of MQTT."""

from __future__ import annotations

MAX_TOPIC = 65535
"""MQTT's limit of a topic, in bytes."""


def check_filter(topic_filter: str) -> None:
    """Raise ValueError, which says why, for a topic filter that MQTT does not allow."""
    if not topic_filter:
        raise ValueError("an empty topic filter")
    size = len(topic_filter.encode(errors="replace"))
    if size > MAX_TOPIC:
        raise ValueError(f"a topic filter of {size} bytes, MQTT allows {MAX_TOPIC}")

    def bad(why: str) -> ValueError:
        return ValueError(f"topic filter {topic_filter!r}: {why}")

    if "\0" in topic_filter:
        raise bad("has a NUL")
    if topic_filter.startswith("$share/"):
        raise bad("a message never has a shared subscription's name; write the filter behind it")
    levels = topic_filter.split("/")
    for i, level in enumerate(levels):
        if level == "#" and i < len(levels) - 1:
            raise bad("# must be the last level")
        if level != "#" and "#" in level:
            raise bad("# must be a level of its own")
        if level != "+" and "+" in level:
            raise bad("+ must be a level of its own")


def covers(topic_filter: str, asked: str) -> bool:
    """Whether the filter matches every topic that ``asked`` stands for.

    ``asked`` is a topic, or a filter that a client wants to subscribe to: "a/+" covers
    "a/b" and "a/+", but neither "a/#" nor "a/b/c". As in MQTT, "a/#" covers "a", and a
    wildcard in the first level covers nothing that begins with "$".
    """
    if asked.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    have, want = topic_filter.split("/"), asked.split("/")
    for i, level in enumerate(have):
        if level == "#":
            return True
        if i == len(want) or want[i] == "#" or level not in ("+", want[i]):
            return False
    return len(have) == len(want)
