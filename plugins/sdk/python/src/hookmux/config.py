"""The plugin's config from hookmux.yaml: JSON, checked against a dataclass."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from .nearest import did_you_mean


class ConfigError(Exception):
    """The config is wrong; the text names the key and what is allowed there."""


class _Object(list[tuple[str, Any]]):
    """A JSON object as it was written: keys may be there twice."""


def load(into: type | None, text: str) -> Any:
    """An object of the dataclass ``into``, from a JSON object; None: no key is allowed.

    A dataclass's fields may be bool, int, float, str, pathlib.Path, timedelta ("250ms"),
    an Enum (by value), a Literal, another dataclass, Any, lists, tuples and dicts of these, and
    ``X | None``. A field without a default must be there. ``__post_init__`` may
    raise ValueError.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as err:
        raise ConfigError(f"config: not JSON, {err}") from None
    if not isinstance(raw, _Object):
        raise ConfigError("config: must be an object of keys and values")
    if into is None:
        if raw:
            raise ConfigError(f'config: unknown key "{raw[0][0]}"; this plugin has no config')
        return None
    return _dataclass(into, raw, "")


def plain(value: Any, path: str = "") -> Any:
    """JSON as json.loads has it, without keys given twice."""
    if isinstance(value, _Object):
        return {k: plain(v, _join(path, k)) for k, v in _once(value, path)}
    if isinstance(value, list):
        return [plain(v, f"{path}[{i}]") for i, v in enumerate(value)]
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _once(members: _Object, path: str) -> _Object:
    seen = set()
    for key, _ in members:
        if key in seen:
            raise ConfigError(f'config: key "{_join(path, key)}" is given twice')
        seen.add(key)
    return members


def _dataclass(into: type, members: _Object, path: str) -> Any:
    if not dataclasses.is_dataclass(into):
        raise ConfigError(f"config: must be read into a dataclass, and {into!r} is none")
    hints = typing.get_type_hints(into)
    fields = {f.name: f for f in dataclasses.fields(into) if f.init}
    values = {}
    for key, value in _once(members, path):
        if key not in fields:
            allowed = f"allowed: {', '.join(fields)}" if fields else "no keys are allowed here"
            raise ConfigError(f'config: unknown key "{_join(path, key)}"{did_you_mean(key, fields)}; {allowed}')
        values[key] = _value(hints[key], value, _join(path, key))
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f'config: key "{_join(path, name)}" is missing; it must be {_words(hints[name])}')
    try:
        return into(**values)
    except (ValueError, TypeError) as err:
        raise ConfigError(f'config: key "{path}": {err}' if path else f"config: {err}") from err


def _value(into: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(into), typing.get_args(into)
    if into is Any or into is object:
        return plain(value, path)
    if origin in (typing.Union, types.UnionType):
        return _union(into, args, value, path)
    if origin is typing.Annotated:
        return _value(args[0], value, path)
    if origin is typing.Literal:
        if value in args and type(value) in map(type, args):
            return value
    elif dataclasses.is_dataclass(into) and isinstance(into, type):
        if isinstance(value, _Object):
            return _dataclass(into, value, path)
    elif origin is dict or into is dict:
        if isinstance(value, _Object):
            item = args[1] if args else Any
            return {k: _value(item, v, _join(path, k)) for k, v in _once(value, path)}
    elif origin in (list, tuple, set, frozenset) or into in (list, tuple, set, frozenset):
        if isinstance(value, list) and not isinstance(value, _Object):
            item = args[0] if args else Any
            return (origin or into)(_value(item, v, f"{path}[{i}]") for i, v in enumerate(value))
    elif into is timedelta:
        if isinstance(value, str):
            return _duration(value, path)
    elif into is Path:
        if isinstance(value, str):
            return Path(value)
    elif into is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif into in (bool, int, str, type(None)):
        if type(value) is into:
            return value
    elif isinstance(into, type) and issubclass(into, Enum):
        for member in into:
            if member.value == value and type(member.value) is type(value):
                return member
    else:
        raise ConfigError(f'config: key "{path}" has the type {into!r}, which no config can have')
    raise ConfigError(f'config: key "{path}" must be {_words(into)}, not {_found(value)}')


def _union(into: Any, args: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in args:
        return None
    rest = [a for a in args if a is not type(None)]
    if len(rest) == 1:  # its error says more
        return _value(rest[0], value, path)
    for a in rest:
        try:
            return _value(a, value, path)
        except ConfigError:
            continue
    raise ConfigError(f'config: key "{path}" must be {_words(into)}, not {_found(value)}')


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def _duration(text: str, path: str) -> timedelta:
    parts = _PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ConfigError(f'config: key "{path}" must be {_words(timedelta)}, not "{text}"')
    return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in parts))


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a string, the path of a file",
    timedelta: 'a string such as "5s"',
    type(None): "null",
}


def _words(into: Any) -> str:
    origin, args = typing.get_origin(into), typing.get_args(into)
    if into in _WORDS:
        return _WORDS[into]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(a) for a in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(json.dumps(a) for a in args)
    if isinstance(into, type) and issubclass(into, Enum):
        return "one of " + ", ".join(json.dumps(m.value) for m in into)
    if origin in (list, tuple, set, frozenset) or into in (list, tuple, set, frozenset):
        return "a list"
    return "an object"


def _found(value: Any) -> str:
    if isinstance(value, _Object):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'the string "{value:.40}"'
    return (
        {None: "null", True: "true", False: "false"}.get(value, f"the number {value}")
        if (value is None or isinstance(value, bool))
        else f"the number {value}"
    )
