from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from hookmux.config import ConfigError, load


class Mode(Enum):
    FAST = "fast"
    SAFE = "safe"


@dataclass
class User:
    name: str
    admin: bool = False


@dataclass
class Config:
    users: list[User] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    wait: timedelta = timedelta(seconds=1)
    ratio: float = 1.0
    mode: Mode = Mode.SAFE
    level: Literal["low", "high"] = "low"
    file: Path | None = None
    either: int | str = 0
    pair: tuple[int, ...] = ()
    free: Any = None

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise ValueError("ratio must not be below 0")


def test_a_full_one() -> None:
    got = load(
        Config,
        """{"users": [{"name": "a", "admin": true}], "ports": {"x": 1}, "wait": "1h1m250ms", "ratio": 2,
        "mode": "fast", "level": "high", "file": "/f", "either": "s", "pair": [1, 2], "free": {"a": [null]}}""",
    )
    assert got == Config(
        users=[User("a", True)],
        ports={"x": 1},
        wait=timedelta(hours=1, minutes=1, milliseconds=250),
        ratio=2.0,
        mode=Mode.FAST,
        level="high",
        file=Path("/f"),
        either="s",
        pair=(1, 2),
        free={"a": [None]},
    )
    assert type(got.ratio) is float
    assert load(Config, "{}") == Config()
    assert load(None, "{}") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object of keys and values"),
        ('{"user": 1}', """unknown key "user" (did you mean 'users'?); allowed: users, ports, wait"""),
        ('{"users": [{"name": "a", "amin": 1}]}', """unknown key "users[0].amin" (did you mean 'admin'?)"""),
        ('{"users": [{}]}', 'key "users[0].name" is missing; it must be a string'),
        ('{"users": {}}', 'key "users" must be a list, not an object'),
        ('{"ports": {"x": true}}', 'key "ports.x" must be an integer, not true'),
        ('{"ports": {"x": 1.5}}', 'key "ports.x" must be an integer, not the number 1.5'),
        ('{"ports": {"x": 1, "x": 2}}', 'key "ports.x" is given twice'),
        ('{"free": {"x": 1, "x": 2}}', 'key "free.x" is given twice'),
        ('{"wait": 5}', 'key "wait" must be a string such as "5s", not the number 5'),
        ('{"wait": "5 s"}', 'must be a string such as "5s", not "5 s"'),
        ('{"mode": "slow"}', 'key "mode" must be one of "fast", "safe", not the string "slow"'),
        ('{"level": 1}', 'key "level" must be one of "low", "high", not the number 1'),
        ('{"file": 1}', "a string, the path of a file, not the number 1"),
        ('{"either": null}', 'key "either" must be an integer or a string, not null'),
        ('{"ratio": -1}', "config: ratio must not be below 0"),
        ('{"ratio": "1"}', 'key "ratio" must be a number, not the string "1"'),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as got:
        load(Config, text)
    assert says in str(got.value)


def test_a_plugin_without_a_config() -> None:
    with pytest.raises(ConfigError, match='unknown key "a"; this plugin has no config'):
        load(None, '{"a": 1}')


def test_a_type_that_no_config_can_have() -> None:
    @dataclass
    class Wrong:
        x: complex

    with pytest.raises(ConfigError, match="complex"):
        load(Wrong, '{"x": 1}')
