from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from host import Host


@pytest.fixture
def socket_dir() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hm") as folder:  # pytest's own are long for a socket
        yield folder


@pytest.fixture
def start(socket_dir: str) -> Iterator[Callable[..., Host]]:
    """Starts plugins, and ends them after the test."""
    hosts: list[Host] = []

    def f(versions: str = "1,2", config: Any = None) -> Host:
        hosts.append(Host(socket_dir, versions, config))
        return hosts[-1]

    yield f
    for h in hosts:
        h.close()
