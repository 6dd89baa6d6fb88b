from collections.abc import Iterator

import pytest

import hookmux
from hookmux.testing import Harness
from schema import Schema

SCHEMAS = {"sensors/+/reading": "schemas/reading.json"}


@pytest.fixture
def plugin() -> Iterator[Harness]:
    with Harness(Schema(), config={"schemas": SCHEMAS, "quarantine": "invalid"}) as h:
        yield h


def publish(payload: bytes, topic: str = "sensors/1/reading") -> hookmux.MessagePublishRequest:
    return hookmux.MessagePublishRequest(message=hookmux.Message(topic=topic, payload=payload))


def test_it_asks_for_its_topics_only(plugin: Harness) -> None:
    assert plugin.hooks == {"message.publish": ["sensors/+/reading"]}


def test_what_fits_passes(plugin: Harness) -> None:
    assert plugin.call(publish(b'{"celsius": 21.5, "quality": "good"}')) == hookmux.pass_()
    assert plugin.call(publish(b"no JSON", topic="other")) == hookmux.pass_()


def test_defaults_are_filled_in(plugin: Harness) -> None:
    answer = plugin.call(publish(b'{"celsius": 21.5}'))
    assert answer.message
    assert answer.message.payload == b'{"celsius": 21.5, "quality": "unknown"}'
    assert answer.message.topic == "sensors/1/reading"


@pytest.mark.parametrize("payload", [b'{"celsius": "hot"}', b"{}", b'{"celsius": 99}', b"21.5\xb0", b""])
def test_what_does_not_fit_goes_elsewhere(plugin: Harness, payload: bytes) -> None:
    answer = plugin.call(publish(payload))
    assert answer == hookmux.rewrite(hookmux.Message(topic="invalid/sensors/1/reading", payload=payload), final=True)


def test_or_is_dropped() -> None:
    with Harness(Schema(), config={"schemas": SCHEMAS}) as plugin:
        assert plugin.call(publish(b"{}")) == hookmux.drop(final=True)


def test_a_missing_schema_is_an_error_at_the_start() -> None:
    with pytest.raises(FileNotFoundError), Harness(Schema(), config={"schemas": {"a": "missing.json"}}):
        pass
